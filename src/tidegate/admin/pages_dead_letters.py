"""The staff's room for dead letters: messages that failed for good, to be read, sent again or dropped."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

import structlog
from fastapi import Request
from starlette.responses import Response

from tidegate import notify
from tidegate.admin.pages_shell import staff_member, staff_router
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, parse_id
from tidegate.platform.problems import NotFound
from tidegate.platform.texts import plural
from tidegate.platform.texts import text as _
from tidegate.web import NOT_KEPT, read_form, render, see_other, words_of

router = staff_router("/dead-letters")
log = structlog.get_logger(__name__)

HOME: Final = "/admin/dead-letters"
SHOWN: Final = 50
DONE: Final = {
    "again": _("It is on its way again."),
    "none": _("Nothing was sent again: what is left is of sends that are over for long, or of disabled endpoints."),
    "dropped": _("It was dropped."),
}


@dataclass(frozen=True, slots=True)
class DeadLettersContext:
    """Context of `admin/dead-letters.html`.

    `which` are the letters that are shown, and that buttons for all of them mean. `count` is how many these are,
    counted up to one more than the `most` that are sent again at once. `fields` says `which` in forms and addresses.
    """

    letters: tuple[notify.DeadLetter, ...]
    channels: tuple[str, ...]
    kinds: tuple[tuple[str, str], ...]
    which: notify.Which
    fields: dict[str, str]
    count: int
    most: int
    older: str
    done: str
    dropping: bool


@dataclass(frozen=True, slots=True)
class DeadLetterContext:
    """Context of `admin/dead-letter.html`. `said` is what its words are made of, as JSON."""

    letter: notify.DeadLetter
    kind: str
    email: str
    said: str
    problem: str
    dropping: bool


@router.get("")
async def show_dead_letters(
    request: Request,
    channel: str = "",
    kind: str = "",
    event: str = "",
    before: str = "",
    done: str = "",
    drop: str = "",
) -> Response:
    """Dead letters, those of the newest events first."""
    which, place = _which(channel, kind, event), _place(before)
    async with _database(request).connection() as conn:
        letters = await notify.list_dead_letters(
            conn,
            limit=SHOWN + 1,
            channel=which.channel,
            template=which.template,
            event_id=which.event_id,
            before=place,
        )
        count = await notify.count_dead_letters(conn, which=which, most=notify.AT_ONCE + 1) if letters else 0
    fields = _fields(which)
    older = ""
    if len(letters) > SHOWN:
        place_of_last = ".".join(str(part) for part in letters[SHOWN - 1].place)
        older = f"{HOME}?{urlencode(fields | {'before': place_of_last})}"
    context = DeadLettersContext(
        letters=tuple(letters[:SHOWN]),
        channels=tuple(notify.Road),
        kinds=_kinds(),
        which=which,
        fields=fields,
        count=count,
        most=notify.AT_ONCE,
        older=older,
        done=_said(done),
        dropping=drop == "1" and count > 0,
    )
    return render(request, "admin/dead-letters.html", context, headers=NOT_KEPT)


@router.post("/{wish}")
async def post_all(request: Request, wish: str) -> Response:
    """Send all that a page shows again, or drop them, some thousands at a time."""
    form, person = await read_form(request), await staff_member(request)
    which = _which(form.get("channel"), form.get("kind"), form.get("event"))
    async with _database(request).transaction() as conn:
        match wish:
            case "replay":
                count = (await notify.replay_dead_letters(conn, which=which)).count
            case "drop":
                count = await notify.drop_dead_letters(conn, which=which, limit=_most(form.get("most")))
            case _:
                raise NotFound()
    log.info("dead letters ended", wish=wish, count=count, which=_fields(which), by=str(person.id))
    return see_other(request, f"{HOME}?{urlencode(_fields(which) | {'done': f'{wish}.{count}'})}")


@router.get("/{event_id}/{recipient_id}/{channel}")
async def show_dead_letter(
    request: Request, event_id: str, recipient_id: str, channel: str, drop: str = ""
) -> Response:
    """One dead letter: what it was to say, to whom, and why it failed."""
    return await _show(request, _key(event_id, recipient_id, channel), dropping=drop == "1")


@router.post("/{event_id}/{recipient_id}/{channel}/{wish}")
async def post_wish(request: Request, event_id: str, recipient_id: str, channel: str, wish: str) -> Response:
    """Send one again, or drop it."""
    await read_form(request)
    person, key = await staff_member(request), _key(event_id, recipient_id, channel)
    event, recipient, road = key
    if wish not in ("replay", "drop"):
        raise NotFound()
    try:
        async with _database(request).transaction() as conn:
            if wish == "replay":
                await notify.replay_dead_letter(conn, event_id=event, recipient_id=recipient, channel=road)
            else:
                await notify.drop_dead_letter(conn, event_id=event, recipient_id=recipient, channel=road)
    except notify.NotReplayable as problem:
        return await _show(request, key, problem=problem)
    log.info("dead letter ended", event_id=str(event), channel=road.value, wish=wish, by=str(person.id))
    return see_other(request, f"{HOME}?done={'again' if wish == 'replay' else 'dropped'}")


async def _show(
    request: Request,
    key: tuple[EventId, UUID, notify.Road],
    *,
    problem: notify.NotReplayable | None = None,
    dropping: bool = False,
) -> Response:
    event, recipient, road = key
    async with _database(request).connection() as conn:
        opened = await notify.open_dead_letter(conn, event_id=event, recipient_id=recipient, channel=road)
    context = DeadLetterContext(
        letter=opened.letter,
        kind=dict(_kinds()).get(opened.letter.template, opened.letter.template),
        email=opened.email,
        said=json.dumps(opened.variables, indent=2, ensure_ascii=False, sort_keys=True),
        problem="" if problem is None else words_of(problem),
        dropping=dropping,
    )
    status = 200 if problem is None else problem.status
    return render(request, "admin/dead-letter.html", context, status=status, headers=NOT_KEPT)


def _which(channel: str, kind: str, event: str) -> notify.Which:
    only = parse_id(event)
    return notify.Which(
        channel=notify.Road(channel) if channel in set(notify.Road) else None,
        template=kind if kind in dict(_kinds()) else "",
        event_id=None if only is None else EventId(only),
    )


def _most(shown: str) -> int:
    """How many may be dropped: what somebody was asked about, so that nothing goes unseen that failed meanwhile."""
    asked = int(shown[:9]) if shown.isascii() and shown.isdigit() else 0
    return min(asked, notify.AT_ONCE)


def _fields(which: notify.Which) -> dict[str, str]:
    said = {"channel": which.channel, "kind": which.template, "event": which.event_id}
    return {name: str(value) for name, value in said.items() if value}


def _kinds() -> tuple[tuple[str, str], ...]:
    """Kinds of messages to choose from: those to people by their titles, webhooks by their names."""
    people = tuple((kind.name, kind.title) for kind in notify.KINDS.values())
    return people + tuple((kind.value, kind.value) for kind in notify.WebhookKind)


def _said(done: str) -> str:
    """What was done just now, in words."""
    wish, _dot, text = done.partition(".")
    count = int(text[:9]) if text.isascii() and text.isdigit() else 0
    match wish:
        case "replay" if count:
            return plural("%(num)s message is on its way again.", "%(num)s messages are on their way again.", count)
        case "drop" if count:
            return plural("%(num)s message was dropped.", "%(num)s messages were dropped.", count)
        case "replay":
            return DONE["none"]
        case _:
            return DONE.get(done, "")


def _key(event_id: str, recipient_id: str, channel: str) -> tuple[EventId, UUID, notify.Road]:
    event, recipient = parse_id(event_id), parse_id(recipient_id)
    if event is None or recipient is None or channel not in set(notify.Road):
        raise NotFound()
    return EventId(event), recipient, notify.Road(channel)


def _place(text: str) -> tuple[EventId, UUID, str] | None:
    event, recipient, channel = (f"{text}..".split("."))[:3]
    first, second = parse_id(event), parse_id(recipient)
    return None if first is None or second is None else (EventId(first), second, channel)


def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database
