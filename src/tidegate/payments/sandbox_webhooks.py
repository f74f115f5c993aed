"""The sandbox telling the shop: webhooks out, signed as Standard Webhooks, until the shop says 2xx."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import httpx
from prometheus_client import Counter
from standardwebhooks import Webhook

from tidegate.payments.rules import LONGEST_PAUSE_S
from tidegate.platform.backoff import backoff_s
from tidegate.platform.database import Database
from tidegate.platform.no_answer import NO_HTTP_ANSWER
from tidegate.platform.settings import Settings

BATCH = 50
"""Most webhooks taken at once."""
AT_ONCE = 8
"""Most webhooks under way at once."""
MAX_ATTEMPTS = 12
"""After so many attempts a webhook is given up: the shop will have to ask."""
FIRST_PAUSE_S = 1.0
"""Pause before the second attempt; doubles."""
TIMEOUT_S = 10.0
"""Longest wait for the shop's answer."""

SENT = Counter("tidegate_payments_sandbox_webhooks_sent", "Webhooks that the sandbox sent, by outcome.", ("outcome",))

DUE = """
SELECT id, event_id, body, attempts FROM payments.sandbox_webhooks
WHERE delivered_at IS NULL AND due_at <= statement_timestamp() AND attempts < %s
ORDER BY due_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
"""

PUSH = """
UPDATE payments.sandbox_webhooks w
SET attempts = w.attempts + 1, due_at = clock_timestamp() + make_interval(secs => p.pause_s)
FROM unnest(%s::uuid[], %s::double precision[]) AS p (id, pause_s)
WHERE w.id = p.id
"""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One webhook to send."""

    id: UUID
    event_id: str
    body: str


async def deliver_sandbox_webhooks_once(
    database: Database, settings: Settings, *, client: httpx.AsyncClient | None = None
) -> int:
    """Send what is due; answers how many were tried. One that fails is due again after a growing pause.

    `client` replaces the HTTP client. Several processes may do this at once: none sends the other's.
    """
    hooks = await _claim(database, draw=random.random)
    if not hooks:
        return 0
    if client is not None:
        delivered = await _send_all(client, settings, hooks)
    else:
        async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as own:
            delivered = await _send_all(own, settings, hooks)
    if delivered:
        async with database.connection() as conn:
            await conn.execute(
                "UPDATE payments.sandbox_webhooks SET delivered_at = clock_timestamp() WHERE id = ANY(%s)",
                (delivered,),
            )
    return len(hooks)


async def _claim(database: Database, *, draw: Callable[[], float]) -> list[Outgoing]:
    async with database.transaction() as conn:
        rows = await (await conn.execute(DUE, (MAX_ATTEMPTS, BATCH))).fetchall()
        if rows:
            # Not before the attempt under way has had its time: a sender that dies gives it back this way.
            pauses = [TIMEOUT_S + _pause_s(row[3], draw()) for row in rows]
            await conn.execute(PUSH, ([row[0] for row in rows], pauses))
    return [Outgoing(row[0], row[1], row[2]) for row in rows]


async def _send_all(client: httpx.AsyncClient, settings: Settings, hooks: Sequence[Outgoing]) -> list[UUID]:
    """Send each; the ids of those that the shop took."""
    room = asyncio.Semaphore(AT_ONCE)

    async def send(hook: Outgoing) -> UUID | None:
        async with room:
            return hook.id if await _send(client, settings, hook) else None

    return [done for done in await asyncio.gather(*map(send, hooks)) if done is not None]


async def _send(client: httpx.AsyncClient, settings: Settings, hook: Outgoing) -> bool:
    now = datetime.now(UTC)
    signer = Webhook(settings.security.sandbox_webhook_secret.get_secret_value())
    headers = {
        "content-type": "application/json",
        "webhook-id": hook.event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signer.sign(msg_id=hook.event_id, timestamp=now, data=hook.body),
    }
    try:
        answer = await client.post(
            f"{settings.base_url}/api/v1/payments/webhooks/sandbox", content=hook.body.encode(), headers=headers
        )
    except NO_HTTP_ANSWER:
        SENT.labels("no_answer").inc()
        return False
    SENT.labels("taken" if answer.is_success else "refused").inc()
    return answer.is_success


def _pause_s(attempts: int, draw: float) -> float:
    return backoff_s(failures=attempts + 1, base_s=FIRST_PAUSE_S, cap_s=LONGEST_PAUSE_S, draw=draw)
