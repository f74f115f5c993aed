"""A cart: what is in it, at which price, and how it becomes a hold."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.catalog.makers import a_voucher
from tests.checkout.buying import guest, order_body, post, problem
from tests.checkout.conftest import Stock
from tidegate import checkout
from tidegate.catalog import create_drop
from tidegate.checkout import Address, CartLineState, CartShort, CartView, Line, OrderForm, Shop, cart_checkout
from tidegate.checkout.cart_contracts import KeptLine
from tidegate.checkout.cart_rules import merged, without
from tidegate.entrypoints.site import TAKE_OVER
from tidegate.inventory import available, live_holds, set_stock
from tidegate.ops.books import check_books
from tidegate.platform.clock import database_now
from tidegate.platform.database import Database
from tidegate.platform.ids import HoldId, PersonId, VariantId, new_id
from tidegate.platform.money import Money

VARIANTS = [VariantId(new_id()) for _ in range(6)]
KEPT = st.lists(
    st.builds(KeptLine, st.sampled_from(VARIANTS), st.integers(1, 9), st.just(Money(100, "GBP"))),
    unique_by=lambda line: line.variant_id,
)


async def filled(shop: Shop, buyer: PersonId, **quantities: int) -> CartView:
    for sku, quantity in quantities.items():
        await checkout.set_line(shop, person_id=buyer, sku=sku, quantity=quantity)
    return await checkout.view_cart(shop, person_id=buyer)


async def order(shop: Shop, buyer: PersonId, hold_id: HoldId) -> None:
    address = Address("Ada Lovelace", "12 St James's Square", "London", "SW1Y 4JH", "GB")
    form = OrderForm(hold_id, "ada@example.com", address, "sandbox", "tok_ok")
    await checkout.place_order(shop, buyer_id=buyer, form=form)


def quantities(cart: CartView) -> dict[str, int]:
    return {line.sku: line.quantity for line in cart.lines}


@given(KEPT, KEPT, st.integers(1, 6), st.integers(1, 20))
def test_two_carts_become_one_within_bounds(
    mine: list[KeptLine], theirs: list[KeptLine], max_lines: int, max_quantity: int
) -> None:
    lines = merged(mine, theirs, max_lines=max_lines, max_quantity=max_quantity)
    had = {line.variant_id: line.quantity for line in mine}
    came = {line.variant_id: line.quantity for line in theirs}
    assert [line.variant_id for line in lines][: len(mine)] == [line.variant_id for line in mine]
    assert len(lines) == max(len(mine), min(max_lines, len(had | came)))
    for line in lines:
        both = had.get(line.variant_id, 0) + came.get(line.variant_id, 0)
        assert line.quantity == (min(max_quantity, both) if line.variant_id in came else both)


@given(KEPT, KEPT)
def test_what_was_ordered_leaves_and_nothing_else(mine: list[KeptLine], ordered: list[KeptLine]) -> None:
    gone = {line.variant_id: line.quantity for line in ordered}
    left = {line.variant_id: line.quantity for line in without(mine, gone)}
    for line in mine:
        assert left.get(line.variant_id, 0) == max(0, line.quantity - gone.get(line.variant_id, 0))


@pytest.mark.anyio
class TestCart:
    """On a real database."""

    async def test_prices_and_stock_are_todays(
        self, shop: Shop, sell: Stock, buyer: PersonId, database: Database
    ) -> None:
        lamp, vase = await sell("LAMP", stock=5, price=1000), await sell("VASE", stock=2, price=500)
        cart = await filled(shop, buyer, LAMP=2, VASE=2)
        assert (cart.goods, cart.ready, cart.items) == (Money(3000, "GBP"), True, 4)
        async with database.transaction() as conn:
            await conn.execute("UPDATE catalog.prices SET amount = 1200 WHERE variant_id = %s", (lamp,))
            await set_stock(conn, levels={vase: 1})
        cart = await checkout.view_cart(shop, person_id=buyer)
        assert [(line.before, line.state, line.left) for line in cart.lines] == [
            (Money(1000, "GBP"), CartLineState.READY, 5),
            (None, CartLineState.SHORT, 1),
        ]
        assert cart.goods == Money(3400, "GBP")
        with pytest.raises(CartShort):
            await checkout.check_out(shop, person_id=buyer, guest=False)
        assert quantities(await checkout.view_cart(shop, person_id=buyer)) == {"LAMP": 2, "VASE": 2}
        cart = await filled(shop, buyer, LAMP=3, VASE=0)
        assert [(line.before, line.quantity) for line in cart.lines] == [(None, 3)]

    async def test_what_is_put_away_is_told_and_can_be_taken_out(
        self, shop: Shop, sell: Stock, buyer: PersonId, database: Database
    ) -> None:
        await sell("LAMP", stock=5)
        await filled(shop, buyer, LAMP=2)
        async with database.transaction() as conn:
            await conn.execute("UPDATE catalog.products SET status = 'archived'")
        cart = await checkout.view_cart(shop, person_id=buyer)
        assert (cart.lines[0].state, cart.goods.amount, cart.ready) == (CartLineState.GONE, 0, False)
        assert (await filled(shop, buyer, LAMP=0)).lines == ()

    async def test_bounds_are_kept(self, shop: Shop, sell: Stock, buyer: PersonId) -> None:
        await sell("LAMP", stock=500)
        await sell("DROP", stock=5, drop_in_s=-1)
        most = shop.settings.holds.max_quantity
        await checkout.add_to_cart(shop, person_id=buyer, sku="LAMP", quantity=most)
        for sku, quantity in (("LAMP", 1), ("LAMP", -3), ("DROP", 1)):
            with pytest.raises(checkout.CartProblem):
                await checkout.add_to_cart(shop, person_id=buyer, sku=sku, quantity=quantity)
        with pytest.raises(checkout.UnknownSku):
            await checkout.add_to_cart(shop, person_id=buyer, sku="NOTHING", quantity=1)
        assert quantities(await checkout.view_cart(shop, person_id=buyer)) == {"LAMP": most}

    async def test_a_cart_has_room_for_so_many_things(self, shop: Shop, sell: Stock, buyer: PersonId) -> None:
        most = shop.settings.holds.max_lines
        for number in range(most + 1):
            await sell(f"S{number}", stock=1)
        async with asyncio.TaskGroup() as group:
            for number in range(most):
                group.create_task(checkout.add_to_cart(shop, person_id=buyer, sku=f"S{number}", quantity=1))
        with pytest.raises(checkout.CartProblem):
            await checkout.add_to_cart(shop, person_id=buyer, sku=f"S{most}", quantity=1)

    async def test_adding_at_once_adds_up(self, shop: Shop, sell: Stock, buyer: PersonId) -> None:
        await sell("LAMP", stock=5)
        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(checkout.add_to_cart(shop, person_id=buyer, sku="LAMP", quantity=2))
        assert quantities(await checkout.view_cart(shop, person_id=buyer)) == {"LAMP": 16}

    async def test_a_checkout_holds_all_once_and_its_order_empties_the_cart(
        self, shop: Shop, sell: Stock, buyer: PersonId, database: Database
    ) -> None:
        lamp, vase = await sell("LAMP", stock=2), await sell("VASE", stock=3)
        await filled(shop, buyer, LAMP=2, VASE=1)
        first, again = await asyncio.gather(*(checkout.check_out(shop, person_id=buyer, guest=False) for _ in range(2)))
        assert first.id == again.id
        assert {line.sku: line.quantity for line in first.lines} == {"LAMP": 2, "VASE": 1}
        cart = await filled(shop, buyer, VASE=2)
        assert cart.ready, "what the cart's own hold keeps is not missing"
        second = await checkout.check_out(shop, person_id=buyer, guest=False)
        assert second.id != first.id
        async with database.connection() as conn:
            assert await available(conn, variant_ids=[lamp, vase]) == {lamp: 0, vase: 1}
        await order(shop, buyer, second.id)
        assert (await checkout.view_cart(shop, person_id=buyer)).lines == ()
        assert (await check_books(shop.database, shop.settings)).broken == ()

    async def test_a_drop_that_starts_during_the_checkout_is_for_accounts(
        self, shop: Shop, sell: Stock, buyer: PersonId, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await sell("LAMP", stock=5)
        await filled(shop, buyer, LAMP=1)

        async def view_then_start(shop: Shop, *, person_id: PersonId) -> CartView:
            cart = await checkout.view_cart(shop, person_id=person_id)
            assert cart.ready
            async with database.transaction() as conn:
                opens_at = await database_now(conn) - timedelta(seconds=1)
                await create_drop(
                    conn, slug="lamp-drop", title="", sku="LAMP", quantity=5, opens_at=opens_at, per_buyer=1
                )
            return cart

        monkeypatch.setattr(cart_checkout, "view_cart", view_then_start)
        with pytest.raises(CartShort):
            await checkout.check_out(shop, person_id=buyer, guest=True)
        async with database.connection() as conn:
            assert await live_holds(conn, buyer_id=buyer) == []
        assert quantities(await checkout.view_cart(shop, person_id=buyer)) == {"LAMP": 1}

    async def test_what_came_after_the_checkout_stays(self, shop: Shop, sell: Stock, buyer: PersonId) -> None:
        await sell("LAMP", stock=9)
        await sell("VASE", stock=3)
        await filled(shop, buyer, LAMP=2)
        hold = await checkout.check_out(shop, person_id=buyer, guest=False)
        await filled(shop, buyer, LAMP=5, VASE=1)
        await order(shop, buyer, hold.id)
        assert quantities(await checkout.view_cart(shop, person_id=buyer)) == {"LAMP": 3, "VASE": 1}

    async def test_a_code_is_kept_and_redeemed(
        self, shop: Shop, sell: Stock, buyer: PersonId, database: Database
    ) -> None:
        await sell("LAMP", stock=9, price=1000)
        await a_voucher(database, "TEN", percent_off=10)
        await filled(shop, buyer, LAMP=2)
        cart = await checkout.keep_code(shop, person_id=buyer, code="ten")
        assert (cart.code, cart.discount, cart.total) == ("TEN", Money(200, "GBP"), Money(1800, "GBP"))
        with pytest.raises(checkout.CodeUnknown):
            await checkout.keep_code(shop, person_id=buyer, code="nothing")
        hold = await checkout.check_out(shop, person_id=buyer, guest=False)
        assert (hold.discount, hold.total) == (Money(200, "GBP"), Money(1800, "GBP"))
        async with database.transaction() as conn:
            await conn.execute("UPDATE catalog.vouchers SET closed_at = clock_timestamp()")
        cart = await checkout.view_cart(shop, person_id=buyer)
        assert (cart.code, cart.discount.amount, bool(cart.code_problem)) == ("TEN", 0, True)

    async def test_a_guests_cart_becomes_the_persons(
        self, shop: Shop, sell: Stock, buyer: PersonId, database: Database
    ) -> None:
        assert checkout.take_over_cart in TAKE_OVER
        person, most = PersonId(new_id()), shop.settings.holds.max_quantity
        for sku in ("LAMP", "VASE", "BOX"):
            await sell(sku, stock=9)
        await filled(shop, person, LAMP=1, BOX=most)
        await filled(shop, buyer, LAMP=2, VASE=1, BOX=3)
        hold = await checkout.open_hold(shop, buyer_id=buyer, lines=[Line("VASE", 1)], guest=False)
        async with database.transaction() as conn:
            await conn.execute("UPDATE checkout.carts SET hold_id = %s WHERE person_id = %s", (hold.id, buyer))
        async with database.transaction() as conn:
            for take_over in TAKE_OVER:
                await take_over(conn, buyer, person)
        assert quantities(await checkout.view_cart(shop, person_id=person)) == {"LAMP": 3, "BOX": most, "VASE": 1}
        assert (await checkout.view_cart(shop, person_id=buyer)).lines == ()
        await order(shop, person, hold.id)
        assert quantities(await checkout.view_cart(shop, person_id=person)) == {"LAMP": 3, "BOX": most}

    async def test_old_carts_leave_in_bounded_batches(self, shop: Shop, sell: Stock, database: Database) -> None:
        await sell("LAMP", stock=9)
        people = [PersonId(new_id()) for _ in range(4)]
        for person in people:
            await filled(shop, person, LAMP=1)
        async with database.transaction() as conn:
            await conn.execute(
                "UPDATE checkout.carts SET updated_at = updated_at - interval '91 days' WHERE person_id = ANY(%s)",
                (people[:3],),
            )
        removed = []
        for _ in range(3):
            async with database.transaction() as conn:
                removed.append(await checkout.delete_old_carts(conn, keep_days=90, limit=2))
        assert removed == [2, 1, 0]
        assert quantities(await checkout.view_cart(shop, person_id=people[3])) == {"LAMP": 1}

    async def test_erased_people_and_goods_leave_the_carts(
        self, shop: Shop, sell: Stock, buyer: PersonId, database: Database
    ) -> None:
        other = PersonId(new_id())
        lamp = await sell("LAMP", stock=9)
        await sell("VASE", stock=9)
        await filled(shop, buyer, LAMP=1)
        await filled(shop, other, LAMP=1, VASE=1)
        async with database.transaction() as conn:
            await checkout.forget_buyers(conn, people=[buyer])
            await checkout.forget_variants(conn, variant_ids=[lamp])
        assert (await checkout.view_cart(shop, person_id=buyer)).lines == ()
        assert quantities(await checkout.view_cart(shop, person_id=other)) == {"VASE": 1}

    async def test_the_api(self, site: httpx.AsyncClient, sell: Stock) -> None:
        await sell("LAMP", stock=1, price=1000)
        who, other = await guest(site), await guest(site)
        line = {"sku": "LAMP", "quantity": 2}
        await site.put("/api/v1/cart/lines", json=line, headers=who)
        answer = await site.put("/api/v1/cart/lines", json=line, headers=who)
        body = answer.json()
        assert (answer.status_code, body["items"], body["total"]["amount"], body["ready"]) == (200, 2, 2000, False)
        assert (body["lines"][0]["state"], body["lines"][0]["left"]) == ("short", 1)
        assert (await site.get("/api/v1/cart", headers=other)).json()["lines"] == []
        assert problem(await site.get("/api/v1/cart"))[0] == 401
        refused = await site.put("/api/v1/cart/lines", json=line | {"quantity": 5000}, headers=who)
        assert problem(refused) == (422, "cart-refuses")
        refused = await site.put("/api/v1/cart/code", json={"code": "NOPE"}, headers=who)
        assert problem(refused) == (422, "code-unknown")
        assert (await site.delete("/api/v1/cart", headers=who)).status_code == 204
        assert (await site.get("/api/v1/cart", headers=who)).json()["items"] == 0
        hold = await post(site, "/api/v1/holds", {"lines": [line | {"quantity": 1}]}, who)
        assert (await post(site, "/api/v1/orders", order_body(hold.json()["id"]), who)).status_code == 201
