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
from tidegate.platform.texts import text as _
from tidegate.web import NOT_KEPT, read_form, render, see_other, words_of

router = staff_router("/dead-letters")
log = structlog.get_logger(__name__)

SHOWN: Final = 50
DONE: Final = {
    "again": _("It is on its way again."),
    "all": _("What had failed of it is on its way again, up to 5,000 at a time."),
    "dropped": _("It was dropped."),
}


@dataclass(frozen=True, slots=True)
class DeadLettersContext:
    """Context of `admin/dead-letters.html`. `event` is the event whose dead letters alone are shown, or empty."""

    letters: tuple[notify.DeadLetter, ...]
    channels: tuple[str, ...]
    channel: str
    event: str
    older: str
    done: str


@dataclass(frozen=True, slots=True)
class DeadLetterContext:
    """Context of `admin/dead-letter.html`. `said` is what its words are made of, as JSON."""

    letter: notify.DeadLetter
    email: str
    said: str
    problem: str


@router.get("")
async def show_dead_letters(
    request: Request, channel: str = "", event: str = "", before: str = "", done: str = ""
) -> Response:
    """Dead letters, those of the newest events first."""
    road = notify.Road(channel) if channel in set(notify.Road) else None
    only = parse_id(event)
    async with _database(request).connection() as conn:
        letters = await notify.list_dead_letters(
            conn,
            limit=SHOWN + 1,
            channel=road,
            event_id=None if only is None else EventId(only),
            before=_place(before),
        )
    older = ""
    if len(letters) > SHOWN:
        query = {"before": ".".join(str(part) for part in letters[SHOWN - 1].place)}
        query |= ({} if road is None else {"channel": road.value}) | ({} if only is None else {"event": str(only)})
        older = f"/admin/dead-letters?{urlencode(query)}"
    context = DeadLettersContext(
        letters=tuple(letters[:SHOWN]),
        channels=tuple(notify.Road),
        channel="" if road is None else road.value,
        event="" if only is None else str(only),
        older=older,
        done=DONE.get(done, ""),
    )
    return render(request, "admin/dead-letters.html", context, headers=NOT_KEPT)


@router.post("/{event_id}/replay")
async def post_replay_event(request: Request, event_id: str) -> Response:
    """Send all of an event's again."""
    await read_form(request)
    person, event = await staff_member(request), parse_id(event_id)
    if event is None:
        raise NotFound()
    async with _database(request).transaction() as conn:
        replayed = await notify.replay_event(conn, event_id=EventId(event))
    log.info("dead letters replayed", event_id=str(event), count=replayed.count, by=str(person.id))
    return see_other(request, "/admin/dead-letters?done=all")


@router.get("/{event_id}/{recipient_id}/{channel}")
async def show_dead_letter(request: Request, event_id: str, recipient_id: str, channel: str) -> Response:
    """One dead letter: what it was to say, to whom, and why it failed."""
    return await _show(request, _key(event_id, recipient_id, channel))


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
    return see_other(request, f"/admin/dead-letters?done={'again' if wish == 'replay' else 'dropped'}")


async def _show(
    request: Request, key: tuple[EventId, UUID, notify.Road], *, problem: notify.NotReplayable | None = None
) -> Response:
    event, recipient, road = key
    async with _database(request).connection() as conn:
        opened = await notify.open_dead_letter(conn, event_id=event, recipient_id=recipient, channel=road)
    context = DeadLetterContext(
        letter=opened.letter,
        email=opened.email,
        said=json.dumps(opened.variables, indent=2, ensure_ascii=False, sort_keys=True),
        problem="" if problem is None else words_of(problem),
    )
    status = 200 if problem is None else problem.status
    return render(request, "admin/dead-letter.html", context, status=status, headers=NOT_KEPT)


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
