"""A market day: purchases that end in every way there is, for the books to add up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.catalog.makers import a_voucher
from tests.checkout.conftest import Stock
from tests.checkout.rates import the_rates
from tidegate import checkout
from tidegate.catalog import set_prices_include_tax
from tidegate.checkout import (
    Actor,
    Address,
    FreshHold,
    HoldView,
    HoldWish,
    Line,
    OrderForm,
    OrderView,
    PurchaseWish,
    Shop,
    settle_hold,
)
from tidegate.checkout.settlement import settle
from tidegate.ops import replay_drop
from tidegate.payments.contracts import Answer, ChargeRef, ChargeState
from tidegate.platform.clock import database_now
from tidegate.platform.idempotency import RequestKey, fingerprint
from tidegate.platform.ids import HoldId, OrderId, PersonId, new_id
from tidegate.platform.money import Money

ADDRESS = Address("Ada Lovelace", "12 St James's Square", "London", "SW1Y 4JH", "GB")


def somebody() -> PersonId:
    return PersonId(new_id())


def form(hold_id: HoldId, method: str = "tok_ok") -> OrderForm:
    return OrderForm(hold_id, "ada@example.com", ADDRESS, "sandbox", method)


async def hold(shop: Shop, buyer: PersonId, *skus: str, quantity: int = 1, code: str | None = None) -> HoldView:
    return await checkout.open_hold(
        shop, buyer_id=buyer, lines=[Line(sku, quantity) for sku in skus], code=code, guest=False
    )


async def buy(
    shop: Shop,
    *skus: str,
    method: str = "tok_ok",
    buyer: PersonId | None = None,
    quantity: int = 1,
    code: str | None = None,
) -> OrderView:
    """Hold and order; `method` decides what becomes of it."""
    buyer = buyer or somebody()
    held = await hold(shop, buyer, *skus, quantity=quantity, code=code)
    placed = await checkout.place_order(shop, buyer_id=buyer, form=form(held.id, method))
    assert isinstance(placed, OrderView)
    return placed


async def run_out(shop: Shop, hold_ids: Sequence[HoldId]) -> None:
    """Let the time of holds and of their orders be over, and do what must happen then."""
    async with shop.database.transaction() as conn:
        await conn.execute(
            "UPDATE inventory.holds SET expires_at = clock_timestamp() WHERE id = ANY(%s)", (list(hold_ids),)
        )
        await conn.execute(
            "UPDATE checkout.orders SET pay_until = clock_timestamp() WHERE hold_id = ANY(%s)", (list(hold_ids),)
        )
    await checkout.expire_holds_once(shop)
    await checkout.expire_orders_once(shop)


async def pay_late(shop: Shop, order_id: OrderId, attempt: int = 1) -> None:
    """The provider says that an attempt was paid after all."""
    await settle(shop, {ChargeRef(order_id, attempt): Answer(ChargeState.CAPTURED, "sp_late")})


async def trade(shop: Shop, sell: Stock) -> None:
    """All of it."""
    await sell("LAMP", stock=100, price=1299)
    await sell("VASE", stock=100)
    await trade_in_the_shop(shop)
    await trade_late(shop, sell)
    await trade_with_keys(shop)
    await trade_express(shop)
    await trade_with_codes(shop)
    await sell("FLASH", stock=100, drop_in_s=-1, per_buyer=3)
    await trade_in_drop(shop, "FLASH")
    await sell("NOON", stock=100, drop_in_s=-1, per_buyer=3)
    await trade_in_drop(shop, "NOON")
    await trade_in_replay(shop)
    await trade_with_rates(shop)


async def trade_in_the_shop(shop: Shop) -> None:
    """Paid, fulfilled, declined, paid with another card, waiting, cancelled, given up, expired, held."""
    await buy(shop, "LAMP", "VASE", quantity=3)
    sent = await buy(shop, "LAMP")
    async with shop.database.transaction() as conn:  # nothing in the shop sends parcels yet
        await conn.execute("UPDATE checkout.orders SET state = 'fulfilled' WHERE id = %s", (sent.id,))
    await buy(shop, "VASE", method="tok_declined")
    again = await buy(shop, "LAMP", method="tok_declined")
    await checkout.pay_again(shop, buyer_id=again.buyer_id, order_id=again.id, provider="sandbox", method="tok_ok")
    await buy(shop, "LAMP", method="hosted")
    await run_out(shop, [(await buy(shop, "LAMP", method="hosted")).hold_id])
    buyer = somebody()
    await checkout.give_up(shop, buyer_id=buyer, hold_id=(await hold(shop, buyer, "LAMP")).id)
    await run_out(shop, [(await hold(shop, buyer, "LAMP")).id])
    await hold(shop, buyer, "LAMP", "VASE", quantity=2)


async def trade_late(shop: Shop, sell: Stock) -> None:
    """Money that comes late: taken again, refunded since the stock is gone, paid twice, an answer that was lost."""
    back = await buy(shop, "LAMP", method="hosted")
    await run_out(shop, [back.hold_id])
    await pay_late(shop, back.id)
    await sell("LAST", stock=1)
    gone = await buy(shop, "LAST", method="hosted")
    await run_out(shop, [gone.hold_id])
    await buy(shop, "LAST")
    await pay_late(shop, gone.id)
    twice = await buy(shop, "VASE", method="tok_declined")
    await checkout.pay_again(shop, buyer_id=twice.buyer_id, order_id=twice.id, provider="sandbox", method="tok_ok")
    await pay_late(shop, twice.id)
    await buy(shop, "LAMP", method="tok_error_after_charge")
    quick = shop.settings.payments.model_copy(update={"reconcile_after_s": 0})
    await checkout.reconcile_once(replace(shop, settings=shop.settings.model_copy(update={"payments": quick})))


async def trade_with_keys(shop: Shop) -> None:
    """Holds and orders whose answers are kept: granted, refused, paid, declined."""
    for method in ("tok_ok", "tok_declined", "hosted"):
        buyer = somebody()
        held, _ = await settle_hold(shop, HoldWish(buyer, (Line("LAMP", 1),), key=key(buyer, "hold")))
        assert isinstance(held, FreshHold)
        await checkout.place_order(shop, buyer_id=buyer, form=form(held.id, method), key=key(buyer, "order"))
    buyer = somebody()
    refused = HoldWish(buyer, (Line("LAST", 1),), key=key(buyer, "refused"))
    with pytest.raises(checkout.SoldOut):
        await settle_hold(shop, refused)


async def trade_express(shop: Shop) -> None:
    """Hold, order and payment in one request, with a key and without; and one whose provider is being asked."""
    for method in ("tok_ok", "tok_declined", "hosted"):
        buyer = somebody()
        await buy_express(shop, buyer, "LAMP", "VASE", method=method)
        await buy_express(shop, buyer, "LAMP", method=method, request=key(buyer, "express"))
    buyer = somebody()
    await shop.batches.purchases.submit(_express(buyer, "LAMP", "VASE", request=key(buyer, "pending")))


async def trade_with_codes(shop: Shop) -> None:
    """Paid, declined, waiting, paid late, given up, expired and held with a code; free with another."""
    await a_voucher(shop.database, "TENOFF", total=20, per_buyer=2)
    await a_voucher(shop.database, "GIFT", percent_off=100)
    regular = somebody()
    for _ in range(2):
        await buy(shop, "LAMP", "VASE", buyer=regular, code="tenoff")
    for method in ("tok_ok", "tok_declined", "hosted"):
        buyer = somebody()
        await buy_express(shop, buyer, "LAMP", method=method, request=key(buyer, "express"), code="TENOFF")
    late = await buy(shop, "LAMP", method="hosted", code="TENOFF")
    await run_out(shop, [late.hold_id])
    await pay_late(shop, late.id)
    await run_out(shop, [(await buy(shop, "LAMP", method="hosted", code="TENOFF")).hold_id])
    buyer = somebody()
    await checkout.give_up(shop, buyer_id=buyer, hold_id=(await hold(shop, buyer, "LAMP", code="TENOFF")).id)
    await run_out(shop, [(await hold(shop, buyer, "LAMP", code="TENOFF")).id])
    await hold(shop, buyer, "LAMP", code="TENOFF")
    await buy(shop, "VASE", code="GIFT")


async def trade_with_rates(shop: Shop) -> None:
    """Delivery and taxes within the prices and on top, with a code and for nothing."""
    await the_rates(shop.database)
    for include in (True, False):
        async with shop.database.transaction() as conn:
            await set_prices_include_tax(conn, include=include)
        await buy_express(shop, somebody(), "LAMP", "VASE")
        await buy(shop, "LAMP", "VASE", code="TENOFF")
        await buy_express(shop, somebody(), "LAMP", method="tok_declined", code="GIFT")


async def buy_express(
    shop: Shop,
    buyer: PersonId,
    *skus: str,
    method: str = "tok_ok",
    request: RequestKey | None = None,
    code: str | None = None,
) -> None:
    await checkout.purchase(shop, _express(buyer, *skus, method=method, request=request, code=code))


def _express(
    buyer: PersonId,
    *skus: str,
    method: str = "tok_ok",
    request: RequestKey | None = None,
    code: str | None = None,
) -> PurchaseWish:
    """Two of each SKU at once."""
    return PurchaseWish(
        buyer,
        tuple(Line(sku, 2) for sku in skus),
        key=request,
        email="ada@example.com",
        address=ADDRESS,
        provider="sandbox",
        method=method,
        code=code,
    )


async def trade_in_drop(shop: Shop, sku: str) -> None:
    """Under a limit: bought once and twice, given up, expired, paid late, held."""
    regular = somebody()
    await buy(shop, sku, buyer=regular)
    await buy(shop, sku, buyer=regular, quantity=2)
    for method in ("tok_ok", "tok_declined", "hosted"):
        await buy_express(shop, somebody(), sku, method=method)
    late = await buy(shop, sku, method="hosted")
    await run_out(shop, [late.hold_id])
    await pay_late(shop, late.id)
    buyer = somebody()
    await checkout.give_up(shop, buyer_id=buyer, hold_id=(await hold(shop, buyer, sku)).id)
    await run_out(shop, [(await hold(shop, buyer, sku)).id])
    await hold(shop, buyer, sku, quantity=2)


async def trade_in_replay(shop: Shop) -> None:
    """A drop that is replayed under people who bought, who hold and who are paying; they cancel what they had."""
    bought, holding, paying = somebody(), somebody(), somebody()
    old = [await buy(shop, "NOON", buyer=buyer, quantity=3) for buyer in (bought, somebody(), somebody(), somebody())]
    old.append(await buy(shop, "NOON", buyer=holding))
    held = await hold(shop, holding, "NOON", quantity=2)
    waiting = await buy(shop, "NOON", buyer=paying, method="hosted")
    async with shop.database.transaction() as conn:
        before = await database_now(conn) - timedelta(days=1)
        await replay_drop(conn, slug="noon-drop", opens_at=before)
    await buy(shop, "NOON", buyer=bought, quantity=2)
    await checkout.place_order(shop, buyer_id=holding, form=form(held.id))
    await pay_late(shop, waiting.id)
    await buy(shop, "NOON", buyer=paying)
    await hold(shop, somebody(), "NOON")
    await buy(shop, "NOON", buyer=old[1].buyer_id)
    over = [(await hold(shop, old[2].buyer_id, "NOON")).id]
    over.append((await buy(shop, "NOON", buyer=old[3].buyer_id, method="tok_declined")).hold_id)
    part = Money(100, old[1].total.currency)
    await checkout.give_back(shop, order_id=old[1].id, by=Actor(somebody(), "staff"), key="part", amount=part)
    for order in (*old, waiting):
        await checkout.cancel(shop, order_id=order.id, by=Actor(order.buyer_id, "buyer"))
    await run_out(shop, over)


def key(buyer: PersonId, name: str) -> RequestKey:
    return RequestKey(buyer, name, fingerprint("POST /x", name))
