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
from tidegate.platform.database import OUTAGE, Connection, Database, order_by_index
from tidegate.platform.failures import describe_error
from tidegate.platform.ids import EventId
from tidegate.platform.sealing import SealBroken, current_sealer

SEALED = "platform.outbox.personal_sealed"
CHANNEL = "tidegate_outbox"
"""LISTEN channel that says "there is something new"."""

WORKER_LOST = "its worker died on every attempt"

NOT_OVER = "state NOT IN ('done', 'dead')"
"""Pending, of events that are known by their ids. `state = 'pending'` would let PostgreSQL look for them in the index
of what waits: it takes that for all but empty, and reads the whole of it for each task while much waits."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `payload` is JSON without personal data; `personal` is stored encrypted."""

    id: EventId
    topic: str
    payload: dict[str, Any]
    personal: dict[str, Any] | None = field(default=None, repr=False)


Handler = Callable[[Sequence[Event]], Awaitable[None]]
"""Acts on events of one topic. May run twice for one event, at the same time too, and must have its effect once."""


class Outcome(StrEnum):
    """What became of one attempt at an event."""

    DONE = "done"
    GONE = "gone"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Claimed:
    """An event to be handed out; one that was `tried` before may be what killed its worker."""

    id: EventId
    topic: str
    tried: bool


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


async def claim_events(conn: Connection, *, limit: int, lease_s: float) -> list[Claimed]:
    """Take up to `limit` due events, the longest due first; they come back after `lease_s` seconds.

    Call it in a transaction: what waits may be much, and is not to be sorted.
    """
    await order_by_index(conn)
    rows = await (
        await conn.execute(
            """
            UPDATE platform.outbox SET next_attempt_at = clock_timestamp() + make_interval(secs => %s)
            WHERE id = ANY (ARRAY(
                SELECT id FROM platform.outbox
                WHERE state = 'pending' AND next_attempt_at <= statement_timestamp()
                ORDER BY next_attempt_at LIMIT %s FOR UPDATE SKIP LOCKED
            ))
            RETURNING id, topic, attempts
            """,
            (lease_s, limit),
        )
    ).fetchall()
    return [Claimed(EventId(row[0]), row[1], row[2] > 0) for row in rows]


async def any_due(conn: Connection) -> bool:
    """Whether there is anything to claim."""
    row = await (
        await conn.execute(
            """
            SELECT EXISTS (
                SELECT FROM platform.outbox WHERE state = 'pending' AND next_attempt_at <= statement_timestamp()
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
            WHERE state = 'pending' AND next_attempt_at < statement_timestamp() - make_interval(secs => %s)
            """,
            (older_than_s,),
        )
    ).fetchone()
    assert row is not None
    return int(row[0])


async def release_events(conn: Connection, *, event_ids: Sequence[EventId]) -> None:
    """Make claimed events due again, since they could not be handed to the broker."""
    await conn.execute(
        f"UPDATE platform.outbox SET next_attempt_at = clock_timestamp() WHERE id = ANY (%s) AND {NOT_OVER}",  # noqa: S608
        (list(event_ids),),
    )


async def load_events(
    conn: Connection, *, event_ids: Sequence[EventId], policy: RetryPolicy
) -> tuple[list[Event], dict[EventId, SealBroken]]:
    """Begin an attempt: count it, renew the leases, read the events; and those whose personal data cannot be opened.

    Not among them is what is done, or given up. Counting at the start means that an event which kills its worker ends
    as dead instead of going round for ever.
    """
    rows = await (
        await conn.execute(
            f"""
            UPDATE platform.outbox
            SET attempts = attempts + 1,
                next_attempt_at = clock_timestamp() + make_interval(secs => %(lease_s)s),
                state = CASE WHEN attempts >= %(most)s THEN 'dead' ELSE state END,
                last_error = CASE WHEN attempts >= %(most)s THEN coalesce(last_error, %(lost)s) ELSE last_error END
            WHERE id = ANY (ARRAY(
                SELECT id FROM platform.outbox
                WHERE id = ANY (%(ids)s) AND {NOT_OVER} ORDER BY id FOR UPDATE
            ))
            RETURNING id, state, topic, payload, personal_sealed
            """,  # noqa: S608 - a constant
            {"ids": list(event_ids), "lease_s": policy.lease_s, "most": policy.max_attempts, "lost": WORKER_LOST},
        )
    ).fetchall()
    sealer = current_sealer()
    events, broken = [], {}
    for event_id, state, topic, payload, sealed in rows:
        if state == "dead":
            continue
        try:
            personal = None if sealed is None else sealer.open_json(bytes(sealed), column=SEALED)
        except SealBroken as error:
            broken[EventId(event_id)] = error
        else:
            events.append(Event(EventId(event_id), topic, payload, personal))
    return events, broken


async def finish_events(conn: Connection, *, event_ids: Sequence[EventId]) -> None:
    """Nothing is left to do: the events are done and their personal data is erased."""
    await conn.execute(
        f"""
        UPDATE platform.outbox SET state = 'done', personal_sealed = NULL, last_error = NULL
        WHERE id = ANY (ARRAY(SELECT id FROM platform.outbox WHERE id = ANY (%s) AND {NOT_OVER} ORDER BY id FOR UPDATE))
        """,  # noqa: S608 - a constant
        (list(event_ids),),
    )


async def fail_event(
    conn: Connection, *, event_id: EventId, error: BaseException, policy: RetryPolicy, draw: float
) -> None:
    """Note the failure: due again after a growing pause, or dead when the attempts are used up."""
    row = await (
        await conn.execute(f"SELECT attempts FROM platform.outbox WHERE id = %s AND {NOT_OVER}", (event_id,))  # noqa: S608
    ).fetchone()
    if row is None:
        return
    pause_s = backoff_s(failures=row[0], base_s=policy.base_s, cap_s=policy.cap_s, draw=draw)
    await conn.execute(
        f"""
        UPDATE platform.outbox
        SET state = CASE WHEN attempts >= %s THEN 'dead' ELSE 'pending' END,
            next_attempt_at = clock_timestamp() + make_interval(secs => %s), last_error = %s
        WHERE id = %s AND {NOT_OVER}
        """,  # noqa: S608 - a constant
        (policy.max_attempts, pause_s, describe_error(error), event_id),
    )


async def handle_events(
    database: Database,
    *,
    event_ids: Sequence[EventId],
    handlers: Mapping[str, Sequence[Handler]],
    policy: RetryPolicy,
    draw: Callable[[], float] = random.random,
) -> dict[EventId, Outcome]:
    """One attempt at events: all handlers of their topics run, each in transactions of its own.

    A failure of one handler does not keep the others from running, and brings the event back for all of them. Events of
    a topic are handled together; when that fails, each is handled by itself.
    Raises: OUTAGE when PostgreSQL is away; the lease brings the events back.
    """
    async with database.connection() as conn:
        events, broken = await load_events(conn, event_ids=event_ids, policy=policy)
    failures: dict[EventId, Exception] = {**broken}
    for topic in dict.fromkeys(event.topic for event in events):
        failures |= await _run_handlers(topic, [event for event in events if event.topic == topic], handlers)
    done = [event.id for event in events if event.id not in failures]
    async with database.connection() as conn:
        if done:
            await finish_events(conn, event_ids=done)
        for event_id, error in failures.items():
            await fail_event(conn, event_id=event_id, error=error, policy=policy, draw=draw())
    gone = dict.fromkeys(event_ids, Outcome.GONE)
    return gone | dict.fromkeys(done, Outcome.DONE) | dict.fromkeys(failures, Outcome.FAILED)


async def _run_handlers(
    topic: str, events: Sequence[Event], handlers: Mapping[str, Sequence[Handler]]
) -> dict[EventId, Exception]:
    """What failed, and why."""
    if topic not in handlers:
        return {event.id: NoSubscribers(topic) for event in events}
    results = await asyncio.gather(*(handler(events) for handler in handlers[topic]), return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    if not errors:
        return {}
    for error in errors:
        if not isinstance(error, Exception):
            raise error
        if len(events) == 1 or isinstance(error, OUTAGE):
            return {event.id: error for event in events}
    failures: dict[EventId, Exception] = {}
    for event in events:
        failures |= await _run_handlers(topic, [event], handlers)
    return failures
