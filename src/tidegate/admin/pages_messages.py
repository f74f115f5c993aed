"""The staff's room for the texts of messages: the list, one message in one language beside what it looks like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import structlog
from fastapi import Request
from starlette.responses import Response

from tidegate import accounts, notify
from tidegate.admin.pages_shell import staff_member, staff_router
from tidegate.checkout import Shop
from tidegate.platform.problems import InvalidRequest, TooManyRequests
from tidegate.platform.texts import text as _
from tidegate.web import FRAMING, NOT_KEPT, PostedForm, framed, read_form, render, see_other, words_of

router = staff_router("/messages")
log = structlog.get_logger(__name__)

HEADERS: Final = NOT_KEPT | FRAMING
LABELS: Final = {
    "subject": _("Subject"),
    "txt": _("Mail as text"),
    "html": _("Mail as HTML"),
    "inbox": _("In the inbox"),
}
DONE: Final = {
    "saved": _("Saved. Messages use it within seconds."),
    "back": _("The built-in text is back."),
}
CHANGED: Final = _(
    "Somebody else changed this text meanwhile. Yours is kept below; saving it now replaces theirs, which the preview "
    "shows."
)


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A message in one language, in the list."""

    edited: notify.Edited
    subject: str


@dataclass(frozen=True, slots=True)
class MessagesContext:
    """Context of `admin/messages.html`."""

    rows: tuple[MessageRow, ...]
    done: str


@dataclass(frozen=True, slots=True)
class MessageContext:
    """Context of `admin/message.html`. `lengths` are the most characters of each part."""

    edited: notify.Edited
    address: str
    parts: tuple[tuple[str, str, str], ...]
    revision: int
    lengths: dict[str, int]
    errors: dict[str, str]
    problem: str
    done: str
    email: str
    variables: tuple[notify.Variable, ...]


@dataclass(frozen=True, slots=True)
class PreviewContext:
    """Context of `admin/message_preview.html`. `shown` is None where the text cannot be used, for these reasons."""

    shown: notify.Preview | None
    errors: tuple[tuple[str, str], ...]
    language: str


@router.get("")
async def list_messages(request: Request, done: str = "") -> Response:
    """All messages in all languages of the shop."""
    shop, person = _shop(request), await staff_member(request)
    async with shop.database.connection() as conn:
        found = await notify.list_edited(conn, shop.settings, role=person.role)
    rows = tuple(MessageRow(each, _subject(each, shop)) for each in found)
    return render(request, "admin/messages.html", MessagesContext(rows, DONE.get(done, "")), headers=NOT_KEPT)


@router.get("/{template}/{language}")
async def show_message(request: Request, template: str, language: str) -> Response:
    """One message, to be edited."""
    edited = await _find(request, template, language)
    return await _show(request, edited, edited.typed, revision=edited.text.revision)


@router.post("/{template}/{language}")
async def save_message(request: Request, template: str, language: str) -> Response:
    """Save the text, mail it as a trial, or bring the built-in one back."""
    form = await read_form(request)
    edited, shop = await _find(request, template, language), _shop(request)
    person = await staff_member(request)
    if form.get("action") == "back":
        async with shop.database.transaction() as conn:
            await notify.bring_built_in_back(conn, edited)
        log.info("message text dropped", template=template, language=language, by=str(person.id))
        return see_other(request, "/admin/messages?done=back")
    typed, revision = _typed(edited, form), _revision(form)
    try:
        if form.get("action") == "trial":
            done = await _mail_trial(request, edited, typed)
            return await _show(request, edited, typed, revision=revision, done=done)
        async with shop.database.transaction() as conn:
            await notify.save_text(conn, shop.settings, edited, replace(typed, revision=revision))
    except notify.TextChanged as problem:
        return await _show(
            request, edited, typed, revision=edited.text.revision, problem=CHANGED, status=problem.status
        )
    except (InvalidRequest, TooManyRequests) as problem:
        errors = problem.extra.get("errors", {})
        return await _show(
            request, edited, typed, revision=revision, problem=words_of(problem), errors=errors, status=problem.status
        )
    log.info("message text written", template=template, language=language, by=str(person.id))
    return see_other(request, "/admin/messages?done=saved")


@router.get("/{template}/{language}/preview")
async def show_preview(request: Request, template: str, language: str) -> Response:
    """What the message looks like as it is saved, for the frame."""
    edited = await _find(request, template, language)
    return _preview(request, edited, edited.text)


@router.post("/{template}/{language}/preview")
async def post_preview(request: Request, template: str, language: str) -> Response:
    """What it would look like as it is typed, for the frame."""
    form = await read_form(request)
    edited = await _find(request, template, language)
    return _preview(request, edited, _typed(edited, form))


def _preview(request: Request, edited: notify.Edited, text: notify.MessageText) -> Response:
    try:
        context = PreviewContext(edited.preview(_shop(request).settings, text=text), (), text.language)
    except InvalidRequest as problem:
        errors = tuple((LABELS[part], words) for part, words in problem.extra["errors"].items())
        context = PreviewContext(None, errors, text.language)
    return framed(render(request, "admin/message_preview.html", context))


async def _mail_trial(request: Request, edited: notify.Edited, typed: notify.MessageText) -> str:
    """Mail what is typed to whoever typed it; what to say of it. Raises: InvalidRequest, TooManyRequests."""
    shop, person = _shop(request), await staff_member(request)
    shown = edited.preview(shop.settings, text=typed)
    await notify.count_trial(shop.settings, person_id=person.id)
    email = await _own_address(request)
    async with shop.database.transaction() as conn:
        await notify.mail_trial(conn, shown, email=email)
    return _("On its way to %(email)s, with example values. Nothing is saved yet.", email=email)


async def _show(
    request: Request,
    edited: notify.Edited,
    typed: notify.MessageText,
    *,
    revision: int,
    problem: str = "",
    done: str = "",
    errors: Mapping[str, str] | None = None,
    status: int = 200,
) -> Response:
    context = MessageContext(
        edited=edited,
        address=f"/admin/messages/{typed.template}/{typed.language}",
        parts=tuple((part, LABELS[part], typed.part(part)) for part in edited.kind.parts),
        revision=revision,
        lengths={part: notify.MAX_SUBJECT if part == "subject" else notify.MAX_TEXT for part in edited.kind.parts},
        errors=dict(errors or {}),
        problem=problem,
        done=done,
        email=await _own_address(request),
        variables=notify.variables_of(edited.kind, locale=edited.locale),
    )
    return render(request, "admin/message.html", context, status=status, headers=HEADERS)


async def _find(request: Request, template: str, language: str) -> notify.Edited:
    shop, person = _shop(request), await staff_member(request)
    async with shop.database.connection() as conn:
        return await notify.find_edited(conn, shop.settings, template=template, language=language, role=person.role)


async def _own_address(request: Request) -> str:
    person = await staff_member(request)
    async with _shop(request).database.connection() as conn:
        return (await accounts.find_person_account(conn, person_id=person.id)).email


def _subject(edited: notify.Edited, shop: Shop) -> str:
    try:
        return edited.preview(shop.settings).subject
    except InvalidRequest:  # written for variables that an older version had
        return ""


def _typed(edited: notify.Edited, form: PostedForm) -> notify.MessageText:
    parts = {part: form.raw(part).replace("\r\n", "\n")[: notify.MAX_TEXT + 1] for part in edited.kind.parts}
    return notify.MessageText(edited.kind.name, edited.text.language).with_parts(parts)


def _revision(form: PostedForm) -> int:
    number = form.get("revision")
    if not (number.isascii() and number.isdigit() and len(number) <= 9):
        raise InvalidRequest(_("This could not be read"))
    return int(number)


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop
