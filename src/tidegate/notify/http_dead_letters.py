"""JSON routes by which staff, and applications for their own messages, read, replay and drop what failed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from tidegate.notify.dead_letters import (
    DeadLetter,
    NotReplayable,
    Replayed,
    Road,
    drop_dead_letter,
    list_dead_letters,
    open_dead_letter,
    replay_dead_letter,
    replay_endpoint,
    replay_event,
)
from tidegate.notify.http_keys import KEY_PROBLEMS, Steered, Watched, actor_of, database_of
from tidegate.platform.edge.openapi import problems_by_status
from tidegate.platform.ids import EventId, PersonId
from tidegate.platform.problems import InvalidRequest, NotFound

log = structlog.get_logger(__name__)

router = APIRouter(prefix="/api/v1/notify/dead-letters", tags=["notify"])

PAGE = 50
PROBLEMS = problems_by_status((*KEY_PROBLEMS, NotFound))
REPLAY_PROBLEMS = problems_by_status((*KEY_PROBLEMS, NotFound, NotReplayable))


class DeadLetterAnswer(BaseModel):
    """A message that failed for good."""

    event_id: UUID
    recipient_id: UUID = Field(description="A person, an address without an account, or a webhook endpoint.")
    channel: Road
    template: str = Field(description="The name of its words; of a webhook, the kind of event.")
    about: str
    in_send: bool = Field(description="Whether it was one of a message to many.")
    attempts: int
    status_code: int | None
    error: str
    created_at: datetime

    @classmethod
    def of(cls, letter: DeadLetter) -> DeadLetterAnswer:
        """The shape of a dead letter."""
        return cls(**{name: getattr(letter, name) for name in cls.model_fields})


class OpenedAnswer(BaseModel):
    """A dead letter, what it was to say, and to whom."""

    letter: DeadLetterAnswer
    email: str = Field(description="Empty where it is no mail.")
    variables: dict[str, Any]


class DeadLetterPage(BaseModel):
    """Dead letters; `next` is the address of the page behind, or null."""

    items: list[DeadLetterAnswer]
    next: str | None


class ReplayBody(BaseModel):
    """Whose dead letters are sent again: an event's, or an endpoint's."""

    event_id: UUID | None = None
    endpoint_id: UUID | None = None


class ReplayAnswer(BaseModel):
    """How many messages wait again. Where there may be `more`, ask again."""

    replayed: int
    more: bool


@router.get("", responses=PROBLEMS)
async def get_dead_letters(
    request: Request,
    scope: Watched,
    channel: Road | None = None,
    event_id: UUID | None = None,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = PAGE,
    before_event: UUID | None = None,
    before_recipient: UUID | None = None,
    before_channel: Road | None = None,
) -> DeadLetterPage:
    """Dead letters, those of the newest events first."""
    before = None
    if before_event is not None and before_recipient is not None and before_channel is not None:
        before = (EventId(before_event), before_recipient, before_channel.value)
    only = None if event_id is None else EventId(event_id)
    async with database_of(request).connection() as conn:
        letters = await list_dead_letters(
            conn, limit=limit + 1, channel=channel, event_id=only, before=before, application_id=scope
        )
    behind = None
    if len(letters) > limit:
        event, recipient, last_channel = letters[limit - 1].place
        behind = f"?limit={limit}&before_event={event}&before_recipient={recipient}&before_channel={last_channel}"
        behind += "" if channel is None else f"&channel={channel}"
        behind += "" if event_id is None else f"&event_id={event_id}"
    return DeadLetterPage(
        items=[DeadLetterAnswer.of(letter) for letter in letters[:limit]],
        next=None if behind is None else f"/api/v1/notify/dead-letters{behind}",
    )


@router.post("/replay", responses=PROBLEMS)
async def post_dead_letters_replay(request: Request, scope: Steered, body: ReplayBody) -> ReplayAnswer:
    """Send all dead letters of an event or an endpoint again, some thousands at a time."""
    if (body.event_id is None) == (body.endpoint_id is None):
        raise InvalidRequest("name an event or an endpoint, and not both", field="event_id")
    async with database_of(request).transaction() as conn:
        if body.event_id is not None:
            replayed = await replay_event(conn, event_id=EventId(body.event_id), application_id=scope)
        else:
            assert body.endpoint_id is not None
            replayed = await replay_endpoint(conn, endpoint_id=body.endpoint_id, application_id=scope)
    _log(await actor_of(request), replayed, event=body.event_id, endpoint=body.endpoint_id)
    return ReplayAnswer(replayed=replayed.count, more=replayed.more)


@router.get("/{event_id}/{recipient_id}/{channel}", responses=PROBLEMS)
async def get_dead_letter(
    request: Request, scope: Watched, event_id: UUID, recipient_id: UUID, channel: Road
) -> OpenedAnswer:
    """One dead letter, with what it was to say and to whom."""
    async with database_of(request).connection() as conn:
        opened = await open_dead_letter(
            conn, event_id=EventId(event_id), recipient_id=recipient_id, channel=channel, application_id=scope
        )
    return OpenedAnswer(letter=DeadLetterAnswer.of(opened.letter), email=opened.email, variables=opened.variables)


@router.post("/{event_id}/{recipient_id}/{channel}/replay", status_code=204, responses=REPLAY_PROBLEMS)
async def post_dead_letter_replay(
    request: Request, scope: Steered, event_id: UUID, recipient_id: UUID, channel: Road
) -> None:
    """Send one again. One that waits already, or was sent, stays as it is."""
    async with database_of(request).transaction() as conn:
        await replay_dead_letter(
            conn, event_id=EventId(event_id), recipient_id=recipient_id, channel=channel, application_id=scope
        )
    _log(await actor_of(request), Replayed(1, more=False), event=event_id, endpoint=None)


@router.delete("/{event_id}/{recipient_id}/{channel}", status_code=204, responses=PROBLEMS)
async def delete_dead_letter(
    request: Request, scope: Steered, event_id: UUID, recipient_id: UUID, channel: Road
) -> None:
    """Give one up: it counts as suppressed."""
    async with database_of(request).transaction() as conn:
        await drop_dead_letter(
            conn, event_id=EventId(event_id), recipient_id=recipient_id, channel=channel, application_id=scope
        )
    log.info("dead letter dropped", event_id=str(event_id), channel=channel.value, by=str(await actor_of(request)))


def _log(by: PersonId, replayed: Replayed, *, event: UUID | None, endpoint: UUID | None) -> None:
    log.info(
        "dead letters replayed",
        event_id=None if event is None else str(event),
        endpoint=None if endpoint is None else str(endpoint),
        count=replayed.count,
        by=str(by),
    )
