"""JSON routes by which applications have something told, and look what became of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Request
from pydantic import AwareDatetime, BaseModel, Field, field_validator

from tidegate.notify.contracts import Channel
from tidegate.notify.http_keys import FOUND_PROBLEMS, KEY_PROBLEMS, Reader, Sender, database_of
from tidegate.notify.own_events import MOST_RECIPIENTS, Asked, Taken, take_event, view_event
from tidegate.notify.wording import OWN_WORDS, Urgency
from tidegate.platform.edge.openapi import problems_by_status
from tidegate.platform.problems import KeyMissing, KeyReused
from tidegate.platform.settings import Settings

router = APIRouter(prefix="/api/v1/notify", tags=["notify"])

MAX_ID = 100
MAX_VARIABLES = 20
TAKE_PROBLEMS = problems_by_status((*KEY_PROBLEMS, KeyMissing, KeyReused))


class Audience(BaseModel):
    """To whom: recipients, by your ids or ours; or the followers of a topic; or those recipients who follow it."""

    recipients: Annotated[list[Annotated[str, Field(max_length=MAX_ID)]], Field(max_length=MOST_RECIPIENTS)] = []
    topic: Annotated[str, Field(max_length=MAX_ID)] = ""


class EventBody(BaseModel):
    """What to tell, and to whom."""

    urgency: Urgency = Field(
        description="`transactional`: named recipients wait for it. `bulk`: followers of a topic, who may stop it."
    )
    to: Audience
    template: Annotated[str, Field(max_length=40)] = Field(
        OWN_WORDS, description="`message` says words of your own; `drop_open` and `product_back` are for followers."
    )
    variables: Annotated[dict[str, Any], Field(max_length=MAX_VARIABLES)] = Field(
        description="What the template takes; `message`: `title`, `body`, and `url` if there is one."
    )
    channels: Annotated[list[Channel], Field(min_length=1, max_length=len(Channel))] = [Channel.EMAIL, Channel.INBOX]
    expires_at: AwareDatetime | None = Field(
        None, description="When it does not matter any more: what is not sent by then is suppressed."
    )

    @field_validator("expires_at")
    @classmethod
    def _in_utc(cls, moment: datetime | None) -> datetime | None:
        """Refuse what is beyond the calendar's end in UTC."""
        try:
            return None if moment is None else moment.astimezone(UTC)
        except OverflowError:
            raise ValueError("this is beyond the year 9999") from None


class EventTaken(BaseModel):
    """What was begun. `recipients` are those named who are told; `unknown` ids are of none of your recipients.

    `progress` is where to look how far it has come.
    """

    id: UUID
    urgency: Urgency
    recipients: int | None
    unknown: list[str]
    progress: str

    @classmethod
    def of(cls, taken: Taken) -> EventTaken:
        """The shape of what was begun; a send has a room of its own."""
        where = f"/api/v1/notify/events/{taken.id}"
        if taken.topic_id is not None and taken.recipients is None:
            where = f"/api/v1/notify/sends/{taken.id}/{taken.topic_id}"
        return cls(
            id=taken.id, urgency=taken.urgency, recipients=taken.recipients, unknown=taken.unknown, progress=where
        )


class EventAnswer(BaseModel):
    """An event, and how many of its messages stand how; a message is one recipient's by one channel.

    `over` says that nothing is left to do. Before, more messages may be written.
    """

    id: UUID
    urgency: Urgency
    template: str
    topic_id: UUID | None
    created_at: datetime
    over: bool
    pending: int
    sent: int
    failed: int
    suppressed: int


@router.post("/events", status_code=202, responses=TAKE_PROBLEMS)
async def post_notify_event(
    request: Request,
    application: Sender,
    body: EventBody,
    idempotency_key: Annotated[
        str, Header(description="Any text of up to 255 characters, new for each event.", max_length=255)
    ] = "",
) -> EventTaken:
    """Have something told. It is written down when this answers, and told soon after.

    The same key tells it once, however often it is sent, and is answered the same.
    """
    if not idempotency_key.strip():
        raise KeyMissing()
    settings: Settings = request.app.state.settings
    asked = Asked(
        urgency=body.urgency,
        template=body.template,
        variables=body.variables,
        channels=tuple(sorted(set(body.channels))),
        topic=body.to.topic,
        recipients=tuple(dict.fromkeys(body.to.recipients)),
        expires_at=body.expires_at,
    )
    async with database_of(request).transaction() as conn:
        taken = await take_event(
            conn,
            application_id=application,
            request_key=idempotency_key.strip(),
            asked=asked,
            bulk_from=settings.follows.bulk_from,
        )
    return EventTaken.of(taken)


@router.get("/events/{event_id}", responses=FOUND_PROBLEMS)
async def get_notify_event(request: Request, application: Reader, event_id: UUID) -> EventAnswer:
    """What became of an event of yours."""
    async with database_of(request).connection() as conn:
        view = await view_event(conn, application_id=application, event_id=event_id)
    return EventAnswer(
        id=view.event_id,
        urgency=Urgency(view.urgency),
        template=view.template,
        topic_id=view.topic_id,
        created_at=view.created_at,
        over=view.over,
        **{state: view.states.get(state, 0) for state in ("pending", "sent", "failed", "suppressed")},
    )
