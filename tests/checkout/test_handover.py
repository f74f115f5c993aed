"""A guest's purchases become an account's, and the books stay right."""

from __future__ import annotations

import asyncio

import pytest

from tests.checkout.conftest import Stock
from tests.checkout.test_purchase import form
from tests.checkout.test_purchasing import rows, so_many_wait, wish
from tests.waiting import eventually
from tidegate import checkout
from tidegate.checkout import Address, HoldView, Line, OrderForm, OrderState, OrderView, Shop
from tidegate.checkout.ordering import OrderWish, Started, charge, settle_orders
from tidegate.ops.books import check_books
from tidegate.platform.idempotency import RequestKey, fingerprint, move_keys
from tidegate.platform.ids import HoldId, PersonId, new_id
from tidegate.platform.problems import NotFound

pytestmark = pytest.mark.anyio


async def hold(shop: Shop, buyer: PersonId, sku: str, drop: str | None = None) -> HoldView:
    return await checkout.open_hold(shop, buyer_id=buyer, lines=[Line(sku, 1)], drop=drop, guest=False)


async def buy(shop: Shop, buyer: PersonId, hold_id: HoldId) -> OrderView:
    address = Address("Ada Lovelace", "12 St James's Square", "London", "SW1Y 4JH", "GB")
    form = OrderForm(hold_id, "ada@example.com", address, "sandbox", "tok_ok")
    key = RequestKey(buyer, "k", fingerprint("POST /x", 1))
    await checkout.place_order(shop, buyer_id=buyer, form=form, key=key)
    async with shop.database.connection() as conn:
        row = await (await conn.execute("SELECT id FROM checkout.orders WHERE hold_id = %s", (hold_id,))).fetchone()
    assert row is not None
    return await checkout.find_order(shop, buyer_id=buyer, order_id=row[0])


async def hand_over(shop: Shop, guest: PersonId, person: PersonId) -> None:
    async with shop.database.transaction() as conn:
        await checkout.take_over_purchases(conn, guest, person)


async def broken(shop: Shop) -> dict[str, object]:
    return {result.name: result.rows for result in (await check_books(shop.database, shop.settings)).broken}


async def test_holds_orders_and_answers_become_the_persons(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    person = PersonId(new_id())
    await sell("LAMP", stock=3)
    await sell("VASE", stock=3, drop_in_s=-1)
    ordered = await buy(shop, buyer, (await hold(shop, buyer, "VASE", "vase-drop")).id)
    live = await hold(shop, buyer, "LAMP")
    await hand_over(shop, buyer, person)
    assert (await checkout.find_order(shop, buyer_id=person, order_id=ordered.id)).id == ordered.id
    with pytest.raises(NotFound):
        await checkout.find_order(shop, buyer_id=buyer, order_id=ordered.id)
    assert (await checkout.find_hold(shop, buyer_id=person, hold_id=live.id)).id == live.id
    with pytest.raises(checkout.LimitReached):
        await hold(shop, person, "VASE", "vase-drop")
    assert await broken(shop) == {}


async def test_a_limit_that_the_person_used_keeps_the_hold_with_the_guest(
    shop: Shop, sell: Stock, buyer: PersonId
) -> None:
    person = PersonId(new_id())
    await sell("VASE", stock=3, drop_in_s=-1)
    await buy(shop, person, (await hold(shop, person, "VASE", "vase-drop")).id)
    kept = await hold(shop, buyer, "VASE", "vase-drop")
    await hand_over(shop, buyer, person)
    assert (await checkout.find_hold(shop, buyer_id=buyer, hold_id=kept.id)).id == kept.id
    assert await broken(shop) == {}


async def test_it_waits_for_a_payment_that_settles_instead_of_blocking_it(
    shop: Shop, sell: Stock, buyer: PersonId
) -> None:
    """Whoever settles a payment locks the order, then its hold, then the buyer's limit: so must this."""
    person = PersonId(new_id())
    await sell("VASE", stock=3, drop_in_s=-1)
    ordered = await buy(shop, buyer, (await hold(shop, buyer, "VASE", "vase-drop")).id)
    async with shop.database.transaction() as conn:
        await conn.execute("SELECT 1 FROM checkout.orders WHERE id = %s FOR NO KEY UPDATE", (ordered.id,))
        moving = asyncio.create_task(hand_over(shop, buyer, person))
        await eventually(lambda: somebody_waits(shop))
        await conn.execute("SELECT 1 FROM inventory.holds WHERE buyer_id = %s FOR NO KEY UPDATE", (buyer,))
        await conn.execute(
            "SELECT 1 FROM inventory.buyer_limits WHERE buyer_id = %s FOR NO KEY UPDATE NOWAIT", (buyer,)
        )
    await moving
    assert (await checkout.find_order(shop, buyer_id=person, order_id=ordered.id)).id == ordered.id
    assert await broken(shop) == {}


async def test_nobody_counts_holds_while_two_buyers_become_one(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    """A person who has as many holds as one buyer may have does not get one more by signing in meanwhile."""
    person = PersonId(new_id())
    await sell("LAMP", stock=100)
    for _ in range(shop.settings.holds.max_live_per_buyer):
        await hold(shop, buyer, "LAMP")
    async with shop.database.transaction() as conn:
        await checkout.take_over_purchases(conn, buyer, person)
        holding = asyncio.create_task(hold(shop, person, "LAMP"))
        await eventually(lambda: somebody_waits(shop))
    with pytest.raises(checkout.LimitReached):
        await holding
    assert await broken(shop) == {}


async def somebody_waits(shop: Shop) -> bool:
    async with shop.database.connection() as conn:
        rows = await conn.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool((await rows.fetchone() or (0,))[0])


async def test_an_order_that_is_only_in_its_key_keeps_everything_with_the_guest(
    shop: Shop, sell: Stock, buyer: PersonId
) -> None:
    """Its batch commits after the handover has looked for requests, and while it waits for the hold."""
    await sell("LAMP", stock=3)
    person, held = PersonId(new_id()), await hold(shop, buyer, "LAMP")
    async with shop.database.transaction() as conn:
        key = RequestKey(buyer, "k", fingerprint("POST /x", 1))
        [started] = await settle_orders(conn, [OrderWish(buyer, form(held.id), key)], desk=shop.desk)
        moving = asyncio.create_task(hand_over(shop, buyer, person))
        await eventually(lambda: so_many_wait(shop.database, 1))
    await moving
    assert isinstance(started, Started)
    assert await broken(shop) == {}
    paid = await charge(shop, started)
    assert isinstance(paid, OrderView)
    assert (paid.state, paid.buyer_id) == (OrderState.PAID, buyer)
    with pytest.raises(NotFound):
        await checkout.find_order(shop, buyer_id=person, order_id=paid.id)
    assert await broken(shop) == {}


async def test_no_key_that_is_pending_is_forgotten(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    await sell("LAMP", stock=3)
    person = PersonId(new_id())
    await checkout.purchase(shop, wish(person, key="k"))
    await shop.batches.purchases.submit(wish(buyer, key="k"))
    async with shop.database.transaction() as conn:
        await move_keys(conn, before=buyer, after=person)
    pending = "SELECT buyer_id FROM platform.idempotency_keys WHERE pending_sealed IS NOT NULL"
    assert await rows(shop.database, pending) == [buyer]
    assert await broken(shop) == {}
