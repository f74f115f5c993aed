"""A person's inbox."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from starlette.responses import Response

from tidegate.notify.contracts import InboxMessage
from tidegate.notify.inbox import list_inbox
from tidegate.platform.database import Database
from tidegate.platform.settings import Settings
from tidegate.web import current_person, render

router = APIRouter(include_in_schema=False)

SHOWN: Final = 50
"""Most messages on the page."""


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """A message as the page shows it. `path` is one of our own pages, or empty."""

    subject: str
    body: str
    path: str
    at: datetime


@dataclass(frozen=True, slots=True)
class InboxContext:
    """Context of `notify/inbox.html`."""

    messages: tuple[ShownMessage, ...]


@router.get("/inbox")
async def show_inbox(request: Request) -> Response:
    """The messages of whoever's session it is; a stranger has none."""
    person = await current_person(request)
    database: Database = request.app.state.database
    messages: list[InboxMessage] = []
    if person is not None:
        async with database.connection() as conn:
            messages = await list_inbox(conn, recipient_id=person.id, limit=SHOWN)
    settings: Settings = request.app.state.settings
    shown = tuple(
        ShownMessage(message.subject, message.body, _own_path(message.link, settings.base_url), message.created_at)
        for message in messages
    )
    return render(request, "notify/inbox.html", InboxContext(shown))


def _own_path(link: str, base_url: str) -> str:
    """The path of a link into this shop, however the shop was reached; empty for any other."""
    return urlsplit(link).path if link.startswith(f"{base_url}/") else ""
