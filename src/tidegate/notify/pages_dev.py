"""`/dev/mail`: what the mail catcher caught, in demo mode only.

A mail's HTML comes from outside: it is served as a document of its own that may run nothing, load nothing and submit
nothing (CSP `sandbox`, which also gives it an origin of its own), and is shown inside a sandboxed frame.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from tidegate.notify.caught import caught_mails, find_caught
from tidegate.notify.contracts import CaughtMail
from tidegate.platform.edge.headers import CONTENT_SECURITY_POLICY
from tidegate.platform.problems import NotFound
from tidegate.platform.settings import Settings
from tidegate.web import NOT_KEPT, render

SHOWN: Final = 100
"""Most mails in a list."""

FRAMED_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox"
)
"""Policy of a mail's HTML. Links open in a tab of their own, which is a normal page again."""

FRAMING_POLICY: Final = f"{CONTENT_SECURITY_POLICY}; frame-src 'self'"


def _demo_only(request: Request) -> None:
    settings: Settings = request.app.state.settings
    if not settings.demo:
        raise NotFound()


router = APIRouter(include_in_schema=False, dependencies=[Depends(_demo_only)])


@dataclass(frozen=True, slots=True)
class MailsContext:
    """Context of `notify/dev_mails.html`."""

    mails: tuple[CaughtMail, ...]


@dataclass(frozen=True, slots=True)
class MailContext:
    """Context of `notify/dev_mail.html`."""

    mail: CaughtMail


@router.get("/dev/mail.json")
async def list_as_json(request: Request) -> Response:
    """The caught mails, the newest first."""
    mails = await asyncio.to_thread(caught_mails, _settings(request).home, limit=SHOWN)
    return JSONResponse({"items": [_document(mail) for mail in mails]}, headers=NOT_KEPT)


@router.get("/dev/mail")
async def list_mails(request: Request) -> Response:
    """The caught mails, the newest first."""
    mails = await asyncio.to_thread(caught_mails, _settings(request).home, limit=SHOWN)
    return render(request, "notify/dev_mails.html", MailsContext(tuple(mails)))


@router.get("/dev/mail/{mail_id}")
async def show_mail(request: Request, mail_id: str) -> Response:
    """One mail: its text, and its HTML in a frame."""
    mail = await _find(request, mail_id)
    headers = {"Content-Security-Policy": FRAMING_POLICY}
    return render(request, "notify/dev_mail.html", MailContext(mail), headers=headers)


@router.get("/dev/mail/{mail_id}/html")
async def show_mail_html(request: Request, mail_id: str) -> Response:
    """The HTML of one mail, for the frame."""
    mail = await _find(request, mail_id)
    headers = {"Content-Security-Policy": FRAMED_POLICY, "X-Frame-Options": "SAMEORIGIN"}
    return HTMLResponse(mail.html, headers=headers)


async def _find(request: Request, mail_id: str) -> CaughtMail:
    mail = await asyncio.to_thread(find_caught, _settings(request).home, mail_id)
    if mail is None:
        raise NotFound("There is no such mail, or newer ones have taken its place.")
    return mail


def _document(mail: CaughtMail) -> dict[str, Any]:
    return {
        "id": mail.id,
        "at": mail.at.isoformat(),
        "from": mail.sender,
        "to": list(mail.to),
        "subject": mail.subject,
        "text": mail.text,
        "html": mail.html,
        "message_id": mail.message_id,
    }


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings
