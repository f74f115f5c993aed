"""Webhooks in: verified, stored once, handed on to be settled, and not forgotten before they are."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import structlog
from prometheus_client import Counter

from tidegate.payments.contracts import BadSignature, Notice
from tidegate.payments.providers import Providers
from tidegate.payments.rules import LONGEST_PAUSE_S
from tidegate.platform.backoff import backoff_s
from tidegate.platform.database import Connection, Database
from tidegate.platform.problems import BodyTooLarge, MalformedBody

log = structlog.get_logger()

MAX_BODY_BYTES = 262_144
"""Largest webhook; the table holds no larger one."""
FIRST_PAUSE_S = 5.0
"""Time that the receiver of a webhook has to settle it before the sweeper takes it up; doubles."""

RECEIVED = Counter("tidegate_payments_webhooks_received", "Webhooks by what became of them.", ("provider", "outcome"))

STORE = """
INSERT INTO payments.webhook_events (provider, event_id, body, applied_at, next_try_at)
VALUES (%s, %s, %s, CASE WHEN %s THEN NULL ELSE clock_timestamp() END,
        clock_timestamp() + make_interval(secs => %s))
ON CONFLICT DO NOTHING
"""

SEEN = "SELECT applied_at IS NOT NULL FROM payments.webhook_events WHERE provider = %s AND event_id = %s"

UNAPPLIED = """
SELECT provider, event_id, body, tries FROM payments.webhook_events
WHERE applied_at IS NULL AND next_try_at <= statement_timestamp()
ORDER BY next_try_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
"""

PUSH = """
UPDATE payments.webhook_events e
SET tries = e.tries + 1, next_try_at = clock_timestamp() + make_interval(secs => p.pause_s)
FROM unnest(%s::text[], %s::text[], %s::double precision[]) AS p (provider, event_id, pause_s)
WHERE e.provider = p.provider AND e.event_id = p.event_id
"""

APPLIED = """
UPDATE payments.webhook_events e SET applied_at = coalesce(e.applied_at, clock_timestamp())
FROM unnest(%s::text[], %s::text[]) AS n (provider, event_id)
WHERE e.provider = n.provider AND e.event_id = n.event_id
"""
"""Not `applied_at IS NULL`: PostgreSQL would read the whole index of what is not applied."""


async def receive_webhook(
    database: Database,
    providers: Providers,
    *,
    provider: str,
    headers: Mapping[str, str],
    body: bytes,
    now: datetime | None = None,
) -> Notice | None:
    """Verify and store a webhook; what is to be settled, or None when that is done or it does not concern us.

    Both are answered 200: the provider would send it again for anything else. `now` defaults to this process's clock.
    Raises: UnknownProvider, BadSignature, MalformedBody, BodyTooLarge; nothing is stored then.
    """
    gateway = providers.pick(provider)
    try:
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge(f"A webhook may have {MAX_BODY_BYTES:,} bytes.")
        event_id = gateway.verify(headers, body, now=now or datetime.now(UTC))
        told = gateway.read_event(body)
    except (BadSignature, MalformedBody, BodyTooLarge) as problem:
        RECEIVED.labels(provider, problem.slug).inc()
        raise
    async with database.connection() as conn:
        stored = await conn.execute(STORE, (provider, event_id, body, told is not None, FIRST_PAUSE_S))
        done = told is None
        if not stored.rowcount:
            row = await (await conn.execute(SEEN, (provider, event_id))).fetchone()
            done = done or (row is not None and row[0])
    RECEIVED.labels(provider, ("new" if stored.rowcount else "seen") if told else "not_ours").inc()
    return None if done or told is None else Notice(provider, event_id, *told)


async def mark_applied(conn: Connection, notices: Sequence[Notice]) -> None:
    """Note, in the transaction that settled them, that these webhooks have had their effect."""
    if notices:
        await conn.execute(APPLIED, ([notice.provider for notice in notices], [notice.event_id for notice in notices]))


async def sweep_unapplied_webhooks(
    database: Database, providers: Providers, *, limit: int, draw: Callable[[], float] = random.random
) -> list[Notice]:
    """Take up to `limit` webhooks that were stored but not applied some seconds later; settle, then mark them.

    Each is handed out again after a growing pause until it is marked. One that can no longer be read is logged and
    counted, and keeps no other from being handed out.
    """
    async with database.transaction() as conn:
        rows = await (await conn.execute(UNAPPLIED, (limit,))).fetchall()
        if rows:
            pauses = [_pause_s(row[3], draw()) for row in rows]
            await conn.execute(PUSH, ([row[0] for row in rows], [row[1] for row in rows], pauses))
    notices = []
    for provider, event_id, body, _ in rows:
        if provider not in providers:
            continue
        try:
            told = providers[provider].read_event(bytes(body))
            assert told is not None, "what does not concern us is stored as applied"
        except Exception:  # of one webhook, stored by an older version or changed since
            RECEIVED.labels(provider, "unreadable").inc()
            log.exception("webhook_not_readable", provider=provider, event_id=event_id)
        else:
            notices.append(Notice(provider, event_id, *told))
    return notices


def _pause_s(asked: int, draw: float) -> float:
    return backoff_s(failures=asked + 1, base_s=FIRST_PAUSE_S, cap_s=LONGEST_PAUSE_S, draw=draw)


async def delete_old_webhooks(conn: Connection, *, keep_days: int, limit: int) -> int:
    """Remove up to `limit` webhooks that had their effect more than `keep_days` days ago; returns how many."""
    done = await conn.execute(
        """
        WITH old AS MATERIALIZED (
            SELECT provider, event_id FROM payments.webhook_events
            WHERE received_at < clock_timestamp() - make_interval(days => %s) AND applied_at IS NOT NULL
            LIMIT %s FOR UPDATE SKIP LOCKED
        )
        DELETE FROM payments.webhook_events e USING old WHERE (e.provider, e.event_id) = (old.provider, old.event_id)
        """,
        (keep_days, limit),
    )
    return done.rowcount
