"""The transactional outbox: events that are written with what they tell of, and handed to their handlers later.

A row is the record; the broker only says "look at this one". Rows are claimed when they are due, under SKIP LOCKED and
a lease, never by "id greater than the last": ids are given before commit, so a late commit would be lost.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec

from tidegate.platform.backoff import RetryPolicy, backoff_s
from tidegate.platform.database import Connection, Database
from tidegate.platform.failures import describe_error
from tidegate.platform.ids import EventId
from tidegate.platform.sealing import current_sealer

SEALED = "platform.outbox.personal_sealed"
CHANNEL = "tidegate_outbox"
"""LISTEN channel that says "there is something new"."""

WORKER_LOST = "its worker died on every attempt"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `payload` is JSON without personal data; `personal` is stored encrypted."""

    id: EventId
    topic: str
    payload: dict[str, Any]
    personal: dict[str, Any] | None = field(default=None, repr=False)


Handler = Callable[[Event], Awaitable[None]]
"""Acts on an event. May run twice for one event, at the same time too, and must have its effect once."""


class Outcome(StrEnum):
    """What became of one attempt at an event."""

    DONE = "done"
    GONE = "gone"
    FAILED = "failed"


class NoSubscribers(Exception):
    """Nobody is registered for the event's topic: this worker is older than the event's writer."""


async def write_events(conn: Connection, events: Sequence[Event]) -> None:
    """Add events in the caller's transaction. Wakes the relay once per batch, since NOTIFY serialises commits."""
    if not events:
        return
    sealer = current_sealer()
    await conn.execute(
        """
        INSERT INTO platform.outbox (id, topic, payload, personal_sealed)
        SELECT id, topic, payload::jsonb, personal
        FROM unnest(%b::uuid[], %b::text[], %b::text[], %b::bytea[]) AS event (id, topic, payload, personal)
        """,
        (
            [event.id for event in events],
            [event.topic for event in events],
            [msgspec.json.encode(event.payload).decode() for event in events],
            [None if event.personal is None else sealer.seal_json(event.personal, column=SEALED) for event in events],
        ),
        binary=True,
    )
    await conn.execute("SELECT pg_notify(%s, '')", (CHANNEL,))


async def claim_events(conn: Connection, *, limit: int, lease_s: float) -> list[tuple[EventId, str]]:
    """Take up to `limit` due events (id, topic), the longest due first; they come back after `lease_s` seconds."""
    rows = await (
        await conn.execute(
            """
            UPDATE platform.outbox SET next_attempt_at = clock_timestamp() + make_interval(secs => %s)
            WHERE id = ANY (ARRAY(
                SELECT id FROM platform.outbox
                WHERE state = 'pending' AND next_attempt_at <= clock_timestamp()
                ORDER BY next_attempt_at LIMIT %s FOR UPDATE SKIP LOCKED
            ))
            RETURNING id, topic
            """,
            (lease_s, limit),
        )
    ).fetchall()
    return [(EventId(row[0]), row[1]) for row in rows]


async def any_due(conn: Connection) -> bool:
    """Whether there is anything to claim."""
    row = await (
        await conn.execute(
            """
            SELECT EXISTS (
                SELECT FROM platform.outbox WHERE state = 'pending' AND next_attempt_at <= clock_timestamp()
            )
            """
        )
    ).fetchone()
    assert row is not None
    return bool(row[0])


async def count_late(conn: Connection, *, older_than_s: float) -> int:
    """How many events have been due for longer than that: nobody hands them out, or handles them."""
    row = await (
        await conn.execute(
            """
            SELECT count(*) FROM platform.outbox
            WHERE state = 'pending' AND next_attempt_at < clock_timestamp() - make_interval(secs => %s)
            """,
            (older_than_s,),
        )
    ).fetchone()
    assert row is not None
    return int(row[0])


async def release_events(conn: Connection, *, event_ids: Sequence[EventId]) -> None:
    """Make claimed events due again, since they could not be handed to the broker."""
    await conn.execute(
        "UPDATE platform.outbox SET next_attempt_at = clock_timestamp() WHERE id = ANY (%s) AND state = 'pending'",
        (list(event_ids),),
    )


async def load_event(conn: Connection, *, event_id: EventId, policy: RetryPolicy) -> Event | None:
    """Begin an attempt: count it, renew the lease, read the event. None when nothing is to do any more.

    Counting at the start means that an event which kills its worker ends as dead instead of going round for ever.
    Raises: SealBroken when its personal data cannot be opened (the attempt is counted).
    """
    row = await (
        await conn.execute(
            """
            UPDATE platform.outbox
            SET attempts = attempts + 1,
                next_attempt_at = clock_timestamp() + make_interval(secs => %(lease_s)s),
                state = CASE WHEN attempts >= %(most)s THEN 'dead' ELSE state END,
                last_error = CASE WHEN attempts >= %(most)s THEN coalesce(last_error, %(lost)s) ELSE last_error END
            WHERE id = %(id)s AND state = 'pending'
            RETURNING state, topic, payload, personal_sealed
            """,
            {"id": event_id, "lease_s": policy.lease_s, "most": policy.max_attempts, "lost": WORKER_LOST},
        )
    ).fetchone()
    if row is None or row[0] == "dead":
        return None
    personal = None if row[3] is None else current_sealer().open_json(bytes(row[3]), column=SEALED)
    return Event(event_id, row[1], row[2], personal)


async def finish_event(conn: Connection, *, event_id: EventId) -> None:
    """Nothing is left to do: the event is done and its personal data is erased."""
    await conn.execute(
        """
        UPDATE platform.outbox SET state = 'done', personal_sealed = NULL, last_error = NULL
        WHERE id = %s AND state = 'pending'
        """,
        (event_id,),
    )


async def fail_event(
    conn: Connection, *, event_id: EventId, error: BaseException, policy: RetryPolicy, draw: float
) -> None:
    """Note the failure: due again after a growing pause, or dead when the attempts are used up."""
    row = await (
        await conn.execute("SELECT attempts FROM platform.outbox WHERE id = %s AND state = 'pending'", (event_id,))
    ).fetchone()
    if row is None:
        return
    pause_s = backoff_s(failures=row[0], base_s=policy.base_s, cap_s=policy.cap_s, draw=draw)
    await conn.execute(
        """
        UPDATE platform.outbox
        SET state = CASE WHEN attempts >= %s THEN 'dead' ELSE 'pending' END,
            next_attempt_at = clock_timestamp() + make_interval(secs => %s), last_error = %s
        WHERE id = %s AND state = 'pending'
        """,
        (policy.max_attempts, pause_s, describe_error(error), event_id),
    )


async def handle_event(
    database: Database,
    *,
    event_id: EventId,
    handlers: Mapping[str, Sequence[Handler]],
    policy: RetryPolicy,
    draw: Callable[[], float] = random.random,
) -> Outcome:
    """One attempt at an event: all handlers of its topic run, each in transactions of its own.

    A failure of one does not keep the others from running, and brings the event back for all of them.
    Raises: OUTAGE when PostgreSQL is away; the lease brings the event back.
    """
    try:
        async with database.connection() as conn:
            event = await load_event(conn, event_id=event_id, policy=policy)
        if event is None:
            return Outcome.GONE
        await _run_handlers(event, handlers)
    except Exception as error:
        async with database.connection() as conn:
            await fail_event(conn, event_id=event_id, error=error, policy=policy, draw=draw())
        return Outcome.FAILED
    async with database.connection() as conn:
        await finish_event(conn, event_id=event_id)
    return Outcome.DONE


async def _run_handlers(event: Event, handlers: Mapping[str, Sequence[Handler]]) -> None:
    if event.topic not in handlers:
        raise NoSubscribers(event.topic)
    results = await asyncio.gather(*(handler(event) for handler in handlers[event.topic]), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
