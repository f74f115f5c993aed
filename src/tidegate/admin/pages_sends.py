"""The staff's room for messages to followers: writing one, watching it advance, pausing and ending it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

import structlog
from fastapi import Request
from starlette.responses import Response

from tidegate import notify
from tidegate.admin.pages_shell import staff_member, staff_router
from tidegate.checkout import Shop
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection
from tidegate.platform.ids import EventId, new_id, parse_id
from tidegate.platform.problems import InvalidRequest, NotFound
from tidegate.platform.texts import text as _
from tidegate.web import NOT_KEPT, PostedForm, blamed, read_form, render, see_other, words_of

router = staff_router("/sends")
log = structlog.get_logger(__name__)

HOME: Final = "/admin/sends"
SHOWN: Final = 20
TOPICS: Final = 200
"""Most topics to choose from, the newest first."""
LIVE_S: Final = 3
FIELDS: Final = ("topic", "title", "body", "inbox", "email", "key", "matters_h")
STEERS: Final = {"pause": notify.pause_send, "resume": notify.resume_send, "cancel": notify.cancel_send}
DONE: Final = {
    "begun": _("It is on its way. This page shows how far it has come."),
    "pause": _("Paused. Nothing more is sent until you go on."),
    "resume": _("It goes on."),
    "cancel": _("Ended. What was not handed over yet is not sent."),
}

MATTERS_H: Final = (1, 6, 24, 72)
"""For how many hours a post may matter, to choose from."""


@dataclass(frozen=True, slots=True)
class SendsContext:
    """Context of `admin/sends.html`. `live`: something runs, so that the page renews itself.

    `pace`: how large sends yield to the shop; None where nobody can be asked, or none runs.
    """

    sends: tuple[notify.Send, ...]
    pace: notify.Pace | None
    older: str
    live: bool
    live_s: int


@dataclass(frozen=True, slots=True)
class SendContext:
    """Context of `admin/send.html`. `post` is what was written, None where it is no post. `ending`: to be confirmed."""

    send: notify.Send
    post: notify.Post | None
    pace: notify.Pace | None
    done: str
    ending: bool
    live: bool
    live_s: int


@dataclass(frozen=True, slots=True)
class WritingContext:
    """Context of `admin/send_new.html`. With an `estimate` it may be sent to whom it speaks of, who are `seen`."""

    topics: tuple[notify.WaitingTopic, ...]
    typed: dict[str, str]
    problem: str
    errors: dict[str, str]
    max_title: int
    max_body: int
    estimate: notify.Estimate | None
    seen: str
    matters_h: tuple[int, ...]


@router.get("")
async def show_sends(request: Request, before: str = "") -> Response:
    """What is being sent and was, the newest first."""
    async with _shop(request).database.connection() as conn:
        limits = _shop(request).settings.mail
        sends = await notify.list_sends(conn, limit=SHOWN + 1, before=_place(before), limits=limits)
    running = any(send.state is notify.SendState.RUNNING for send in sends)
    last = sends[SHOWN - 1] if len(sends) > SHOWN else None
    context = SendsContext(
        sends=tuple(sends[:SHOWN]),
        pace=await _pace(request, running),
        older="" if last is None else f"{HOME}?{urlencode({'before': f'{last.event_id}.{last.topic_id}'})}",
        live=running,
        live_s=LIVE_S,
    )
    return render(request, "admin/sends.html", context, headers=NOT_KEPT)


@router.get("/new")
async def show_writing(request: Request) -> Response:
    """The form to write to a topic's followers."""
    return await _write(request, {"inbox": "1", "key": str(new_id())})


@router.post("/new")
async def post_writing(request: Request) -> Response:
    """Say how many would be told and how long it takes; write to them, once that was seen."""
    form, person = await read_form(request), await staff_member(request)
    typed = {name: form.get(name)[: notify.MAX_BODY + 1] for name in FIELDS}
    shop, channels = _shop(request), _channels(form)
    try:
        kind, key = _topic(typed["topic"])
        notify.check_post(typed["title"], typed["body"], channels)
        if form.get("seen") != _audience(typed):
            async with shop.database.connection() as conn:
                estimate = await notify.estimate_send(conn, shop.settings.mail, kind=kind, key=key)
            return await _write(request, typed, estimate=estimate)
        async with shop.database.transaction() as conn:
            post = await notify.write_post(
                conn,
                kind=kind,
                key=key,
                title=typed["title"],
                body=typed["body"],
                channels=channels,
                author_id=person.id,
                request_key=str(parse_id(typed["key"]) or new_id()),
                base_url=shop.settings.base_url,
                expires_at=_expiry(typed["matters_h"], now=await database_now(conn)),
            )
    except (InvalidRequest, notify.PostDiffers) as problem:
        return await _write(request, typed, problem=problem)
    log.info("post written", post=str(post.post_id), by=str(person.id))
    return see_other(request, f"{HOME}/{post.post_id}/{post.topic_id}?done=begun")


@router.get("/{event_id}/{topic_id}")
async def show_send(request: Request, event_id: str, topic_id: str, done: str = "", end: str = "") -> Response:
    """One send: what was written, how far it has come, and what can be done."""
    event, topic = _key(event_id, topic_id)
    async with _shop(request).database.connection() as conn:
        limits = _shop(request).settings.mail
        sends = await notify.list_sends(conn, limit=1, event_id=event, topic_id=topic, limits=limits)
        if not sends:
            raise NotFound()
        post = await _post(conn, event)
    (send,) = sends
    running = send.state is notify.SendState.RUNNING
    context = SendContext(
        send=send,
        post=post,
        pace=await _pace(request, running),
        done=DONE.get(done, ""),
        ending=end == "1" and send.state in (notify.SendState.RUNNING, notify.SendState.PAUSED),
        live=running,
        live_s=LIVE_S,
    )
    return render(request, "admin/send.html", context, headers=NOT_KEPT)


@router.post("/{event_id}/{topic_id}/{wish}")
async def steer_send(request: Request, event_id: str, topic_id: str, wish: str) -> Response:
    """Pause a send, go on with it, or end it."""
    await read_form(request)
    person, steer = await staff_member(request), STEERS.get(wish)
    event, topic = _key(event_id, topic_id)
    if steer is None:
        raise NotFound()
    async with _shop(request).database.transaction() as conn:
        await steer(conn, event_id=event, topic_id=topic)
    log.info("send changed", event_id=str(event), wish=wish, by=str(person.id))
    return see_other(request, f"{HOME}/{event}/{topic}?done={wish}")


async def _write(
    request: Request,
    typed: dict[str, str],
    *,
    problem: InvalidRequest | notify.PostDiffers | None = None,
    estimate: notify.Estimate | None = None,
) -> Response:
    async with _shop(request).database.connection() as conn:
        topics = await notify.list_topics(conn, limit=TOPICS)
    errors = {} if problem is None else blamed(problem)
    context = WritingContext(
        topics=tuple(topics),
        typed={name: typed.get(name, "") for name in FIELDS},
        problem="" if problem is None or errors else words_of(problem),
        errors=errors,
        max_title=notify.MAX_TITLE,
        max_body=notify.MAX_BODY,
        estimate=estimate,
        seen="" if estimate is None else _audience(typed),
        matters_h=MATTERS_H,
    )
    status = 200 if problem is None else problem.status
    return render(request, "admin/send_new.html", context, status=status, headers=NOT_KEPT)


async def _pace(request: Request, running: bool) -> notify.Pace | None:
    pace = await notify.read_pace(request.app.state.valkey) if running else None
    return pace if pace is not None and pace.sending else None


async def _post(conn: Connection, event_id: EventId) -> notify.Post | None:
    try:
        return await notify.find_post(conn, post_id=event_id)
    except NotFound:
        return None


def _topic(typed: str) -> tuple[notify.TopicKind, str]:
    kind, _colon, key = typed.partition(":")
    if kind not in set(notify.TopicKind):
        raise InvalidRequest(_("Choose whose followers to write to."), field="topic")
    return notify.TopicKind(kind), key


def _audience(typed: dict[str, str]) -> str:
    """Whom an estimate speaks of, and by which ways: another audience is estimated anew before it is written to."""
    return ";".join((typed["topic"], typed["inbox"], typed["email"]))


def _channels(form: PostedForm) -> list[notify.Channel]:
    return [channel for channel in notify.Channel if form.get(channel.value) == "1"]


def _expiry(hours: str, *, now: datetime) -> datetime | None:
    """When it does not matter any more; None for as long as it takes."""
    return next((now + timedelta(hours=each) for each in MATTERS_H if hours == str(each)), None)


def _key(event_id: str, topic_id: str) -> tuple[EventId, UUID]:
    event, topic = parse_id(event_id), parse_id(topic_id)
    if event is None or topic is None:
        raise NotFound()
    return EventId(event), topic


def _place(text: str) -> tuple[EventId, UUID] | None:
    event, topic = (parse_id(part) for part in f"{text}.".split(".")[:2])
    return None if event is None or topic is None else (EventId(event), topic)


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop
