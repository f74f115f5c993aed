"""Refunds: recorded in the transaction that decides them, carried out afterwards, once each."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from tidegate.payments.contracts import (
    Captured,
    ChargeRef,
    OutcomeUnknown,
    RecordedRefund,
    Refund,
    RefundAnswer,
    RefundState,
)
from tidegate.payments.providers import Providers
from tidegate.payments.rules import LONGEST_PAUSE_S, MAX_FAILURE
from tidegate.platform.backoff import backoff_s
from tidegate.platform.database import Connection, Database
from tidegate.platform.ids import OrderId
from tidegate.platform.money import Money

FIRST_PAUSE_S = 5.0
"""Pause before a refund whose outcome is open is sent again (under the same key); doubles."""

INSERT = """
WITH made AS (
    INSERT INTO payments.refunds (order_id, attempt, reason, state, amount, currency)
    SELECT r.order_id, r.attempt, r.reason, 'intent', r.amount, r.currency
    FROM unnest(%s::uuid[], %s::integer[], %s::text[], %s::bigint[], %s::text[])
        AS r (order_id, attempt, reason, amount, currency)
    ORDER BY r.order_id, r.attempt, r.reason
    ON CONFLICT DO NOTHING
    RETURNING order_id, attempt, amount
)
UPDATE payments.charges AS c SET refunded_amount = c.refunded_amount + m.amount
FROM (SELECT order_id, attempt, sum(amount)::bigint AS amount FROM made GROUP BY order_id, attempt) AS m
WHERE c.order_id = m.order_id AND c.attempt = m.attempt
"""

DUE = """
SELECT order_id, attempt, reason, amount, currency, asked FROM payments.refunds
WHERE state = 'intent' AND next_ask_at <= statement_timestamp()
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
WITH settled AS (
    UPDATE payments.refunds
    SET state = %s, provider_ref = %s, failure = %s, settled_at = clock_timestamp()
    WHERE order_id = %s AND attempt = %s AND reason = %s AND state = 'intent'
    RETURNING order_id, attempt, amount, state
), freed AS (
    UPDATE payments.charges AS c SET refunded_amount = c.refunded_amount - s.amount
    FROM settled AS s WHERE s.state = 'failed' AND c.order_id = s.order_id AND c.attempt = s.attempt
)
SELECT count(*) FROM settled
"""

CAPTURED = """
SELECT c.attempt, c.amount, c.currency, c.refunded_amount,
    (SELECT coalesce(sum(r.amount), 0)::bigint FROM payments.refunds AS r
     WHERE r.order_id = c.order_id AND r.attempt = c.attempt AND r.state = 'done')
FROM payments.charges AS c WHERE c.order_id = %s AND c.state = 'captured'
"""

LOCK_CAPTURED = f"{CAPTURED} FOR NO KEY UPDATE OF c"

PAID = """
SELECT order_id, amount - refunded_amount, currency FROM payments.charges
WHERE order_id = ANY(%s) AND state = 'captured'
"""

OF_ORDER = """
SELECT order_id, attempt, reason, amount, currency, state, failure, created_at, settled_at FROM payments.refunds
WHERE order_id = %s ORDER BY created_at, reason
"""


async def record_refunds(conn: Connection, refunds: Sequence[Refund]) -> None:
    """Decide to give money back; a refund that is recorded already (same attempt and reason) stays as it is.

    Together they are at most the charge's total: the constraint `refunded_within_charge` refuses more. Of an attempt
    that paid nothing there is nothing to give back.
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


async def ask_refund(providers: Providers, database: Database, refund: Refund) -> RefundAnswer:
    """Have the provider give the money back, with no transaction open; `settle_refund` records what it says.

    Raises: OutcomeUnknown when the provider did not answer: the refund stays due.
    """
    async with database.connection() as conn:
        row = await (await conn.execute(CHARGED, (refund.ref.order_id, refund.ref.attempt))).fetchone()
    assert row is not None, "refunds refer to charges"
    provider, provider_ref = row
    if provider_ref is None:
        raise OutcomeUnknown(f"{refund.ref.key} has no payment at {provider} yet")
    return await providers.call(
        provider, "refund", lambda gateway: gateway.refund(refund, provider_ref=provider_ref), outcome=_outcome
    )


async def settle_refund(conn: Connection, refund: Refund, answer: RefundAnswer) -> bool:
    """Record what a provider said of a refund; whether that was news. What failed may be given back anew."""
    if answer.state is RefundState.INTENT:
        return False
    rows = await conn.execute(
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
    row = await rows.fetchone()
    return row is not None and row[0] == 1


async def lock_captured(conn: Connection, order_id: OrderId) -> Captured | None:
    """The charge that paid an order, locked until the transaction ends; None when nothing was captured."""
    return _captured(order_id, await (await conn.execute(LOCK_CAPTURED, (order_id,))).fetchone())


async def find_captured(conn: Connection, order_id: OrderId) -> Captured | None:
    """The charge that paid an order, without locks; None when nothing was captured."""
    return _captured(order_id, await (await conn.execute(CAPTURED, (order_id,))).fetchone())


async def paid_for(conn: Connection, *, order_ids: Sequence[OrderId]) -> dict[OrderId, Money]:
    """What was paid for orders, less what was or will be given back; those that were never paid are absent."""
    rows = await conn.execute(PAID, (list(order_ids),))
    return {OrderId(row[0]): Money(row[1], row[2]) for row in await rows.fetchall()}


def _captured(order_id: OrderId, row: tuple[Any, ...] | None) -> Captured | None:
    if row is None:
        return None
    currency = row[2]
    return Captured(
        ChargeRef(order_id, row[0]), Money(row[1], currency), Money(row[3], currency), Money(row[4], currency)
    )


async def refunds_of(conn: Connection, order_id: OrderId) -> tuple[RecordedRefund, ...]:
    """An order's refunds, the oldest first."""
    rows = await (await conn.execute(OF_ORDER, (order_id,))).fetchall()
    return tuple(
        RecordedRefund(
            Refund(ChargeRef(OrderId(row[0]), row[1]), row[2], Money(row[3], row[4])),
            RefundState(row[5]),
            row[6],
            row[7],
            row[8],
        )
        for row in rows
    )


def _outcome(answer: RefundAnswer) -> str:
    return answer.state.value


def _pause_s(asked: int, draw: float) -> float:
    return backoff_s(failures=asked + 1, base_s=FIRST_PAUSE_S, cap_s=LONGEST_PAUSE_S, draw=draw)
