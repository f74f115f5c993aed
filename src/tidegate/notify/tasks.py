"""Celery's entry points into notify."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from uuid import UUID

from celery import shared_task
from kombu.exceptions import OperationalError

from tidegate.notify.deliveries import deliver_due, find_overdue, on_account_link, on_order_event
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId
from tidegate.platform.jobs import RECEIPTS, Call, lane_depths, publish, run_async
from tidegate.platform.outbox import Event
from tidegate.platform.settings import Settings

DELIVER_TASK = "notify.deliver"


@shared_task(name=DELIVER_TASK)
def deliver(event_id: str) -> int:
    """Deliver what is due of one event."""
    return run_async(partial(_deliver, event_id=EventId(UUID(event_id))))


async def _deliver(database: Database, settings: Settings, *, event_id: EventId) -> int:
    return await deliver_due(database, settings, limit=settings.mail.batch, event_ids=[event_id])


async def order_event(database: Database, settings: Settings, event: Event) -> None:
    """Subscriber of what happens to orders: writes the deliveries, and when they are committed, hands them out."""
    await on_order_event(database, settings, event)
    with suppress(OperationalError):  # the broker is away: the sweeper finds what was written
        await hand_out([event.id])


async def account_link(database: Database, settings: Settings, event: Event) -> None:
    """Subscriber of the links of accounts: writes the mail, and when that is committed, hands it out."""
    await on_account_link(database, settings, event)
    with suppress(OperationalError):  # the broker is away: the sweeper finds what was written
        await hand_out([event.id])


async def sweep(database: Database, settings: Settings) -> int:
    """Hand out again what was left lying: its task was lost with the broker, or its pause is over.

    While tasks still wait in the lane, what is late is likely among them, and only what is very late is sent again.
    Returns 0, since a round must not be followed at once by another: what it found is due until a worker takes it.
    Raises: kombu's OperationalError when the broker is away.
    """
    depths = await asyncio.to_thread(lane_depths)
    overdue_s = settings.mail.lease_s if depths[RECEIPTS] else settings.jobs.notify_sweep_s
    room = max(settings.jobs.queue_max - sum(depths.values()), 0)
    async with database.connection() as conn:
        overdue = await find_overdue(conn, limit=min(settings.mail.batch, room), overdue_s=overdue_s)
    await hand_out(overdue)
    return 0


async def hand_out(event_ids: Sequence[EventId]) -> None:
    """Send a delivery task per event. Raises: kombu's OperationalError when the broker is away."""
    await asyncio.to_thread(publish, [Call(DELIVER_TASK, (str(event_id),), RECEIPTS) for event_id in event_ids])
