"""The sandbox's ledger: payments, refunds and what is still to be told, in tables of its own.

It stands for a foreign gateway, so it knows nothing of charges; it is in PostgreSQL so that it outlives the process.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from tidegate.payments.sandbox_cards import PaymentState
from tidegate.platform.database import Connection
from tidegate.platform.ids import new_id
from tidegate.platform.money import Money

PAYMENT = """id, idempotency_key, reference, state, amount, currency, method, token, failure, return_url, description,
    refunded"""

OPEN = f"""
INSERT INTO payments.sandbox_payments
    (id, idempotency_key, reference, state, amount, currency, method, token, failure, return_url, description)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[],
    %s::text[], %s::text[], %s::text[]) AS p (id, key)
ORDER BY p.key
ON CONFLICT (idempotency_key) DO NOTHING
RETURNING {PAYMENT}
"""  # noqa: S608

MOVE = f"""
UPDATE payments.sandbox_payments
SET state = %s, token = coalesce(%s, token), failure = %s, updated_at = clock_timestamp()
WHERE id = %s AND state = ANY(%s)
RETURNING {PAYMENT}
"""  # noqa: S608

TELL = """
INSERT INTO payments.sandbox_webhooks (id, event_id, body, due_at)
SELECT w.id, w.event_id, w.body, clock_timestamp() + make_interval(secs => w.delay_s)
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::double precision[]) AS w (id, event_id, body, delay_s)
"""

GIVE_BACK = """
INSERT INTO payments.sandbox_refunds (id, idempotency_key, payment_id, amount) VALUES (%s, %s, %s, %s)
ON CONFLICT (idempotency_key) DO NOTHING
"""

COUNT_BACK = """
UPDATE payments.sandbox_payments SET refunded = refunded + %s, updated_at = clock_timestamp()
WHERE id = %s AND state = 'succeeded' AND currency = %s AND refunded + %s <= amount
"""


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment at the sandbox. `key` is the shop's idempotency key, `reference` what the shop calls it."""

    id: str
    key: str
    reference: str
    state: PaymentState
    total: Money
    method: str
    token: str | None
    failure: str | None
    return_url: str
    description: str
    refunded: int = 0


@dataclass(frozen=True, slots=True)
class Telling:
    """How often the end of a payment is told by webhook, and how many seconds from now."""

    times: int = 1
    delay_s: float = 0.0


class RefundImpossible(Exception):
    """The payment did not succeed, or less than that is left of it; nothing was given back."""


def new_payment_id() -> str:
    """128 random bits: whoever knows it may pay."""
    return f"pay_{secrets.token_hex(16)}"


async def open_payments(
    conn: Connection, payments: Sequence[tuple[Payment, Telling]]
) -> dict[str, tuple[Payment, bool]]:
    """Enter payments that the ledger does not have; per key the payment as it stands and whether it is new.

    What is new and over already is told in the same transaction.
    """
    entries = [payment for payment, _ in payments]
    rows = await conn.execute(
        OPEN,
        (
            [entry.id for entry in entries],
            [entry.key for entry in entries],
            [entry.reference for entry in entries],
            [entry.state.value for entry in entries],
            [entry.total.amount for entry in entries],
            [entry.total.currency for entry in entries],
            [entry.method for entry in entries],
            [entry.token for entry in entries],
            [entry.failure for entry in entries],
            [entry.return_url for entry in entries],
            [entry.description for entry in entries],
        ),
    )
    fresh = {payment.key: payment for payment in map(_payment, await rows.fetchall())}
    await _tell(conn, [(fresh[p.key], telling) for p, telling in payments if p.key in fresh])
    older = await find_by_keys(conn, keys=[entry.key for entry in entries if entry.key not in fresh])
    return {key: (payment, True) for key, payment in fresh.items()} | {
        key: (payment, False) for key, payment in older.items()
    }


async def find_by_keys(conn: Connection, *, keys: Collection[str]) -> dict[str, Payment]:
    """Payments by idempotency key; unknown keys are absent."""
    if not keys:
        return {}
    rows = await conn.execute(
        f"SELECT {PAYMENT} FROM payments.sandbox_payments WHERE idempotency_key = ANY(%s)",  # noqa: S608
        (list(keys),),
    )
    return {payment.key: payment for payment in map(_payment, await rows.fetchall())}


async def find_payment(conn: Connection, *, payment_id: str) -> Payment | None:
    """One payment, or None."""
    rows = await conn.execute(f"SELECT {PAYMENT} FROM payments.sandbox_payments WHERE id = %s", (payment_id,))  # noqa: S608
    row = await rows.fetchone()
    return None if row is None else _payment(row)


async def move_payment(
    conn: Connection,
    *,
    payment_id: str,
    was: Collection[PaymentState],
    state: PaymentState,
    token: str | None = None,
    failure: str | None = None,
    telling: Telling,
) -> Payment | None:
    """Bring a payment that is in one of `was` into `state` and tell its end in the same transaction.

    Answers the payment as it now stands: in another state where somebody was faster. None: there is no such payment.
    """
    rows = await conn.execute(MOVE, (state.value, token, failure, payment_id, [before.value for before in was]))
    row = await rows.fetchone()
    if row is None:
        return await find_payment(conn, payment_id=payment_id)
    await _tell(conn, [(_payment(row), telling)])
    return _payment(row)


async def give_back(conn: Connection, *, payment_id: str, key: str, total: Money) -> tuple[str, int]:
    """Refund part of a payment once per `key`; the refund's id and amount, of an earlier one where there was one.

    Raises: RefundImpossible.
    """
    entered = await conn.execute(GIVE_BACK, (f"re_{secrets.token_hex(16)}", key, payment_id, total.amount))
    if entered.rowcount:
        counted = await conn.execute(COUNT_BACK, (total.amount, payment_id, total.currency, total.amount))
        if not counted.rowcount:
            raise RefundImpossible()
    rows = await conn.execute("SELECT id, amount FROM payments.sandbox_refunds WHERE idempotency_key = %s", (key,))
    row = await rows.fetchone()
    assert row is not None
    return row[0], row[1]


async def _tell(conn: Connection, ends: Sequence[tuple[Payment, Telling]]) -> None:
    """Enter the webhooks of those payments that are over. One event may be told several times."""
    hooks: list[tuple[str, str, float]] = []
    for payment, telling in ends:
        if payment.state.over:
            event = (f"evt_{secrets.token_hex(16)}", _body(payment), telling.delay_s)
            hooks.extend([event] * telling.times)
    if hooks:
        events, bodies, delays = zip(*hooks, strict=True)
        await conn.execute(TELL, ([new_id() for _ in hooks], list(events), list(bodies), list(delays)))


def _body(payment: Payment) -> str:
    return json.dumps(
        {
            "type": f"payment.{payment.state.value}",
            "payment": {
                "id": payment.id,
                "reference": payment.reference,
                "amount": payment.total.amount,
                "currency": payment.total.currency,
                "failure": payment.failure,
            },
        },
        separators=(",", ":"),
    )


def _payment(row: tuple[Any, ...]) -> Payment:
    payment_id, key, reference, state, amount, currency, method, token, failure, return_url, description, back = row
    return Payment(
        id=payment_id,
        key=key,
        reference=reference,
        state=PaymentState(state),
        total=Money(amount, currency),
        method=method,
        token=token,
        failure=failure,
        return_url=return_url,
        description=description,
        refunded=back,
    )
