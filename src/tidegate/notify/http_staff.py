"""JSON routes by which staff write to followers, and watch and steer what is sent to them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import APIRouter, Header, Query, Request
from pydantic import AwareDatetime, BaseModel, Field

from tidegate.notify.contracts import Channel, Post, PostDiffers, Send, SendState, TopicKind
from tidegate.notify.estimates import estimate_send
from tidegate.notify.http_keys import Operated, Steered, Watched, actor_of
from tidegate.notify.posts import MAX_BODY, MAX_TITLE, write_post
from tidegate.notify.steering import cancel_send, pause_send, resume_send
from tidegate.notify.views import list_sends
from tidegate.platform.database import Database
from tidegate.platform.edge.openapi import problems_by_status
from tidegate.platform.ids import EventId
from tidegate.platform.problems import InvalidRequest, KeyMissing, NotFound, NotSignedIn
from tidegate.platform.settings import Settings
from tidegate.platform.settings_notify import MailSettings

log = structlog.get_logger(__name__)

router = APIRouter(prefix="/api/v1/notify", tags=["notify"])

PAGE = 50
PROBLEMS = problems_by_status((NotSignedIn, NotFound, InvalidRequest))
WRITE_PROBLEMS = problems_by_status((NotSignedIn, NotFound, InvalidRequest, KeyMissing, PostDiffers))


class PostBody(BaseModel):
    """What to write, and to whose followers."""

    kind: TopicKind
    key: str = Field(min_length=1, max_length=300, description="The address of what is followed, within its kind.")
    title: str = Field(min_length=1, max_length=MAX_TITLE)
    body: str = Field(min_length=1, max_length=MAX_BODY)
    channels: list[Channel] = Field([Channel.INBOX], min_length=1, max_length=2)
    expires_at: AwareDatetime | None = Field(None, description="When it does not matter any more: then it is not sent.")


class PostAnswer(BaseModel):
    """A post; `id` is the event of its send."""

    id: UUID
    topic_id: UUID
    title: str
    body: str
    created_at: datetime

    @classmethod
    def of(cls, post: Post) -> PostAnswer:
        """The shape of a post."""
        return cls(
            id=post.post_id, topic_id=post.topic_id, title=post.title, body=post.body, created_at=post.created_at
        )


class SendAnswer(BaseModel):
    """A send and how far it has come. Counts are messages, one per follower and channel."""

    event_id: UUID
    topic_id: UUID
    kind: TopicKind
    topic: str
    about: str
    channels: list[str]
    lane: str
    state: SendState
    begun_at: datetime
    followers: int
    expected: int
    delivered: int
    failed: int
    suppressed: int
    unwanted: int = Field(description="Of the suppressed: what its recipients did not want.")
    late: int = Field(description="Of the suppressed: what did not matter any more when its turn came.")
    doubtful: int = Field(description="Mails that may have come twice: nobody knows how handing them over ended.")
    left_s: float | None = Field(description="Seconds that the rest takes at the pace so far and at the quota.")

    @classmethod
    def of(cls, send: Send) -> SendAnswer:
        """The shape of a send."""
        progress = send.progress
        return cls(
            event_id=send.event_id,
            topic_id=send.topic_id,
            kind=send.kind,
            topic=send.title,
            about=send.about,
            channels=list(send.channels),
            lane=send.lane,
            state=send.state,
            begun_at=send.begun_at,
            followers=progress.followers,
            expected=progress.expected,
            delivered=progress.delivered,
            failed=progress.failed,
            suppressed=progress.suppressed,
            unwanted=progress.unwanted,
            late=progress.late,
            doubtful=progress.doubtful,
            left_s=progress.left_s,
        )


class SendPage(BaseModel):
    """Sends; `next` is the address of the page behind, or null."""

    items: list[SendAnswer]
    next: str | None


class Wish(StrEnum):
    """What a send shall do."""

    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"


class SendChange(BaseModel):
    """What a send shall do."""

    state: Wish


@router.post("/posts", status_code=201, responses=WRITE_PROBLEMS)
async def post_notify_posts(
    request: Request,
    person: Operated,
    body: PostBody,
    idempotency_key: Annotated[
        str, Header(description="Any text of up to 255 characters, new for each post.", max_length=255)
    ] = "",
) -> PostAnswer:
    """Write to the followers of a topic. The same key writes one post, however often it is sent."""
    if not idempotency_key.strip():
        raise KeyMissing()
    settings: Settings = request.app.state.settings
    async with _database(request).transaction() as conn:
        post = await write_post(
            conn,
            kind=body.kind,
            key=body.key.replace("\0", ""),
            title=body.title,
            body=body.body,
            channels=sorted(set(body.channels)),
            author_id=person.id,
            request_key=idempotency_key.strip(),
            base_url=settings.base_url,
            expires_at=body.expires_at,
        )
    log.info("post written", post=str(post.post_id), by=str(person.id))
    return PostAnswer.of(post)


class EstimateAnswer(BaseModel):
    """What telling the followers of a topic comes to."""

    followers: int
    mail_s: float | None = Field(
        description="Seconds that a mail to each takes at the mail provider's quota; null without a quota."
    )


@router.get("/estimates", responses=PROBLEMS)
async def get_notify_estimates(
    request: Request, person: Operated, kind: TopicKind, key: Annotated[str, Query(min_length=1, max_length=300)]
) -> EstimateAnswer:
    """How many follow a topic, and how long mails to all of them would take."""
    async with _database(request).connection() as conn:
        estimate = await estimate_send(conn, _mail(request), kind=kind, key=key.replace("\0", ""))
    return EstimateAnswer(followers=estimate.followers, mail_s=estimate.mail_s)


@router.get("/sends", responses=PROBLEMS)
async def get_notify_sends(
    request: Request,
    scope: Watched,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = PAGE,
    before_event: UUID | None = None,
    before_topic: UUID | None = None,
) -> SendPage:
    """Sends with their progress, of the newest events first: all for staff, an application's own with its key."""
    before = (EventId(before_event), before_topic) if before_event is not None and before_topic is not None else None
    async with _database(request).connection() as conn:
        sends = await list_sends(conn, limit=limit + 1, before=before, application_id=scope, limits=_mail(request))
    last = sends[limit - 1] if len(sends) > limit else None
    behind = None if last is None else f"?limit={limit}&before_event={last.event_id}&before_topic={last.topic_id}"
    return SendPage(
        items=[SendAnswer.of(send) for send in sends[:limit]],
        next=None if behind is None else f"/api/v1/notify/sends{behind}",
    )


@router.get("/sends/{event_id}/{topic_id}", responses=PROBLEMS)
async def get_notify_send(request: Request, scope: Watched, event_id: UUID, topic_id: UUID) -> SendAnswer:
    """One send with its progress."""
    return await _one(request, scope, EventId(event_id), topic_id)


@router.patch("/sends/{event_id}/{topic_id}", responses=PROBLEMS)
async def patch_notify_send(
    request: Request, scope: Steered, event_id: UUID, topic_id: UUID, body: SendChange
) -> SendAnswer:
    """Pause a send, go on with it, or end it for good. Of one that is over nothing changes."""
    await _one(request, scope, EventId(event_id), topic_id)
    steer = {Wish.RUNNING: resume_send, Wish.PAUSED: pause_send, Wish.CANCELLED: cancel_send}[body.state]
    async with _database(request).transaction() as conn:
        await steer(conn, event_id=EventId(event_id), topic_id=topic_id)
    by = await actor_of(request)
    log.info("send changed", event_id=str(event_id), state=body.state.value, by=str(by))
    return await _one(request, scope, EventId(event_id), topic_id)


async def _one(request: Request, scope: UUID | None, event_id: EventId, topic_id: UUID) -> SendAnswer:
    async with _database(request).connection() as conn:
        sends = await list_sends(
            conn, limit=1, event_id=event_id, topic_id=topic_id, application_id=scope, limits=_mail(request)
        )
    if not sends:
        raise NotFound()
    return SendAnswer.of(sends[0])


def _mail(request: Request) -> MailSettings:
    settings: Settings = request.app.state.settings
    return settings.mail


def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database
