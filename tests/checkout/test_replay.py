"""A drop that is opened again under people whose older orders are cancelled, refunded or paid late."""

from __future__ import annotations

import pytest

from tests.catalog.makers import a_voucher
from tests.checkout.conftest import Stock
from tests.checkout.test_purchase import form, order, run_out
from tidegate import checkout
from tidegate.checkout import Actor, HoldView, Line, LinePart, OrderState, OrderView, Shop
from tidegate.checkout.settlement import settle
from tidegate.ops import replay_drop
from tidegate.ops.books import check_books
from tidegate.payments.contracts import Answer, ChargeRef, ChargeState
from tidegate.platform.clock import database_now
from tidegate.platform.ids import PersonId, new_id
from tidegate.platform.money import Money

pytestmark = pytest.mark.anyio

STAFF = Actor(PersonId(new_id()), "staff")


async def hold(shop: Shop, buyer: PersonId, quantity: int = 1, code: str | None = None) -> HoldView:
    return await checkout.open_hold(shop, buyer_id=buyer, lines=[Line("NOW", quantity)], code=code, guest=False)


async def buy(shop: Shop, buyer: PersonId, quantity: int = 1, code: str | None = None) -> OrderView:
    return await order(shop, buyer, (await hold(shop, buyer, quantity, code)).id)


async def replay(shop: Shop) -> None:
    async with shop.database.transaction() as conn:
        await replay_drop(conn, slug="now-drop", opens_at=await database_now(conn))


async def cancel(shop: Shop, placed: OrderView) -> None:
    await checkout.cancel(shop, order_id=placed.id, by=Actor(placed.buyer_id, "buyer"))


async def used(shop: Shop, buyer: PersonId) -> int | None:
    """What the buyer has of the drop's limit; None where nothing is counted."""
    async with shop.database.connection() as conn:
        rows = await conn.execute(
            "SELECT used FROM inventory.buyer_limits WHERE buyer_id = %s AND rule_id IN (SELECT id FROM catalog.drops)",
            (buyer,),
        )
        row = await rows.fetchone()
    return None if row is None else row[0]


async def let_time_pass(shop: Shop) -> int:
    """All live holds and unpaid orders are over, and swept."""
    async with shop.database.transaction() as conn:
        await conn.execute("UPDATE checkout.orders SET pay_until = clock_timestamp()")
        await conn.execute("UPDATE inventory.holds SET expires_at = clock_timestamp()")
    return await checkout.expire_holds_once(shop) + await checkout.expire_orders_once(shop)


async def assert_books(shop: Shop) -> None:
    broken = (await check_books(shop.database, shop.settings)).broken
    assert {result.name: result.rows for result in broken} == {}


@pytest.mark.parametrize("ordered", [False, True])
async def test_an_old_order_is_cancelled_beside_a_live_hold(
    shop: Shop, sell: Stock, buyer: PersonId, *, ordered: bool
) -> None:
    await sell("NOW", stock=9, drop_in_s=-1, per_buyer=1)
    old = await buy(shop, buyer)
    await replay(shop)
    held = await hold(shop, buyer)
    if ordered:
        await order(shop, buyer, held.id, "tok_declined")
    await cancel(shop, old)
    assert await used(shop, buyer) == 1
    await assert_books(shop)
    assert await let_time_pass(shop) == 1
    assert await used(shop, buyer) == 0
    await assert_books(shop)


async def test_an_old_order_is_cancelled_beside_a_new_one(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    await sell("NOW", stock=9, drop_in_s=-1, per_buyer=2)
    old = await buy(shop, buyer, 2)
    await replay(shop)
    new = await buy(shop, buyer)
    await cancel(shop, old)
    assert await used(shop, buyer) == 1
    with pytest.raises(checkout.LimitReached):
        await hold(shop, buyer, 2)
    await assert_books(shop)
    await cancel(shop, new)
    assert await used(shop, buyer) == 0
    await hold(shop, buyer, 2)
    await assert_books(shop)


async def test_an_old_order_is_cancelled_before_anything_new(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    await sell("NOW", stock=9, drop_in_s=-1, per_buyer=2)
    old = await buy(shop, buyer, 2)
    await replay(shop)
    await cancel(shop, old)
    assert await used(shop, buyer) is None
    await hold(shop, buyer, 2)
    await assert_books(shop)


@pytest.mark.parametrize("again", [False, True])
async def test_what_was_live_at_the_replay_is_given_back(
    shop: Shop, sell: Stock, buyer: PersonId, *, again: bool
) -> None:
    """It counts in the opening that it came into, and no more after the next replay."""
    await sell("NOW", stock=9, drop_in_s=-1, per_buyer=3)
    before = await buy(shop, buyer)
    held = await hold(shop, buyer, 2)
    await replay(shop)
    carried = await order(shop, buyer, held.id)
    assert await used(shop, buyer) == 2
    if again:
        await replay(shop)
    new = await buy(shop, buyer)
    await cancel(shop, before)
    assert await used(shop, buyer) == (1 if again else 3)
    await assert_books(shop)
    await cancel(shop, carried)
    assert await used(shop, buyer) == 1
    await assert_books(shop)
    await cancel(shop, new)
    assert await used(shop, buyer) == 0
    await assert_books(shop)


async def test_refunds_do_not_change_what_a_cancelled_order_gives_back(
    shop: Shop, sell: Stock, buyer: PersonId
) -> None:
    await sell("NOW", stock=9, price=500, drop_in_s=-1, per_buyer=3)
    old = await buy(shop, buyer, 3)
    await checkout.give_back(shop, order_id=old.id, by=STAFF, key="a", parts=(LinePart(1, 1),), restock=True)
    await replay(shop)
    new = await buy(shop, buyer, 2)
    await checkout.give_back(shop, order_id=old.id, by=STAFF, key="b", amount=Money(100, "GBP"))
    await checkout.give_back(shop, order_id=new.id, by=STAFF, key="c", parts=(LinePart(1, 1),), restock=True)
    await cancel(shop, old)
    assert await used(shop, buyer) == 2
    await assert_books(shop)
    await cancel(shop, new)
    assert await used(shop, buyer) == 0
    await assert_books(shop)


async def test_a_code_is_given_back_whatever_the_drop_has_forgotten(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    await sell("NOW", stock=9, drop_in_s=-1, per_buyer=1)
    await a_voucher(shop.database, "TENOFF", total=1, per_buyer=1)
    old = await buy(shop, buyer, code="TENOFF")
    await replay(shop)
    await hold(shop, buyer)
    await cancel(shop, old)
    assert await used(shop, buyer) == 1
    await assert_books(shop)
    await checkout.open_hold(shop, buyer_id=PersonId(new_id()), lines=[Line("NOW", 1)], code="TENOFF", guest=False)
    await assert_books(shop)


@pytest.mark.parametrize("new", [False, True])
async def test_what_had_ended_before_the_replay_is_not_taken_again(
    shop: Shop, sell: Stock, buyer: PersonId, *, new: bool
) -> None:
    """Nobody counts it any more, so the money goes back, whether the buyer has a new limit or none."""
    await sell("NOW", stock=9, drop_in_s=-1, per_buyer=2)
    late = await order(shop, buyer, (await hold(shop, buyer)).id, "hosted")
    await run_out(shop, late.id)
    assert await checkout.expire_orders_once(shop) == 1
    await replay(shop)
    if new:
        await buy(shop, buyer)
    (view,) = (await settle(shop, {ChargeRef(late.id, 1): Answer(ChargeState.CAPTURED, "sp_late")})).values()
    assert view.state is OrderState.REFUNDED
    assert await used(shop, buyer) == (1 if new else None)
    await assert_books(shop)


async def test_what_ended_since_the_replay_is_taken_again(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    await sell("NOW", stock=9, drop_in_s=-1, per_buyer=1)
    late = await order(shop, buyer, (await hold(shop, buyer)).id, "hosted")
    await replay(shop)
    await run_out(shop, late.id)
    assert await checkout.expire_orders_once(shop) == 1
    (view,) = (await settle(shop, {ChargeRef(late.id, 1): Answer(ChargeState.CAPTURED, "sp_late")})).values()
    assert (view.state, await used(shop, buyer)) == (OrderState.PAID, 1)
    await assert_books(shop)
    await cancel(shop, view)
    assert await used(shop, buyer) == 0
    await assert_books(shop)


async def test_an_express_purchase_is_forgotten_like_others(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    await sell("NOW", stock=9, drop_in_s=-1, per_buyer=1)
    held = form((await hold(shop, buyer)).id)
    wish = checkout.PurchaseWish(
        PersonId(new_id()),
        (Line("NOW", 1),),
        key=None,
        email=held.email,
        address=held.address,
        provider=held.provider,
        method=held.method,
    )
    await checkout.purchase(shop, wish)
    await replay(shop)
    assert (await used(shop, wish.buyer_id), await used(shop, buyer)) == (None, 1)
    await checkout.purchase(shop, wish)
    assert await used(shop, wish.buyer_id) == 1
    await assert_books(shop)
