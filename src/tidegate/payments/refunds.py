"""Refunds: recorded in the transaction that decides them, carried out afterwards, once each."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from tidegate.payments.contracts import ChargeRef, OutcomeUnknown, Refund, RefundAnswer, RefundState
from tidegate.payments.providers import Providers
from tidegate.payments.rules import LONGEST_PAUSE_S, MAX_FAILURE
from tidegate.platform.backoff import backoff_s
from tidegate.platform.database import Connection, Database
from tidegate.platform.ids import OrderId
from tidegate.platform.money import Money

FIRST_PAUSE_S = 5.0
"""Pause before a refund whose outcome is open is sent again (under the same key); doubles."""

INSERT = """
INSERT INTO payments.refunds (order_id, attempt, reason, state, amount, currency)
SELECT r.order_id, r.attempt, r.reason, 'intent', r.amount, r.currency
FROM unnest(%s::uuid[], %s::integer[], %s::text[], %s::bigint[], %s::text[])
    AS r (order_id, attempt, reason, amount, currency)
ORDER BY r.order_id, r.attempt, r.reason
ON CONFLICT DO NOTHING
"""

DUE = """
SELECT order_id, attempt, reason, amount, currency, asked FROM payments.refunds
WHERE state = 'intent' AND next_ask_at <= clock_timestamp()
ORDER BY next_ask_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
"""

PUSH = """
UPDATE payments.refunds r
SET asked = r.asked + 1, next_ask_at = clock_timestamp() + make_interval(secs => p.pause_s)
FROM unnest(%s::uuid[], %s::integer[], %s::text[], %s::double precision[]) AS p (order_id, attempt, reason, pause_s)
WHERE r.order_id = p.order_id AND r.attempt = p.attempt AND r.reason = p.reason
"""

CHARGED = "SELECT provider, provider_ref FROM payments.charges WHERE order_id = %s AND attempt = %s"

SETTLE = """
UPDATE payments.refunds
SET state = %s, provider_ref = %s, failure = %s, settled_at = clock_timestamp()
WHERE order_id = %s AND attempt = %s AND reason = %s AND state = 'intent'
"""


async def record_refunds(conn: Connection, refunds: Sequence[Refund]) -> None:
    """Decide to give money back; a refund that is recorded already (same attempt and reason) stays as it is.

    Of an attempt that paid nothing there is nothing to give back.
    """
    refunds = [refund for refund in refunds if refund.total.amount > 0]
    if not refunds:
        return
    await conn.execute(
        INSERT,
        (
            [refund.ref.order_id for refund in refunds],
            [refund.ref.attempt for refund in refunds],
            [refund.reason for refund in refunds],
            [refund.total.amount for refund in refunds],
            [refund.total.currency for refund in refunds],
        ),
    )


async def claim_due_refunds(conn: Connection, *, limit: int, draw: Callable[[], float] = random.random) -> list[Refund]:
    """Take up to `limit` refunds to carry out; each is handed out again after a growing pause until it is settled."""
    rows = await (await conn.execute(DUE, (limit,))).fetchall()
    if rows:
        pauses = [_pause_s(row[5], draw()) for row in rows]
        keys = ([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])
        await conn.execute(PUSH, (*keys, pauses))
    return [Refund(ref=ChargeRef(OrderId(row[0]), row[1]), reason=row[2], total=Money(row[3], row[4])) for row in rows]


async def run_refund(providers: Providers, database: Database, refund: Refund) -> RefundState:
    """Have the provider give the money back and record what it said; safe to repeat.

    Raises: OutcomeUnknown when the provider did not answer: the refund stays due.
    """
    async with database.connection() as conn:
        row = await (await conn.execute(CHARGED, (refund.ref.order_id, refund.ref.attempt))).fetchone()
    assert row is not None, "refunds refer to charges"
    provider, provider_ref = row
    if provider_ref is None:
        raise OutcomeUnknown(f"{refund.ref.key} has no payment at {provider} yet")
    answer = await providers.call(
        provider, "refund", lambda gateway: gateway.refund(refund, provider_ref=provider_ref), outcome=_outcome
    )
    if answer.state is RefundState.INTENT:
        return answer.state
    async with database.transaction() as conn:
        await conn.execute(
            SETTLE,
            (
                answer.state.value,
                answer.provider_ref or None,
                answer.failure[:MAX_FAILURE] if answer.failure else None,
                refund.ref.order_id,
                refund.ref.attempt,
                refund.reason,
            ),
        )
    return answer.state


def _outcome(answer: RefundAnswer) -> str:
    return answer.state.value


def _pause_s(asked: int, draw: float) -> float:
    return backoff_s(failures=asked + 1, base_s=FIRST_PAUSE_S, cap_s=LONGEST_PAUSE_S, draw=draw)
