"""A person's inbox."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Request
from starlette.responses import Response

from tidegate.notify.contracts import InboxAway, InboxMessage
from tidegate.notify.hints import hint_people
from tidegate.notify.inbox import count_unread, list_inbox, mark_all_read, mark_read
from tidegate.platform.clock import database_now
from tidegate.platform.database import OUTAGE, Database
from tidegate.platform.ids import EventId, parse_id
from tidegate.platform.problems import NotFound, Overloaded
from tidegate.platform.settings import Settings
from tidegate.platform.texts import text as _
from tidegate.web import NOT_KEPT, current_person, let_listen, read_form, render, see_other, unread_header

router = APIRouter(include_in_schema=False)

HOME: Final = "/inbox"
SHOWN: Final = 50
"""Most messages on the page."""


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """A message as the page shows it. `path` is one of our own pages, or empty."""

    id: EventId
    subject: str
    body: str
    path: str
    at: datetime
    unread: bool

    @property
    def of_order(self) -> bool:
        """Whether it leads to an order."""
        return self.path.startswith("/orders/")


@dataclass(frozen=True, slots=True)
class InboxContext:
    """Context of `notify/inbox.html`."""

    messages: tuple[ShownMessage, ...]
    unread: int
    """How many are unread on all pages."""
    shown_at: datetime
    """When they were read from the database: what comes later is not marked with them."""
    before: str
    """Where the page begins; empty for the newest messages."""
    older: str
    """Address of the next page; empty on the last."""
    listens: bool
    """Whether new messages are shown as they come: to somebody known, on the first page."""


@router.get("/inbox")
async def show_inbox(request: Request, before: str = "") -> Response:
    """The messages of whoever's session it is; a stranger has none. Raises: InboxAway."""
    try:
        return await _inbox(request, before)
    except (*OUTAGE, Overloaded) as error:
        raise InboxAway(
            _("Your messages cannot be shown at the moment. Nothing is lost; look again in a minute.")
        ) from error


async def _inbox(request: Request, before: str) -> Response:
    person = await current_person(request)
    database: Database = request.app.state.database
    start = parse_id(before)
    messages: list[InboxMessage] = []
    unread = 0
    async with database.connection() as conn:
        shown_at = await database_now(conn)
        if person is not None:
            place = None if start is None else EventId(start)
            messages = await list_inbox(conn, recipient_id=person.id, limit=SHOWN + 1, before=place)
            unread = await count_unread(conn, recipient_id=person.id)
    settings: Settings = request.app.state.settings
    context = InboxContext(
        tuple(_shown(message, settings.base_url) for message in messages[:SHOWN]),
        unread,
        shown_at,
        before="" if start is None else str(start),
        older=f"{HOME}?{urlencode({'before': messages[SHOWN - 1].event_id})}" if len(messages) > SHOWN else "",
        listens=person is not None and start is None,
    )
    response = render(request, "notify/inbox.html", context, headers=NOT_KEPT)
    if person is not None and person.role != "guest":
        let_listen(request, response)
    if (count := unread_header(request, unread)) is not None:
        response.raw_headers.append(count)
    return response


@router.post("/inbox/read")
async def post_read(request: Request) -> Response:
    """Mark one message as read, or all that were shown."""
    form = await read_form(request)
    person = await current_person(request)
    if person is None:
        raise NotFound()
    database: Database = request.app.state.database
    event_id, shown_at = parse_id(form.get("message")), _moment(form.get("all_until"))
    async with database.transaction() as conn:
        if shown_at is not None:
            await mark_all_read(conn, recipient_id=person.id, shown_at=shown_at)
        elif event_id is None or not await mark_read(conn, recipient_id=person.id, event_id=EventId(event_id)):
            raise NotFound()
    await hint_people(request.app.state.valkey, [person.id])
    before = parse_id(form.get("before"))
    return see_other(request, HOME if before is None else f"{HOME}?{urlencode({'before': before})}")


def _shown(message: InboxMessage, base_url: str) -> ShownMessage:
    path = _own_path(message.link, base_url)
    unread = message.read_at is None
    return ShownMessage(message.event_id, message.subject, message.body, path, message.created_at, unread)


def _moment(text: str) -> datetime | None:
    """The moment that a form of ours carries, or None."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _own_path(link: str, base_url: str) -> str:
    """The path of a link into this shop, however the shop was reached; empty for any other."""
    return urlsplit(link).path if link.startswith(f"{base_url}/") else ""
