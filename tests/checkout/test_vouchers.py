"""Codes through a whole purchase: promised, charged, used up, given back, and free of charge."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from msgspec.structs import replace as altered

from tests.catalog.makers import a_voucher
from tests.checkout.conftest import Stock
from tidegate import checkout, inventory, payments
from tidegate.catalog import VoucherTerms
from tidegate.checkout import (
    Address,
    FreshHold,
    HoldView,
    HoldWish,
    Line,
    OrderForm,
    OrderState,
    OrderView,
    PurchaseWish,
    Shop,
    open_shop,
    settle_hold,
)
from tidegate.checkout.ordering import Started
from tidegate.checkout.settlement import settle
from tidegate.payments.contracts import Answer, ChargeRef, ChargeState
from tidegate.platform.database import Database
from tidegate.platform.idempotency import RequestKey, StoredAnswer, fingerprint
from tidegate.platform.ids import OrderId, PersonId, new_id
from tidegate.platform.money import Money

pytestmark = pytest.mark.anyio

ADDRESS = Address("Ada Lovelace", "12 St James's Square", "London", "SW1Y 4JH", "GB")


def wish(code: str | None, method: str = "tok_ok", buyer: PersonId | None = None, quantity: int = 1) -> PurchaseWish:
    return PurchaseWish(
        buyer_id=buyer or PersonId(new_id()),
        lines=(Line("LAMP", quantity),),
        email="ada@example.com",
        address=ADDRESS,
        provider="sandbox",
        method=method,
        code=code,
    )


async def buy(shop: Shop, code: str | None, method: str = "tok_ok", *, quantity: int = 1) -> OrderView:
    placed = await checkout.purchase(shop, wish(code, method, quantity=quantity))
    assert isinstance(placed, OrderView)
    return placed


async def hold(shop: Shop, buyer: PersonId, code: str | None = None) -> HoldView:
    return await checkout.open_hold(shop, buyer_id=buyer, lines=[Line("LAMP", 1)], code=code, guest=False)


async def order(shop: Shop, held: HoldView, method: str = "tok_ok") -> OrderView:
    form = OrderForm(held.id, "ada@example.com", ADDRESS, "sandbox", method)
    placed = await checkout.place_order(shop, buyer_id=held.buyer_id, form=form)
    assert isinstance(placed, OrderView)
    return placed


async def redeemed(shop: Shop, voucher: VoucherTerms) -> int:
    async with shop.database.connection() as conn:
        return (await inventory.redemptions(conn, [voucher.id])).get(voucher.id, 0)


async def charged(shop: Shop, order_id: OrderId) -> list[int]:
    """What was asked of the provider for an order, in minor units, as the provider itself says."""
    async with shop.database.connection() as conn:
        rows = await conn.execute(
            "SELECT amount FROM payments.sandbox_payments WHERE reference LIKE %s", (f"{order_id}.%",)
        )
        return [row[0] for row in await rows.fetchall()]


async def run_out(shop: Shop, order_id: OrderId) -> None:
    async with shop.database.transaction() as conn:
        await conn.execute("UPDATE checkout.orders SET pay_until = clock_timestamp() WHERE id = %s", (order_id,))
        await conn.execute("UPDATE inventory.holds SET expires_at = clock_timestamp() WHERE order_id = %s", (order_id,))


def hurried(shop: Shop) -> Shop:
    quick = shop.settings.payments.model_copy(update={"reconcile_after_s": 0})
    return replace(shop, settings=shop.settings.model_copy(update={"payments": quick}))


async def test_what_was_promised_is_what_is_charged(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    await sell("LAMP", stock=9, price=1299)
    voucher = await a_voucher(shop.database, "TENOFF")
    held = await hold(shop, buyer, "tenoff")
    assert (held.total, held.discount) == (Money(1169, "GBP"), Money(130, "GBP"))
    async with shop.database.transaction() as conn:
        await conn.execute("UPDATE catalog.prices SET amount = 9999")
        await conn.execute("UPDATE catalog.vouchers SET percent_off = 1, closed_at = clock_timestamp()")
    declined = await order(shop, held, "tok_declined")
    assert (declined.total, declined.discount) == (held.total, held.discount)
    paid = await checkout.pay_again(shop, buyer_id=buyer, order_id=declined.id, provider="sandbox", method="tok_ok")
    assert (paid.state, paid.total, paid.discount) == (OrderState.PAID, held.total, held.discount)
    assert await charged(shop, paid.id) == [1169, 1169]
    assert await redeemed(shop, voucher) == 1
    assert await checkout.find_order(shop, buyer_id=buyer, order_id=paid.id) == paid
    async with shop.database.connection() as conn:
        rows = await conn.execute("SELECT payload -> 'total', payload -> 'discount' FROM platform.outbox")
        assert await rows.fetchone() == (
            {"amount": 1169, "currency": "GBP"},
            {"amount": 130, "currency": "GBP"},
        )


async def test_one_batch_has_wishes_with_codes_and_without(shop: Shop, sell: Stock) -> None:
    await sell("LAMP", stock=20, price=1000)
    await a_voucher(shop.database, "TENOFF")
    await a_voucher(shop.database, "FIVE", amount_off=Money(500, "GBP"))
    codes = ["tenoff", None, "FIVE", "nope", "TENOFF", None]
    placed = await asyncio.gather(
        *(checkout.purchase(shop, wish(code, quantity=2)) for code in codes), return_exceptions=True
    )
    totals = [each.total.amount if isinstance(each, OrderView) else type(each) for each in placed]
    assert totals == [1800, 2000, 1500, checkout.CodeUnknown, 1800, 2000]
    for each in placed:
        if isinstance(each, OrderView):
            assert await charged(shop, each.id) == [each.total.amount]


async def test_without_a_code_no_voucher_is_asked_about(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    await sell("LAMP", stock=9)
    async with shop.database.transaction() as conn:
        await conn.execute("ALTER TABLE catalog.vouchers RENAME TO hidden")
    assert (await hold(shop, buyer)).discount == Money(0, "GBP")
    assert (await buy(shop, None)).state == OrderState.PAID


async def test_a_code_for_three_is_used_by_three_of_fifty(shop: Shop, sell: Stock) -> None:
    """Two shops on one database are two processes: each has its own batches, connections and snapshot."""
    variant = await sell("LAMP", stock=100)
    voucher = await a_voucher(shop.database, "THREE", total=3)
    async with open_shop(shop.database, shop.settings, shop.providers) as other:
        placed = await asyncio.gather(
            *(checkout.purchase(each, wish("three")) for each in [shop, other] * 25), return_exceptions=True
        )
    assert sum(isinstance(each, OrderView) and each.state == OrderState.PAID for each in placed) == 3
    assert sum(isinstance(each, checkout.CodeUsedUp) for each in placed) == 47
    assert await redeemed(shop, voucher) == 3
    async with shop.database.connection() as conn:
        level = (await inventory.stock_levels(conn, variant_ids=[variant]))[variant]
    assert (level.available, level.held, level.sold) == (97, 0, 3)


async def test_used_up_is_an_answer_and_not_valid_yet_is_none(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    await sell("LAMP", stock=9)
    voucher = await a_voucher(shop.database, "ONCE", total=1)
    first = await hold(shop, PersonId(new_id()), "ONCE")
    again = HoldWish(buyer, (Line("LAMP", 1),), key=key(buyer, "used-up"), code="once")
    with pytest.raises(checkout.CodeUsedUp):
        await settle_hold(shop, again)
    await checkout.give_up(shop, buyer_id=first.buyer_id, hold_id=first.id)
    assert await redeemed(shop, voucher) == 0
    stored, repeat = await settle_hold(shop, again)
    assert repeat
    assert isinstance(stored, StoredAnswer)
    assert json.loads(stored.body)["type"] == "/problems/code-used-up"
    fresh, _ = await settle_hold(shop, altered(again, key=key(buyer, "fresh")))
    assert isinstance(fresh, FreshHold)

    await a_voucher(shop.database, "EARLY", starts_in_s=3600)
    early = HoldWish(buyer, (Line("LAMP", 1),), key=key(buyer, "early"), code="EARLY")
    with pytest.raises(checkout.CodeNotValid) as refused:
        await settle_hold(shop, early)
    assert "starts_at" in refused.value.extra
    async with shop.database.transaction() as conn:
        await conn.execute("UPDATE catalog.vouchers SET starts_at = clock_timestamp() WHERE code = 'EARLY'")
    held, repeat = await settle_hold(shop, early)
    assert isinstance(held, FreshHold)
    assert not repeat


def key(buyer: PersonId, name: str) -> RequestKey:
    return RequestKey(buyer, name, fingerprint("POST /x", name))


@pytest.mark.parametrize("taken_meanwhile", [False, True])
async def test_an_order_not_paid_in_time_gives_its_code_back_and_late_money_takes_it_again(
    shop: Shop, sell: Stock, *, taken_meanwhile: bool
) -> None:
    await sell("LAMP", stock=9, price=1000)
    voucher = await a_voucher(shop.database, "ONCE", total=1)
    placed = await buy(shop, "ONCE", "hosted")
    assert (placed.state, await redeemed(shop, voucher)) == (OrderState.AWAITING_PAYMENT, 1)
    await run_out(shop, placed.id)
    assert await checkout.expire_orders_once(shop) == 1
    assert await redeemed(shop, voucher) == 0
    if taken_meanwhile:
        await buy(shop, "ONCE")
    late = {ChargeRef(placed.id, 1): Answer(ChargeState.CAPTURED, "sp_late")}
    (view,) = (await settle(shop, late)).values()
    assert view.state == (OrderState.REFUNDED if taken_meanwhile else OrderState.PAID)
    assert await redeemed(shop, voucher) == 1
    async with shop.database.transaction() as conn:
        refunds = await payments.claim_due_refunds(conn, limit=10)
    assert [refund.total.amount for refund in refunds] == ([900] if taken_meanwhile else [])


@pytest.mark.parametrize("method", ["tok_ok", "tok_declined", "hosted"])
async def test_what_is_free_is_paid_and_no_provider_is_asked(shop: Shop, sell: Stock, method: str) -> None:
    await sell("LAMP", stock=9, price=1000)
    voucher = await a_voucher(shop.database, "GIFT", amount_off=Money(5000, "GBP"))
    free = await buy(shop, "GIFT", method)
    assert (free.state, free.total, free.discount) == (OrderState.PAID, Money(0, "GBP"), Money(1000, "GBP"))
    assert free.next_action is None
    assert await charged(shop, free.id) == []
    assert await redeemed(shop, voucher) == 1


@pytest.mark.parametrize("out_of_time", [False, True])
async def test_what_is_free_is_paid_after_a_crash_too(shop: Shop, sell: Stock, *, out_of_time: bool) -> None:
    """The process dies between the order's commit and its payment: the reconciler, or the order's end, pays it."""
    variant = await sell("LAMP", stock=9, price=1000)
    await a_voucher(shop.database, "GIFT", percent_off=100)
    started = await shop.batches.purchases.submit(wish("GIFT"))
    assert isinstance(started, Started)
    order = started.known.order
    if out_of_time:
        await run_out(shop, order.id)
        assert await checkout.expire_orders_once(shop) == 0
    else:
        await checkout.reconcile_once(hurried(shop))
    found = await checkout.find_order(shop, buyer_id=order.buyer_id, order_id=order.id)
    assert found.state == OrderState.PAID
    assert await charged(shop, order.id) == []
    async with shop.database.connection() as conn:
        level = (await inventory.stock_levels(conn, variant_ids=[variant]))[variant]
    assert (level.held, level.sold) == (0, 1)


async def test_nothing_goes_back_of_what_was_free(shop: Shop, sell: Stock) -> None:
    await sell("LAMP", stock=1, price=1000)
    await a_voucher(shop.database, "GIFT", percent_off=100)
    started = await shop.batches.purchases.submit(wish("GIFT"))
    assert isinstance(started, Started)
    order = started.known.order
    async with shop.database.transaction() as conn:
        await inventory.release_holds(conn, [order.hold_id])
    assert (await buy(shop, None)).state == OrderState.PAID
    (view,) = (await settle(shop, {ChargeRef(order.id, 1): Answer(ChargeState.CAPTURED, "")})).values()
    assert view.state == OrderState.REFUNDED
    async with shop.database.transaction() as conn:
        assert await payments.claim_due_refunds(conn, limit=10) == []


async def test_a_code_that_would_take_nothing_off_is_not_used(
    shop: Shop, sell: Stock, buyer: PersonId, database: Database
) -> None:
    await sell("LAMP", stock=9, price=4)
    voucher = await a_voucher(database, "TENOFF")
    with pytest.raises(checkout.CodeNotValid, match="takes nothing off"):
        await hold(shop, buyer, "TENOFF")
    assert await redeemed(shop, voucher) == 0
    async with database.connection() as conn:
        assert await inventory.live_holds(conn, buyer_id=buyer) == []
