"""Rounds of webhooks: a batch of an endpoint's deliveries is claimed, called with a few at once, and marked together.

A worker has an endpoint to itself for a turn of some seconds, so that no endpoint has more calls at once than
connections, and a slow one holds up nobody but itself. Deliveries are claimed under a lease of their own: whatever a
worker leaves behind when it dies is due again, and is sent again under the same id.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from psycopg.rows import class_row

from tidegate.notify.outcomes import Draw
from tidegate.notify.pacing import Breather
from tidegate.notify.sealed_words import open_words
from tidegate.notify.webhook_addresses import AddressRefused, Resolve, find_addresses, resolve_host
from tidegate.notify.webhook_calls import Answer, Caller, open_caller, write_message
from tidegate.notify.webhook_endings import Ending, note_endings, note_endpoint
from tidegate.notify.webhooks import secrets_of
from tidegate.platform.backoff import backoff_s
from tidegate.platform.database import Connection, Database
from tidegate.platform.failures import describe_error
from tidegate.platform.sealing import SealBroken
from tidegate.platform.settings import Settings
from tidegate.platform.settings_webhooks import WebhookSettings

STOP_AFTER: Final = 8
"""So many calls in a row that the endpoint is to blame for end a round: the rest would fare the same."""

WORKER_LOST: Final = "its worker died on every attempt"


@dataclass(frozen=True, slots=True)
class Claimed:
    """A webhook that this worker has for the length of its lease."""

    event_id: UUID
    kind: str
    data: dict[str, Any]
    attempts: int
    created_at: datetime
    now: datetime
    """The database's clock."""
    words_sealed: bytes | None = field(default=None, repr=False)

    @property
    def said(self) -> dict[str, Any]:
        """All that it tells. Raises: SealBroken."""
        return self.data | open_words(self.words_sealed)


@dataclass(frozen=True, slots=True)
class Turn:
    """An endpoint that this worker has to itself until `busy_until`."""

    endpoint_id: UUID
    url: str
    failures: int
    busy_until: datetime


@dataclass(slots=True)
class Round:
    """What came of the calls so far."""

    waiting: deque[Claimed]
    answers: list[tuple[Claimed, Answer]] = field(default_factory=list)
    failed_in_row: int = 0
    hold_s: float | None = None
    """How long the endpoint asked to be left alone, in seconds: 0 where it did not say; None where it did not ask."""
    gone: bool = False

    @property
    def over(self) -> bool:
        """Whether calling on is of no use now."""
        return self.gone or self.hold_s is not None or self.failed_in_row >= STOP_AFTER

    @property
    def succeeded(self) -> bool:
        """Whether the endpoint took anything."""
        return any(answer.taken for _, answer in self.answers)

    def note(self, claimed: Claimed, answer: Answer) -> None:
        """Note an answer."""
        self.answers.append((claimed, answer))
        self.failed_in_row = self.failed_in_row + 1 if answer.blames_endpoint else 0
        self.gone = self.gone or answer.gone
        if answer.later:
            self.hold_s = max(self.hold_s or 0.0, answer.retry_after_s or 0.0)


async def work_on_endpoints(
    database: Database,
    settings: Settings,
    *,
    endpoint_ids: Sequence[UUID],
    draw: Draw = random.random,
    resolve: Resolve = resolve_host,
    breather: Breather | None = None,
) -> int:
    """Call these endpoints for a turn, all at once; how many calls were made. One that another worker has is left."""
    calls = await asyncio.gather(
        *(
            work_on_endpoint(database, settings, endpoint_id=endpoint_id, draw=draw, resolve=resolve, breather=breather)
            for endpoint_id in endpoint_ids
        )
    )
    return sum(calls)


async def work_on_endpoint(
    database: Database,
    settings: Settings,
    *,
    endpoint_id: UUID,
    draw: Draw = random.random,
    resolve: Resolve = resolve_host,
    breather: Breather | None = None,
) -> int:
    """Call one endpoint for a turn; how many calls were made. With a breather it rests before each of them."""
    limits = settings.webhooks
    async with database.connection() as conn:
        turn = await _begin_turn(conn, limits, endpoint_id)
        secrets = [] if turn is None else await _secrets(conn, endpoint_id)
    if turn is None:
        return 0
    if not secrets:
        return await _no_call(database, limits, turn, "its secret cannot be read", draw)
    try:
        addresses = await find_addresses(
            turn.url, allowed=limits.allow_hosts, resolve=resolve, timeout_s=float(limits.timeout_s)
        )
    except AddressRefused as error:
        return await _no_call(database, limits, turn, str(error), draw)
    except OSError as error:
        return await _no_call(database, limits, turn, f"no address: {error.strerror or error}", draw)
    async with open_caller(limits, url=turn.url, secrets=secrets, addresses=addresses) as caller:
        return await _call_for_a_turn(database, limits, turn, caller, draw, breather)


async def _secrets(conn: Connection, endpoint_id: UUID) -> list[str]:
    try:
        return await secrets_of(conn, endpoint_id=endpoint_id)
    except SealBroken:
        return []


async def _call_for_a_turn(
    database: Database, limits: WebhookSettings, turn: Turn, caller: Caller, draw: Draw, breather: Breather | None
) -> int:
    """Rounds until nothing is due, the time is up or calling on is of no use. While it fails, one call is a trial."""
    end_at, calls, failures = time.monotonic() + limits.turn_s, 0, turn.failures
    while True:
        limit = 1 if failures else limits.batch
        async with database.connection() as conn:
            claimed = await _claim(conn, limits, turn.endpoint_id, limit=limit)
        if not claimed:
            await _end_turn(database, turn)
            return calls
        this = await _call_all(limits, turn, caller, claimed, until=end_at, breather=breather)
        calls += len(this.answers)
        failures = 0 if this.succeeded else failures + sum(not answer.taken for _, answer in this.answers)
        active = await _end_round(database, limits, turn, this, failures=failures, draw=draw)
        if this.over or not active:
            await _end_turn(database, turn, hold_s=_hold_s(limits, this, failures, draw))
            return calls
        if time.monotonic() >= end_at:
            await _end_turn(database, turn, backlog=True)
            return calls


async def _call_all(
    limits: WebhookSettings,
    turn: Turn,
    caller: Caller,
    claimed: Sequence[Claimed],
    *,
    until: float,
    breather: Breather | None,
) -> Round:
    this = Round(deque(claimed))

    async def call_some() -> None:
        while True:
            if breather is not None:
                await breather.nap(until=until)
            if not this.waiting or this.over or time.monotonic() >= until:
                return
            each = this.waiting.popleft()
            if each.attempts > limits.max_attempts:
                this.note(each, Answer(0, WORKER_LOST))
                continue
            this.note(each, await _call(turn, caller, each))

    await asyncio.gather(*(call_some() for _ in range(min(limits.connections, len(claimed)))))
    return this


async def _call(turn: Turn, caller: Caller, each: Claimed) -> Answer:
    """One webhook that cannot be written must not hold up the others."""
    try:
        message = write_message(event_id=each.event_id, endpoint_id=turn.endpoint_id, kind=each.kind, data=each.said)
        return await caller.call(message)
    except Exception as error:
        return Answer(0, describe_error(error))


async def _end_round(
    database: Database, limits: WebhookSettings, turn: Turn, this: Round, *, failures: int, draw: Draw
) -> bool:
    """Write down what came of a round; whether the endpoint is still active."""
    hold_s = _hold_s(limits, this, failures, draw)
    endings = [_ending(limits, claimed, answer, hold_s, draw) for claimed, answer in this.answers]
    endings += [Ending.given_back(claimed.event_id) for claimed in this.waiting]
    async with database.connection() as conn:
        await note_endings(conn, endpoint_id=turn.endpoint_id, endings=endings)
    async with database.transaction() as conn:
        return await note_endpoint(conn, limits, endpoint_id=turn.endpoint_id, failures=failures, gone=this.gone)


def _hold_s(limits: WebhookSettings, this: Round, failures: int, draw: Draw) -> float:
    """How long the endpoint is left alone: as long as it asked for, and the longer the more calls in a row failed."""
    if this.gone or (this.hold_s is None and not any(answer.blames_endpoint for _, answer in this.answers)):
        return 0.0
    if this.hold_s is None and not failures:
        return 0.0
    pause_s = backoff_s(failures=failures, base_s=limits.hold_base_s, cap_s=limits.hold_cap_s, draw=draw())
    asked_s = min(this.hold_s or 0.0, float(limits.retry_after_max_s))
    return max(pause_s, asked_s + draw() if asked_s else 0.0)


def _ending(limits: WebhookSettings, claimed: Claimed, answer: Answer, hold_s: float, draw: Draw) -> Ending:
    if answer.taken:
        return Ending.sent(claimed.event_id, status_code=answer.status)
    late = claimed.now - claimed.created_at > timedelta(days=limits.give_up_days)
    if answer.later:
        counts, pause_s = False, hold_s
    else:
        counts = True
        pause_s = backoff_s(
            failures=claimed.attempts, base_s=limits.retry_base_s, cap_s=limits.retry_cap_s, draw=draw()
        )
    return Ending(
        event_id=claimed.event_id,
        state="failed" if late or answer.gone or (counts and claimed.attempts >= limits.max_attempts) else "pending",
        status_code=answer.status or None,
        error=answer.error,
        counts=counts,
        pause_s=pause_s,
    )


async def _no_call(database: Database, limits: WebhookSettings, turn: Turn, why: str, draw: Draw) -> int:
    """The endpoint cannot be called at all: the webhook whose turn it is bears the attempt."""
    async with database.connection() as conn:
        claimed = await _claim(conn, limits, turn.endpoint_id, limit=1)
    this = Round(deque(), [(each, Answer(None, why)) for each in claimed])
    failures = turn.failures + len(claimed)
    await _end_round(database, limits, turn, this, failures=failures, draw=draw)
    await _end_turn(database, turn, hold_s=_hold_s(limits, this, failures, draw))
    return 0


async def _begin_turn(conn: Connection, limits: WebhookSettings, endpoint_id: UUID) -> Turn | None:
    """Have an endpoint to oneself; None where another worker has it, or nobody may call it."""
    async with conn.cursor(row_factory=class_row(Turn)) as cursor:
        await cursor.execute(
            """
            UPDATE notify.webhook_endpoints SET busy_until = clock_timestamp() + make_interval(secs => %s)
            WHERE endpoint_id = %s AND busy_until <= clock_timestamp() AND state = 'active'
            RETURNING endpoint_id, url, failures, busy_until
            """,
            (limits.whole_lease_s, endpoint_id),
        )
        return await cursor.fetchone()


async def _end_turn(database: Database, turn: Turn, *, hold_s: float = 0.0, backlog: bool = False) -> None:
    """Give the endpoint back, unless the lease has run out meanwhile and somebody else has it."""
    async with database.connection() as conn:
        await conn.execute(
            """
            UPDATE notify.webhook_endpoints SET busy_until = clock_timestamp(), backlog = %s,
                due_at = clock_timestamp() + make_interval(secs => %s)
            WHERE endpoint_id = %s AND busy_until = %s
            """,
            (backlog, hold_s, turn.endpoint_id, turn.busy_until),
        )


async def _claim(conn: Connection, limits: WebhookSettings, endpoint_id: UUID, *, limit: int) -> list[Claimed]:
    """Lease an endpoint's webhooks that are due. They are found again by the whole key, as `note_endings` says."""
    async with conn.cursor(row_factory=class_row(Claimed)) as cursor:
        await cursor.execute(
            """
            WITH due AS MATERIALIZED (
                SELECT event_id, recipient_id, channel FROM notify.deliveries
                WHERE state = 'pending' AND channel = 'webhook' AND recipient_id = %(endpoint)s
                    AND next_attempt_at <= statement_timestamp()
                ORDER BY next_attempt_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
            )
            UPDATE notify.deliveries AS d SET attempts = attempts + 1,
                next_attempt_at = clock_timestamp() + make_interval(secs => %(lease)s)
            FROM due WHERE (d.event_id, d.recipient_id, d.channel) = (due.event_id, due.recipient_id, due.channel)
            RETURNING d.event_id, d.template AS kind, d.variables AS data, d.attempts, d.created_at,
                clock_timestamp() AS now, d.words_sealed
            """,
            {"endpoint": endpoint_id, "limit": limit, "lease": limits.whole_lease_s},
        )
        return await cursor.fetchall()


@dataclass(frozen=True, slots=True)
class DueEndpoint:
    """An endpoint that somebody should call. `slow`: it has more than one turn could do, or does not answer."""

    endpoint_id: UUID
    slow: bool


async def claim_due_endpoints(conn: Connection, limits: WebhookSettings, *, limit: int) -> list[DueEndpoint]:
    """Take up to `limit` endpoints that have webhooks which are due; handed out again when a lease has run out.

    Two sweepers at once take different ones.
    """
    async with conn.cursor(row_factory=class_row(DueEndpoint)) as cursor:
        await cursor.execute(
            """
            WITH due AS MATERIALIZED (
                SELECT e.endpoint_id FROM notify.webhook_endpoints AS e
                WHERE e.state = 'active' AND e.due_at <= clock_timestamp() AND e.busy_until <= clock_timestamp()
                    AND EXISTS (
                        SELECT FROM notify.deliveries AS d
                        WHERE d.state = 'pending' AND d.channel = 'webhook' AND d.recipient_id = e.endpoint_id
                            AND d.next_attempt_at <= statement_timestamp()
                    )
                ORDER BY e.due_at LIMIT %s FOR UPDATE SKIP LOCKED
            )
            UPDATE notify.webhook_endpoints AS e SET due_at = clock_timestamp() + make_interval(secs => %s)
            FROM due WHERE e.endpoint_id = due.endpoint_id
            RETURNING e.endpoint_id, e.failures > 0 OR e.backlog AS slow
            """,
            (limit, limits.whole_lease_s),
        )
        return await cursor.fetchall()
