"""Endpoints and webhooks for tests, without a broker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from tidegate.notify.webhook_contracts import Keys
from tidegate.notify.webhook_events import on_order_webhooks
from tidegate.notify.webhook_rounds import work_on_endpoint
from tidegate.notify.webhooks import make_endpoint
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, PersonId, new_id
from tidegate.platform.outbox import Event
from tidegate.platform.settings import Settings

STAFF = PersonId(new_id())


def with_hooks(settings: Settings, **changes: object) -> Settings:
    """These settings with others for webhooks."""
    return settings.model_copy(update={"webhooks": settings.webhooks.model_copy(update=changes)})


async def endpoint(
    database: Database,
    settings: Settings,
    url: str,
    *,
    events: Sequence[str] = ("order.paid",),
    topics: Sequence[str] = (),
) -> Keys:
    """An endpoint at `url`."""
    async with database.transaction() as conn:
        return await make_endpoint(
            conn,
            settings.webhooks,
            url=url,
            description="The warehouse",
            events=events,
            topics=topics,
            author_id=STAFF,
            request_key=str(new_id()),
        )


def order_event(topic: str = "order.paid") -> Event:
    """An event of an order."""
    payload = {
        "order_id": str(new_id()),
        "number": "K7P2-9QXA",
        "buyer_id": str(new_id()),
        "total": {"amount": 123450, "currency": "GBP"},
        "discount": None,
        "lines": [{"title": "Lamp", "sku": "LAMP", "quantity": 2, "amount": 123450}],
        "order_url": "http://127.0.0.1:8000/orders/1",
    }
    return Event(EventId(new_id()), topic, payload, {"email": "ada@example.com", "name": "Ada Lovelace"})


async def orders(database: Database, settings: Settings, count: int) -> list[EventId]:
    """So many orders are paid."""
    events = [order_event() for _ in range(count)]
    for event in events:
        await on_order_webhooks(database, settings, [event])
    return [event.id for event in events]


async def call(database: Database, settings: Settings, endpoint_id: UUID, **more: Any) -> int:
    """One turn of a worker."""
    return await work_on_endpoint(database, settings, endpoint_id=endpoint_id, draw=lambda: 0.0, **more)


async def let_time_pass(database: Database, *, days: int = 0) -> None:
    """All pauses and leases are over; and so many days have gone by."""
    async with database.connection() as conn:
        await conn.execute(
            "UPDATE notify.deliveries SET next_attempt_at = clock_timestamp(),"
            " created_at = created_at - make_interval(days => %s) WHERE state = 'pending'",
            (days,),
        )
        await conn.execute(
            "UPDATE notify.webhook_endpoints SET due_at = clock_timestamp(), busy_until = clock_timestamp(),"
            " failing_since = failing_since - make_interval(days => %s)",
            (days,),
        )


async def states(database: Database) -> list[tuple[Any, ...]]:
    """(state, attempts, status code, error) of all webhooks, in order."""
    async with database.connection() as conn:
        rows = await conn.execute(
            "SELECT state, attempts, status_code, last_error FROM notify.deliveries WHERE channel = 'webhook'"
            " ORDER BY event_id"
        )
        return await rows.fetchall()
