"""`/dev/mail`: what the mail catcher caught, and a gallery of all messages, in demo mode only."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from tidegate.notify.caught import caught_mails, find_caught
from tidegate.notify.contracts import CaughtMail
from tidegate.notify.message_kinds import KINDS, Kind
from tidegate.notify.message_texts import current_texts
from tidegate.notify.previews import Preview, preview
from tidegate.platform.database import Database
from tidegate.platform.problems import NotFound
from tidegate.platform.settings import Settings
from tidegate.platform.texts import text as _
from tidegate.web import FRAMING, NOT_KEPT, framed_document, offered_locales, render

SHOWN: Final = 100
"""Most mails in a list."""


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


@dataclass(frozen=True, slots=True)
class GalleryMessage:
    """A message in one locale, with example values; `frame` is the address of its HTML."""

    kind: Kind
    locale: str
    shown: Preview
    frame: str


@dataclass(frozen=True, slots=True)
class GalleryContext:
    """Context of `notify/dev_gallery.html`."""

    kinds: tuple[Kind, ...]
    chosen: Kind
    messages: tuple[GalleryMessage, ...]


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


@router.get("/dev/mail/gallery")
async def show_gallery(request: Request, message: str = "") -> Response:
    """Every message, one at a time, in every locale of the shop, as it would look now."""
    kind = KINDS.get(message) or next(iter(KINDS.values()))
    messages = [
        GalleryMessage(kind, locale, await _preview(request, kind, locale), f"/dev/mail/gallery/{kind.name}/{locale}")
        for locale in offered_locales(_settings(request))
    ]
    return render(
        request,
        "notify/dev_gallery.html",
        GalleryContext(tuple(KINDS.values()), kind, tuple(messages)),
        headers=FRAMING,
    )


@router.get("/dev/mail/gallery/{template}/{locale}")
async def show_gallery_html(request: Request, template: str, locale: str) -> Response:
    """The HTML of one of them, for the frame."""
    if template not in KINDS or locale not in offered_locales(_settings(request)):
        raise NotFound()
    return framed_document((await _preview(request, KINDS[template], locale)).html)


async def _preview(request: Request, kind: Kind, locale: str) -> Preview:
    database: Database = request.app.state.database
    settings = _settings(request)
    texts = await current_texts(database, settings)
    return preview(kind, texts, shop_name=settings.shop_name, locale=locale)


@router.get("/dev/mail/{mail_id}")
async def show_mail(request: Request, mail_id: str) -> Response:
    """One mail: its text, and its HTML in a frame."""
    mail = await _find(request, mail_id)
    return render(request, "notify/dev_mail.html", MailContext(mail), headers=FRAMING)


@router.get("/dev/mail/{mail_id}/html")
async def show_mail_html(request: Request, mail_id: str) -> Response:
    """The HTML of one mail, for the frame."""
    mail = await _find(request, mail_id)
    return framed_document(mail.html)


async def _find(request: Request, mail_id: str) -> CaughtMail:
    mail = await asyncio.to_thread(find_caught, _settings(request).home, mail_id)
    if mail is None:
        raise NotFound(_("There is no such mail, or newer ones have taken its place."))
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
