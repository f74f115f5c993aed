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
from tidegate.platform.ids import EventId, new_id, parse_id
from tidegate.platform.problems import InvalidRequest, NotFound
from tidegate.platform.texts import text as _
from tidegate.web import NOT_KEPT, PostedForm, blamed, read_form, render, see_other, words_of

router = staff_router("/sends")
log = structlog.get_logger(__name__)

SHOWN: Final = 20
TOPICS: Final = 200
"""Most topics to choose from, the newest first."""
LIVE_S: Final = 3
FIELDS: Final = ("topic", "title", "body", "inbox", "email", "key", "matters_h")
STEERS: Final = {"pause": notify.pause_send, "resume": notify.resume_send, "cancel": notify.cancel_send}


MATTERS_H: Final = (1, 6, 24, 72)
"""For how many hours a post may matter, to choose from."""


@dataclass(frozen=True, slots=True)
class SendsContext:
    """Context of `admin/sends.html`. `live`: something runs, so that the page renews itself.

    `pace`: how large sends yield to the shop; None where nobody can be asked, or none runs.
    """

    sends: tuple[notify.Send, ...]
    pace: notify.Pace | None
    topics: tuple[notify.WaitingTopic, ...]
    typed: dict[str, str]
    problem: str
    errors: dict[str, str]
    saved: bool
    older: str
    live: bool
    live_s: int
    max_title: int
    max_body: int
    estimate: notify.Estimate | None
    matters_h: tuple[int, ...]


@router.get("")
async def show_sends(request: Request, saved: str = "", before: str = "") -> Response:
    """What is being sent and was, the newest first, and the form to write."""
    return await _show(request, {"inbox": "1", "key": str(new_id())}, saved=saved == "1", before=before)


@router.post("")
async def post_post(request: Request) -> Response:
    """Write to a topic's followers, or only `look` how many they are and how long it would take."""
    form, person = await read_form(request), await staff_member(request)
    typed = {name: form.get(name)[: notify.MAX_BODY + 1] for name in FIELDS}
    shop = _shop(request)
    try:
        kind, _colon, key = typed["topic"].partition(":")
        if kind not in set(notify.TopicKind):
            raise InvalidRequest(_("Choose whose followers to write to."), field="topic")
        if form.get("look"):
            async with shop.database.connection() as conn:
                limits = shop.settings.mail
                estimate = await notify.estimate_send(conn, limits, kind=notify.TopicKind(kind), key=key)
            return await _show(request, typed, estimate=estimate)
        async with shop.database.transaction() as conn:
            post = await notify.write_post(
                conn,
                kind=notify.TopicKind(kind),
                key=key,
                title=typed["title"],
                body=typed["body"],
                channels=_channels(form),
                author_id=person.id,
                request_key=str(parse_id(typed["key"]) or new_id()),
                base_url=shop.settings.base_url,
                expires_at=_expiry(typed["matters_h"], now=await database_now(conn)),
            )
    except (InvalidRequest, notify.PostDiffers) as problem:
        return await _show(request, typed, problem=problem)
    log.info("post written", post=str(post.post_id), by=str(person.id))
    return see_other(request, "/admin/sends?saved=1")


@router.post("/{event_id}/{topic_id}/{wish}")
async def steer_send(request: Request, event_id: str, topic_id: str, wish: str) -> Response:
    """Pause a send, go on with it, or end it."""
    await read_form(request)
    person = await staff_member(request)
    event, topic, steer = parse_id(event_id), parse_id(topic_id), STEERS.get(wish)
    if event is None or topic is None or steer is None:
        raise NotFound()
    async with _shop(request).database.transaction() as conn:
        await steer(conn, event_id=EventId(event), topic_id=topic)
    log.info("send changed", event_id=str(event), wish=wish, by=str(person.id))
    return see_other(request, "/admin/sends?saved=1")


async def _show(
    request: Request,
    typed: dict[str, str],
    *,
    problem: InvalidRequest | notify.PostDiffers | None = None,
    estimate: notify.Estimate | None = None,
    saved: bool = False,
    before: str = "",
) -> Response:
    async with _shop(request).database.connection() as conn:
        limits = _shop(request).settings.mail
        sends = await notify.list_sends(conn, limit=SHOWN + 1, before=_place(before), limits=limits)
        topics = await notify.list_topics(conn, limit=TOPICS)
    running = any(send.state is notify.SendState.RUNNING for send in sends)
    pace = await notify.read_pace(request.app.state.valkey) if running else None
    last = sends[SHOWN - 1] if len(sends) > SHOWN else None
    errors = {} if problem is None else blamed(problem)
    context = SendsContext(
        sends=tuple(sends[:SHOWN]),
        pace=pace if pace is not None and pace.sending else None,
        topics=tuple(topics),
        typed={name: typed.get(name, "") for name in FIELDS},
        problem="" if problem is None or errors else words_of(problem),
        errors=errors,
        saved=saved,
        older="" if last is None else f"/admin/sends?{urlencode({'before': f'{last.event_id}.{last.topic_id}'})}",
        live=problem is None and estimate is None and running,
        live_s=LIVE_S,
        max_title=notify.MAX_TITLE,
        max_body=notify.MAX_BODY,
        estimate=estimate,
        matters_h=MATTERS_H,
    )
    status = 200 if problem is None else problem.status
    return render(request, "admin/sends.html", context, status=status, headers=NOT_KEPT)


def _channels(form: PostedForm) -> list[notify.Channel]:
    return [channel for channel in notify.Channel if form.get(channel.value) == "1"]


def _expiry(hours: str, *, now: datetime) -> datetime | None:
    """When it does not matter any more; None for as long as it takes."""
    return next((now + timedelta(hours=each) for each in MATTERS_H if hours == str(each)), None)


def _place(text: str) -> tuple[EventId, UUID] | None:
    event, topic = (parse_id(part) for part in f"{text}.".split(".")[:2])
    return None if event is None or topic is None else (EventId(event), topic)


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop
