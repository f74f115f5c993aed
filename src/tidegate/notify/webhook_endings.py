"""What becomes of webhooks and of the endpoints that they go to, written in few statements for many."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self
from uuid import UUID

import structlog
from prometheus_client import Counter

from tidegate.notify.outcomes import STILL_WAITS
from tidegate.notify.webhook_contracts import DisabledWhy
from tidegate.platform.database import Connection
from tidegate.platform.ids import new_id
from tidegate.platform.settings_webhooks import WebhookSettings

log = structlog.get_logger(__name__)

CALLS: Final = Counter("tidegate_webhooks", "Webhooks that ended or are repeated, by what became of them.", ["outcome"])
DISABLED: Final = Counter("tidegate_webhook_endpoints_disabled", "Endpoints that disabled themselves.", ["why"])

NOT_CALLED: Final = "its endpoint is disabled"
DELETED: Final = "its endpoint was deleted"
NOTICE: Final = "webhook_disabled"
"""Template of what an endpoint's maker finds in the inbox."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What becomes of one webhook. `counts`: it used up an attempt. `pause_s` is until the next one."""

    event_id: UUID
    state: str
    status_code: int | None = None
    error: str | None = None
    counts: bool = True
    pause_s: float = 0.0

    @classmethod
    def sent(cls, event_id: UUID, *, status_code: int | None) -> Self:
        """The endpoint has it."""
        return cls(event_id, "sent", status_code)

    @classmethod
    def given_back(cls, event_id: UUID) -> Self:
        """It was not called, and waits on."""
        return cls(event_id, "pending", counts=False)


async def note_endings(conn: Connection, *, endpoint_id: UUID, endings: Sequence[Ending]) -> None:
    """Write down what became of an endpoint's claimed webhooks. One given back keeps what was said of it before.

    The endpoint comes with each of them, so that each is looked up by its whole key: PostgreSQL expects few webhooks of
    one endpoint, and would read all that wait for it instead.
    """
    for outcome in ("sent", "failed"):
        CALLS.labels(outcome).inc(sum(each.state == outcome for each in endings))
    CALLS.labels("repeated").inc(sum(each.state == "pending" and each.error is not None for each in endings))
    await conn.execute(
        f"""
        UPDATE notify.deliveries AS d SET state = ended.state,
            attempts = CASE WHEN ended.counts THEN d.attempts ELSE greatest(d.attempts - 1, 0) END,
            sent_at = CASE WHEN ended.state = 'sent' THEN clock_timestamp() END,
            next_attempt_at = clock_timestamp() + make_interval(secs => ended.pause_s),
            status_code = CASE WHEN ended.state = 'sent' OR ended.error IS NOT NULL
                THEN ended.status_code ELSE d.status_code END,
            last_error = CASE WHEN ended.state = 'sent' THEN NULL ELSE coalesce(ended.error, d.last_error) END
        FROM (
            SELECT *, %s::uuid AS recipient_id, 'webhook' AS channel
            FROM unnest(%s::uuid[], %s::text[], %s::int[], %s::text[], %s::boolean[], %s::float8[])
                AS each (event_id, state, status_code, error, counts, pause_s) OFFSET 0
        ) AS ended
        WHERE (d.event_id, d.recipient_id, d.channel) = (ended.event_id, ended.recipient_id, ended.channel)
            AND {STILL_WAITS}
        """,  # noqa: S608 - a constant
        (
            endpoint_id,
            [each.event_id for each in endings],
            [each.state for each in endings],
            [each.status_code for each in endings],
            [each.error for each in endings],
            [each.counts for each in endings],
            [each.pause_s for each in endings],
        ),
    )


async def note_endpoint(
    conn: Connection, limits: WebhookSettings, *, endpoint_id: UUID, failures: int, gone: bool
) -> bool:
    """Count an endpoint's failures in a row, and disable one that is gone or fails for days; whether it is active."""
    row = await (
        await conn.execute(
            """
            UPDATE notify.webhook_endpoints AS e SET failures = %(failures)s,
                failing_since = CASE WHEN %(failures)s > 0 THEN coalesce(e.failing_since, clock_timestamp()) END
            WHERE endpoint_id = %(id)s
            RETURNING state = 'active', CASE WHEN application_id IS NULL THEN created_by END, url, failures >= %(many)s
                AND failing_since < clock_timestamp() - make_interval(days => %(days)s)
            """,
            {
                "failures": failures,
                "id": endpoint_id,
                "many": limits.disable_failures,
                "days": limits.disable_days,
            },
        )
    ).fetchone()
    if row is None:
        return False
    active, author_id, url, hopeless = row
    if active and (gone or hopeless):
        why = DisabledWhy.GONE if gone else DisabledWhy.FAILING
        await _disable(conn, endpoint_id=endpoint_id, why=why, author_id=author_id, url=url)
        return False
    return bool(active)


async def end_waiting(conn: Connection, *, limit: int) -> int:
    """What waits for disabled endpoints becomes dead letters, and for deleted ones is suppressed; how many.

    `limit` at a time, and not while a worker has the endpoint in hand: what it is told meanwhile counts as told.
    """
    rows = await conn.execute(
        f"""
        UPDATE notify.deliveries AS d
        SET state = CASE WHEN waiting.deleted THEN 'suppressed' ELSE 'failed' END,
            last_error = CASE WHEN waiting.deleted THEN %(deleted)s ELSE %(disabled)s END
        FROM (
            SELECT w.event_id, w.recipient_id, w.channel, e.deleted_at IS NOT NULL AS deleted
            FROM notify.webhook_endpoints AS e, LATERAL (
                SELECT event_id, recipient_id, channel FROM notify.deliveries
                WHERE state = 'pending' AND channel = 'webhook' AND recipient_id = e.endpoint_id LIMIT %(limit)s
            ) AS w WHERE e.state = 'disabled' AND e.busy_until <= clock_timestamp() LIMIT %(limit)s
        ) AS waiting
        WHERE (d.event_id, d.recipient_id, d.channel) = (waiting.event_id, waiting.recipient_id, waiting.channel)
            AND {STILL_WAITS}
        RETURNING d.state
        """,  # noqa: S608 - a constant
        {"deleted": DELETED, "disabled": NOT_CALLED, "limit": limit},
    )
    ended = [row[0] for row in await rows.fetchall()]
    for outcome in ("suppressed", "failed"):
        CALLS.labels(outcome).inc(ended.count(outcome))
    return len(ended)


async def _disable(conn: Connection, *, endpoint_id: UUID, why: DisabledWhy, author_id: UUID | None, url: str) -> None:
    """Disable an endpoint by itself, and tell whoever made it, once; an application, which has no inbox, looks."""
    done = await conn.execute(
        """
        UPDATE notify.webhook_endpoints
        SET state = 'disabled', disabled_why = %s, disabled_at = clock_timestamp()
        WHERE endpoint_id = %s AND state = 'active'
        """,
        (why.value, endpoint_id),
    )
    if not done.rowcount:
        return
    log.warning("webhook endpoint disabled", endpoint=str(endpoint_id), why=why.value)
    DISABLED.labels(why.value).inc()
    if author_id is None:
        return
    await conn.execute(
        """
        INSERT INTO notify.deliveries (event_id, recipient_id, channel, template, variables)
        VALUES (%s, %s, 'inbox', %s, %s)
        """,
        (
            new_id(),
            author_id,
            NOTICE,
            json.dumps({"title": url, "why": why.value, "url": f"/admin/webhooks/{endpoint_id}"}),
        ),
    )
