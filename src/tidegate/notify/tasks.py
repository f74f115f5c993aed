"""Celery's entry points into notify."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from uuid import UUID

from celery import shared_task
from kombu.exceptions import OperationalError

from tidegate.notify.deliveries import deliver_due, find_overdue, on_account_link, on_follow_asked, on_order_event
from tidegate.notify.sends import find_stopped, tell_page
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId
from tidegate.platform.jobs import BULK, RECEIPTS, Call, free_room, lane_depths, publish, run_async
from tidegate.platform.outbox import Event
from tidegate.platform.settings import Settings

DELIVER_TASK = "notify.deliver"
TELL_TASK = "notify.tell"


@shared_task(name=DELIVER_TASK)
def deliver(event_id: str) -> int:
    """Deliver what is due of one event."""
    return run_async(partial(_deliver, event_id=EventId(UUID(event_id))))


async def _deliver(database: Database, settings: Settings, *, event_id: EventId) -> int:
    return await deliver_due(database, settings, limit=settings.mail.batch, event_ids=[event_id])


@shared_task(name=TELL_TASK)
def tell(event_id: str) -> int:
    """Go on telling the followers of what an event is about."""
    return run_async(partial(tell_followers, event_id=EventId(UUID(event_id))))


async def tell_followers(database: Database, settings: Settings, *, event_id: EventId) -> int:
    """Tell page after page of followers and hand out their messages, for `follows.slice_s`; returns the pages.

    Stops while the broker has no room for more: the sweeper goes on.
    """
    ends_at = time.monotonic() + settings.follows.slice_s
    pages = 0
    while time.monotonic() < ends_at:
        if not await asyncio.to_thread(free_room, settings):
            return pages
        page = await tell_page(database, settings, event_id=event_id)
        if page.over:
            return pages
        pages += 1
        if page.deliveries:
            await hand_out([event_id] * -(-page.deliveries // settings.mail.batch), lane=BULK)
    await asyncio.to_thread(publish, [Call(TELL_TASK, (str(event_id),), BULK)])
    return pages


async def send(database: Database, settings: Settings, event: Event) -> None:
    """Subscriber of what followers are to be told."""
    with suppress(OperationalError):  # the broker is away: the sweeper goes on
        await tell_followers(database, settings, event_id=EventId(UUID(event.payload["event_id"])))


async def follow_asked(database: Database, settings: Settings, event: Event) -> None:
    """Subscriber of follows to be confirmed: writes the mail, and when that is committed, hands it out."""
    await on_follow_asked(database, settings, event)
    with suppress(OperationalError):  # the broker is away: the sweeper finds what was written
        await hand_out([event.id])


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
    limits = settings.jobs
    room = max(limits.queue_max - sum(depths.values()), 0)
    limit = min(settings.mail.batch, room)
    first_s, bulk_s = (settings.mail.lease_s if depths[lane] else limits.notify_sweep_s for lane in (RECEIPTS, BULK))
    async with database.connection() as conn:
        first = await find_overdue(conn, limit=limit, overdue_s=first_s)
        many = await find_overdue(conn, limit=limit, overdue_s=bulk_s, bulk=True)
        stopped = await find_stopped(conn, limit=limit, overdue_s=bulk_s)
    await hand_out(first)
    await hand_out(many, lane=BULK)
    await asyncio.to_thread(publish, [Call(TELL_TASK, (str(event_id),), BULK) for event_id in stopped])
    return 0


async def hand_out(event_ids: Sequence[EventId], *, lane: str = RECEIPTS) -> None:
    """Send a delivery task per event. Raises: kombu's OperationalError when the broker is away."""
    await asyncio.to_thread(publish, [Call(DELIVER_TASK, (str(event_id),), lane) for event_id in event_ids])
