"""The relay: hands due outbox events to Celery, those of a topic together, in its lane."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import psycopg
import structlog
from prometheus_client import Gauge

from tidegate.platform.backoff import backoff_s
from tidegate.platform.database import OUTAGE, Database
from tidegate.platform.jobs import EVENT_TASK, WITHIN_1M, Call, Subscription, free_room, publish
from tidegate.platform.outbox import CHANNEL, Claimed, any_due, claim_events, release_events
from tidegate.platform.settings import Settings

log = structlog.get_logger(__name__)

PENDING = Gauge("tidegate_outbox_pending", "Outbox events that are not done yet.")
OLDEST_S = Gauge("tidegate_outbox_oldest_seconds", "Age of the oldest outbox event that is not done yet.")
DEAD = Gauge("tidegate_outbox_dead", "Outbox events that were given up.")

UNKNOWN: Final = Subscription(WITHIN_1M, ())
"""A topic that this process does not know: a worker may, or counts the attempt."""

LISTEN_CHECK_S = 30.0
"""How often the listening connection is asked whether it still stands."""


async def relay_once(database: Database, settings: Settings, subscriptions: Mapping[str, Subscription]) -> int:
    """Claim a batch of due events and hand them to the broker; returns how many.

    No more than the broker has room for: what waits there beyond its lease would be handed out twice.
    Raises: kombu's OperationalError when the broker is away; the events are due again at once.
    """
    async with database.connection() as conn:
        if not await any_due(conn):
            return 0
    room = await asyncio.to_thread(free_room, settings)
    limit = min(settings.jobs.relay_batch, room)
    if not limit:
        return 0
    async with database.transaction() as conn:
        claimed = await claim_events(conn, limit=limit, lease_s=settings.jobs.event_lease_s)
    try:
        await asyncio.to_thread(publish, calls_for(claimed, subscriptions))
    except BaseException:
        async with database.connection() as conn:
            await release_events(conn, event_ids=[each.id for each in claimed])
        raise
    return len(claimed)


def calls_for(claimed: Sequence[Claimed], subscriptions: Mapping[str, Subscription]) -> list[Call]:
    """The tasks for events: as many of a topic in one as its subscribers take at once.

    One that was tried before is alone in its task: if it kills its worker, no other dies with it again.
    """
    calls = []
    for topic in dict.fromkeys(each.topic for each in claimed):
        subscription = subscriptions.get(topic, UNKNOWN)
        fresh = [str(each.id) for each in claimed if each.topic == topic and not each.tried]
        tried = [str(each.id) for each in claimed if each.topic == topic and each.tried]
        most = subscription.at_once
        together = [tuple(fresh[n : n + most]) for n in range(0, len(fresh), most)]
        calls += [Call(EVENT_TASK, ids, subscription.lane) for ids in (*together, *((event_id,) for event_id in tried))]
    return calls


async def listen(settings: Settings, *, wake: Sequence[asyncio.Event], draw: Callable[[], float]) -> None:
    """Set `wake` whenever an event is written, until cancelled. Polling goes on beside it: a notice may be lost."""
    failures = 0
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(
                settings.require_database_url(), autocommit=True, application_name="tidegate-relay"
            ) as conn:
                await conn.execute(f"LISTEN {CHANNEL}")
                failures = 0
                while True:
                    async for _notice in conn.notifies(timeout=LISTEN_CHECK_S, stop_after=1):
                        for event in wake:
                            event.set()
                    await conn.execute("SELECT 1")
        except (*OUTAGE, OSError):
            failures += 1
            await asyncio.sleep(backoff_s(failures=failures, base_s=0.5, cap_s=10.0, draw=draw()))


async def measure_outbox(database: Database) -> int:
    """Set the outbox's gauges."""
    async with database.connection() as conn:
        row = await (
            await conn.execute(
                """
                SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8,
                       (SELECT count(*) FROM platform.outbox WHERE state = 'dead')
                FROM platform.outbox WHERE state = 'pending'
                """
            )
        ).fetchone()
    assert row is not None
    PENDING.set(row[0])
    OLDEST_S.set(row[1])
    DEAD.set(row[2])
    return 0
