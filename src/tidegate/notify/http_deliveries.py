"""JSON routes by which deliveries are looked up, and failed ones are tried again."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from tidegate.notify.address_book import find_ids
from tidegate.notify.contracts import Channel
from tidegate.notify.dead_letters import NotReplayable, Road, replay_dead_letter, replay_event
from tidegate.notify.fields import wrong_fields
from tidegate.notify.http_keys import FOUND_PROBLEMS, KEY_PROBLEMS, Steered, Watched, database_of
from tidegate.notify.searches import DeliveryState, Found, Wanted, is_of_application, search_deliveries
from tidegate.platform.database import Connection
from tidegate.platform.edge.openapi import problems_by_status
from tidegate.platform.ids import EventId
from tidegate.platform.problems import NotFound

router = APIRouter(prefix="/api/v1/notify", tags=["notify"])

PAGE = 100
REPLAY_PROBLEMS = problems_by_status((*KEY_PROBLEMS, NotFound, NotReplayable))


class DeliveryAnswer(BaseModel):
    """A message to one recipient by one channel. `receipts` is what the mail provider said of it afterwards."""

    event_id: UUID
    recipient_id: UUID
    external_id: str
    channel: str
    template: str
    state: DeliveryState
    attempts: int
    last_error: str
    created_at: datetime
    sent_at: datetime | None
    next_attempt_at: datetime | None
    receipts: list[str]

    @classmethod
    def of(cls, found: Found) -> DeliveryAnswer:
        """The shape of a delivery."""
        return cls(
            event_id=found.event_id,
            recipient_id=found.recipient_id,
            external_id=found.external_id,
            channel=found.channel,
            template=found.template,
            state=DeliveryState(found.state),
            attempts=found.attempts,
            last_error=found.last_error,
            created_at=found.created_at,
            sent_at=found.sent_at,
            next_attempt_at=found.next_attempt_at,
            receipts=found.receipts,
        )


class DeliveryPage(BaseModel):
    """Deliveries of the newest events first; `next` is the address of the page behind, or null."""

    items: list[DeliveryAnswer]
    next: str | None


class DeliveriesReplayed(BaseModel):
    """How many deliveries are tried again."""

    replayed: int


@router.get("/deliveries", responses=FOUND_PROBLEMS)
async def get_notify_deliveries(
    request: Request,
    scope: Watched,
    event: UUID | None = None,
    recipient: Annotated[str, Query(max_length=100, description="Your id of a recipient, or ours.")] = "",
    state: DeliveryState | None = None,
    channel: Channel | None = None,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = PAGE,
    before: Annotated[str, Query(max_length=100, description="Where the page before ended, as `next` says.")] = "",
) -> DeliveryPage:
    """Deliveries that fit all of what is given, of the newest events first."""
    async with database_of(request).connection() as conn:
        recipient_id = await _recipient_id(conn, scope, recipient) if recipient else None
        wanted = Wanted(
            application_id=scope,
            event_id=None if event is None else EventId(event),
            recipient_id=recipient_id,
            state=state,
            channel=channel,
        )
        found = await search_deliveries(conn, wanted=wanted, limit=limit + 1, before=_place(before))
    asked = {"event": event, "recipient": recipient, "state": state, "channel": channel, "limit": limit}
    behind = None
    if len(found) > limit:
        last = found[limit - 1]
        place = f"{last.event_id.hex}.{last.recipient_id.hex}.{last.channel}"
        given = {name: str(value) for name, value in asked.items() if value not in (None, "")}
        behind = f"/api/v1/notify/deliveries?{urlencode(given | {'before': place})}"
    return DeliveryPage(items=[DeliveryAnswer.of(each) for each in found[:limit]], next=behind)


@router.post("/deliveries/{event_id}/replay", responses=FOUND_PROBLEMS)
async def post_notify_event_replay(request: Request, scope: Steered, event_id: UUID) -> DeliveriesReplayed:
    """Try some thousands of failed deliveries of an event again; ask again until it answers 0."""
    async with database_of(request).transaction() as conn:
        if scope is not None and not await is_of_application(conn, event_id=EventId(event_id), application_id=scope):
            raise NotFound()
        return DeliveriesReplayed(
            replayed=(await replay_event(conn, event_id=EventId(event_id), application_id=scope)).count
        )


@router.post("/deliveries/{event_id}/{recipient_id}/{channel}/replay", responses=REPLAY_PROBLEMS)
async def post_notify_delivery_replay(
    request: Request, scope: Steered, event_id: UUID, recipient_id: UUID, channel: Channel
) -> DeliveriesReplayed:
    """Try a failed delivery again; 0 when it has not failed."""
    wanted = Wanted(scope, event_id=EventId(event_id), recipient_id=recipient_id, channel=channel)
    async with database_of(request).transaction() as conn:
        if not await search_deliveries(conn, wanted=wanted, limit=1):
            raise NotFound()
        done = await replay_dead_letter(
            conn, event_id=EventId(event_id), recipient_id=recipient_id, channel=Road(channel.value)
        )
    return DeliveriesReplayed(replayed=int(done))


async def _recipient_id(conn: Connection, application_id: UUID | None, named: str) -> UUID:
    """Our id of a recipient that is named by it or by the application's own id, which may look like ours.

    Raises: NotFound for what is neither.
    """
    own = {} if application_id is None else await find_ids(conn, application_id=application_id, external_ids=[named])
    recipient_id = own.get(named) or _uuid(named)
    if recipient_id is None:
        raise NotFound()
    return recipient_id


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _place(text: str) -> tuple[UUID, UUID, str] | None:
    if not text:
        return None
    event, _, rest = text.partition(".")
    recipient, _, channel = rest.partition(".")
    ids = _uuid(event), _uuid(recipient)
    if ids[0] is None or ids[1] is None:
        raise wrong_fields([("before", "Take `before` from the `next` of the page before.")])
    return ids[0], ids[1], channel
