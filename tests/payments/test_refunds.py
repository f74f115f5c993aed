"""Money given back: once per reason, whoever asks and however often."""

from __future__ import annotations

import asyncio

import pytest
from psycopg.errors import CheckViolation

from tests.payments.makers import applied, intent, recorded, sandbox
from tidegate import payments
from tidegate.payments import ChargeIntent, ChargeState, OutcomeUnknown, Providers, Refund, RefundState
from tidegate.platform.database import Database
from tidegate.platform.money import Money

pytestmark = pytest.mark.anyio


async def paid(database: Database, providers: Providers) -> ChargeIntent:
    wish = intent()
    await recorded(database, wish)
    answer = await payments.call_provider(providers, wish)
    assert answer.state is ChargeState.CAPTURED
    await applied(database, {wish.ref: answer})
    return wish


async def record(database: Database, *refunds: Refund) -> None:
    async with database.transaction() as conn:
        await payments.record_refunds(conn, refunds)


async def claimed(database: Database, limit: int = 10) -> list[Refund]:
    async with database.transaction() as conn:
        return await payments.claim_due_refunds(conn, limit=limit)


async def carried_out(providers: Providers, database: Database, refund: Refund) -> RefundState:
    """What the provider said when it was asked, recorded."""
    answer = await payments.ask_refund(providers, database, refund)
    async with database.transaction() as conn:
        await payments.settle_refund(conn, refund, answer)
    return answer.state


async def refunded(database: Database, wish: ChargeIntent) -> tuple[int, int]:
    """What the sandbox has given back, and in how many refunds."""
    async with database.connection() as conn:
        rows = await conn.execute(
            "SELECT p.refunded, (SELECT count(*) FROM payments.sandbox_refunds r WHERE r.payment_id = p.id)"
            " FROM payments.sandbox_payments p WHERE p.reference = %s",
            (wish.ref.key,),
        )
        row = await rows.fetchone()
    assert row is not None
    return row[0], row[1]


async def test_a_refund_is_recorded_once_per_reason_and_carried_out_once(database: Database) -> None:
    providers = sandbox(database)
    wish = await paid(database, providers)
    refund = Refund(wish.ref, "stock-gone", wish.total)
    await asyncio.gather(*(record(database, refund, refund) for _ in range(4)))
    assert await claimed(database) == [refund]
    assert await claimed(database) == []
    runs = await asyncio.gather(*(carried_out(providers, database, refund) for _ in range(4)))
    assert set(runs) == {RefundState.DONE}
    assert await refunded(database, wish) == (1_299, 1)


async def test_refunds_of_different_reasons_add_up_to_no_more_than_was_paid(database: Database) -> None:
    providers = sandbox(database)
    wish = await paid(database, providers)
    part, rest, more = (
        Refund(wish.ref, reason, Money(amount, "GBP"))
        for reason, amount in (("damaged", 299), ("returned", 1_000), ("kindness", 1))
    )
    await record(database, part, rest)
    with pytest.raises(CheckViolation, match="refunded_within_charge"):
        await record(database, more)
    states = [await carried_out(providers, database, refund) for refund in (part, rest)]
    assert states == [RefundState.DONE, RefundState.DONE]
    assert await refunded(database, wish) == (1_299, 2)


async def test_a_refund_in_another_currency_fails(database: Database) -> None:
    providers = sandbox(database)
    wish = await paid(database, providers)
    refund = Refund(wish.ref, "stock-gone", Money(100, "EUR"))
    await record(database, refund)
    assert await carried_out(providers, database, refund) is RefundState.FAILED
    async with database.connection() as conn:
        captured = await payments.find_captured(conn, wish.ref.order_id)
    assert captured is not None
    assert captured.left == wish.total, "what failed may be given back anew"


async def test_a_refund_of_what_has_no_payment_yet_stays_due(database: Database) -> None:
    providers, wish = sandbox(database), intent()
    await recorded(database, wish)
    refund = Refund(wish.ref, "stock-gone", wish.total)
    await record(database, refund)
    with pytest.raises(OutcomeUnknown):
        await carried_out(providers, database, refund)
    async with database.connection() as conn:
        await conn.execute("UPDATE payments.refunds SET next_ask_at = clock_timestamp()")
    assert await claimed(database) == [refund]


async def test_each_due_refund_is_claimed_by_one(database: Database) -> None:
    providers = sandbox(database)
    wish = await paid(database, providers)
    refunds = [Refund(wish.ref, f"part-{number}", Money(1, "GBP")) for number in range(20)]
    await record(database, *refunds)
    taken = await asyncio.gather(*(claimed(database, limit=7) for _ in range(5)))
    assert sorted(refund.reason for part in taken for refund in part) == sorted(r.reason for r in refunds)
