"""What becomes of deliveries: each leaves `pending` once, and its shard counts it in the same statement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from tidegate.notify.sealed_words import open_words
from tidegate.platform.backoff import backoff_s
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection, Database
from tidegate.platform.settings import Settings

AWAY_PAUSE_S = 10.0
"""Pause before the mail server is tried again when it could not be reached; costs no attempt."""

Draw = Callable[[], float]
"""A number drawn uniformly from [0, 1)."""

TOO_LATE: Final = "too late to matter"
EXPIRES: Final = "expires_at"
"""The variable of a delivery to one person that says when it does not matter any more; a send says so for all its."""

COUNTED: Final = """
WITH marked AS ({marked} RETURNING d.event_id, d.shard_no, d.state, d.last_error), counted AS (
    SELECT event_id, shard_no, count(*) FILTER (WHERE state = 'sent') AS sent,
        count(*) FILTER (WHERE state = 'failed') AS failed, count(*) FILTER (WHERE state = 'suppressed') AS suppressed,
        count(*) FILTER (WHERE state = 'suppressed' AND last_error = 'too late to matter') AS late
    FROM marked WHERE shard_no IS NOT NULL AND state <> 'pending' GROUP BY event_id, shard_no
)
UPDATE notify.send_shards AS h SET delivered = h.delivered + c.sent, failed = h.failed + c.failed,
    suppressed = h.suppressed + c.suppressed, late = h.late + c.late,
    done_at = CASE WHEN h.expanded_at IS NOT NULL
        AND h.delivered + h.failed + h.suppressed + c.sent + c.failed + c.suppressed = h.messages
        THEN clock_timestamp() END
FROM counted AS c WHERE (h.event_id, h.shard_no) = (c.event_id, c.shard_no)
"""
"""Wraps an UPDATE of deliveries `d` that ends some: their shards count them."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A claimed delivery.

    `address_sealed` holds {"email", "name"} and what only a mail says: a secret link, addresses. `words_sealed` holds
    those of its variables that an application said. `provider_id` is there when an earlier attempt had begun to hand
    it over and nobody knows how that ended.
    """

    event_id: UUID
    recipient_id: UUID
    channel: str
    template: str
    variables: dict[str, Any]
    address_sealed: bytes | None = field(repr=False)
    attempts: int
    created_at: datetime
    shard_no: int | None
    provider_id: str | None
    words_sealed: bytes | None = field(default=None, repr=False)

    @property
    def said(self) -> dict[str, Any]:
        """All of its variables. Raises: SealBroken."""
        return self.variables | open_words(self.words_sealed)

    @property
    def expires_at(self) -> datetime | None:
        """When it does not matter any more, where it says so itself."""
        text = self.variables.get(EXPIRES)
        return None if text is None else datetime.fromisoformat(text)

    @property
    def key(self) -> tuple[UUID, UUID, str]:
        """The row's key."""
        return (self.event_id, self.recipient_id, self.channel)


STILL_WAITS: Final = "d.state = (SELECT 'pending')"
"""Of a delivery that is looked up by its key.

So that PostgreSQL takes the key, and not an index of what waits, in which it may expect next to nothing.
"""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a delivery did not happen.

    `final`: no use in trying again. `counts`: it used up an attempt. `doubtful`: it may have happened all the same.
    """

    reason: str
    final: bool = False
    counts: bool = True
    doubtful: bool = False
    pause_s: float | None = None
    """Pause before the next attempt; None: as long as the failures so far ask for."""


async def mark_sent(
    conn: Connection, deliveries: Sequence[Delivery], *, provider_ids: Sequence[str] | None = None
) -> None:
    """Note that these have reached their channel."""
    if not deliveries:
        return
    await conn.execute(
        COUNTED.format(
            marked=f"""
            UPDATE notify.deliveries d
            SET state = 'sent', sent_at = clock_timestamp(), provider_id = nullif(done.provider_id, ''),
                last_error = NULL
            FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[])
                AS done (event_id, recipient_id, channel, provider_id)
            WHERE (d.event_id, d.recipient_id, d.channel) = (done.event_id, done.recipient_id, done.channel)
              AND {STILL_WAITS}
            """  # noqa: S608 - a constant
        ),
        (*columns_of(deliveries), provider_ids or [""] * len(deliveries)),
    )


async def mark_failed(
    database: Database, settings: Settings, draw: Draw, failures: Sequence[tuple[Delivery, Failure]]
) -> None:
    """Note why; due again after a growing pause, or failed for good."""
    if failures:
        async with database.connection() as conn:
            await note_failed(conn, settings, draw, failures)


async def note_failed(
    conn: Connection, settings: Settings, draw: Draw, failures: Sequence[tuple[Delivery, Failure]]
) -> None:
    """`mark_failed` on the caller's connection. Noted again, or once another has claimed it, nothing changes."""
    limits = settings.mail
    final = [why.final or (why.counts and d.attempts >= limits.max_attempts) for d, why in failures]
    if failures:
        await conn.execute(
            COUNTED.format(
                marked=f"""
                UPDATE notify.deliveries d
                SET state = CASE WHEN failure.final THEN 'failed' ELSE 'pending' END,
                    attempts = CASE WHEN failure.counts THEN d.attempts ELSE greatest(d.attempts - 1, 0) END,
                    next_attempt_at = clock_timestamp() + make_interval(secs => failure.pause_s),
                    last_error = failure.reason,
                    provider_id = CASE WHEN failure.doubtful THEN d.provider_id END
                FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::integer[], %s::boolean[], %s::boolean[],
                            %s::boolean[], %s::float8[], %s::text[])
                    AS failure (event_id, recipient_id, channel, attempts, final, counts, doubtful, pause_s, reason)
                WHERE (d.event_id, d.recipient_id, d.channel)
                      = (failure.event_id, failure.recipient_id, failure.channel)
                  AND {STILL_WAITS} AND d.attempts = failure.attempts
                """  # noqa: S608 - a constant
            ),
            (
                *columns_of([delivery for delivery, _ in failures]),
                [delivery.attempts for delivery, _ in failures],
                final,
                [why.counts for _, why in failures],
                [why.doubtful for _, why in failures],
                [_pause_s(settings, delivery, why, draw) for delivery, why in failures],
                [why.reason for _, why in failures],
            ),
        )


async def suppress(conn: Connection, *, whom: str, values: dict[str, Any], reason: str) -> None:
    """End deliveries that must not be sent any more: those that wait and for which `whom` (SQL about `d`) holds."""
    await conn.execute(
        COUNTED.format(
            marked=f"""
            UPDATE notify.deliveries AS d SET state = 'suppressed', last_error = %(reason)s
            WHERE d.state = 'pending' AND {whom}
            """  # noqa: S608 - SQL of the callers
        ),
        values | {"reason": reason},
    )


async def suppress_late(conn: Connection, claimed: Sequence[Delivery]) -> list[Delivery]:
    """End the claimed deliveries that do not matter any more, and return the rest."""
    if not any(each.expires_at for each in claimed):
        return list(claimed)
    now = await database_now(conn)
    late = [each for each in claimed if each.expires_at is not None and each.expires_at <= now]
    if not late:
        return list(claimed)
    events, recipients, channels = columns_of(late)
    whom = """(d.event_id, d.recipient_id, d.channel) IN (
        SELECT * FROM unnest(%(events)s::uuid[], %(recipients)s::uuid[], %(channels)s::text[])
    )"""
    values = {"events": events, "recipients": recipients, "channels": channels}
    await suppress(conn, whom=whom, values=values, reason=TOO_LATE)
    ended = {each.key for each in late}
    return [each for each in claimed if each.key not in ended]


def columns_of(deliveries: Sequence[Delivery]) -> tuple[list[UUID], list[UUID], list[str]]:
    """The keys, as arrays for `unnest`."""
    keys = [delivery.key for delivery in deliveries]
    return [key[0] for key in keys], [key[1] for key in keys], [key[2] for key in keys]


def _pause_s(settings: Settings, delivery: Delivery, why: Failure, draw: Draw) -> float:
    if why.pause_s is not None:
        return why.pause_s
    if not why.counts:
        return AWAY_PAUSE_S * (0.5 + draw() / 2)
    return backoff_s(
        failures=delivery.attempts,
        base_s=settings.jobs.retry_base_s,
        cap_s=settings.jobs.retry_cap_s,
        draw=draw(),
    )
