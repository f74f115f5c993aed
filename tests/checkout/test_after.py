"""After the payment: money back in parts, orders cancelled, parcels sent; and the books agree."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from tests.checkout.conftest import Stock
from tests.checkout.test_purchase import events, hold, order, stock
from tidegate import checkout
from tidegate.checkout import Actor, LinePart, OrderState, OrderView, Parcel, Shop
from tidegate.checkout.history import note
from tidegate.checkout.shipments import MAX_PARCELS
from tidegate.ops.books import check_books
from tidegate.platform.ids import PersonId, new_id
from tidegate.platform.money import Money
from tidegate.platform.problems import KeyReused, NotFound

pytestmark = pytest.mark.anyio

STAFF = Actor(PersonId(new_id()), "staff")


async def paid(shop: Shop, sell: Stock, buyer: PersonId, quantity: int = 2) -> OrderView:
    await sell("LAMP", stock=5, price=1000)
    return await order(shop, buyer, (await hold(shop, buyer, quantity=quantity)).id)


async def state(shop: Shop, placed: OrderView) -> OrderState:
    return (await checkout.find_aftermath(shop, order_id=placed.id))[0].state


async def given_back(shop: Shop, placed: OrderView) -> int:
    """What the provider says that it gave back, in minor units."""
    async with shop.database.connection() as conn:
        row = await (
            await conn.execute(
                "SELECT sum(refunded)::bigint FROM payments.sandbox_payments WHERE reference LIKE %s",
                (f"{placed.id}.%",),
            )
        ).fetchone()
    assert row is not None
    return int(row[0] or 0)


async def assert_books(shop: Shop) -> None:
    assert (await check_books(shop.database, shop.settings)).broken == ()


async def test_parts_are_given_back_until_nothing_is_left(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    placed = await paid(shop, sell, buyer)
    await checkout.give_back(shop, order_id=placed.id, by=STAFF, key="a", amount=Money(1000, "GBP"))
    await checkout.give_back(shop, order_id=placed.id, by=STAFF, key="a", amount=Money(1000, "GBP"))
    assert (await state(shop, placed), await given_back(shop, placed)) == (OrderState.PAID, 1000)
    with pytest.raises(KeyReused):
        await checkout.give_back(shop, order_id=placed.id, by=STAFF, key="a", amount=Money(1, "GBP"))
    with pytest.raises(checkout.NotRefundable):
        await checkout.give_back(shop, order_id=placed.id, by=STAFF, key="b", amount=Money(1001, "GBP"))
    await checkout.give_back(shop, order_id=placed.id, by=STAFF, key="c")
    assert (await state(shop, placed), await given_back(shop, placed)) == (OrderState.REFUNDED, 2000)
    assert await events(shop, placed.id) == ["order.paid", "order.partly_refunded", "order.refunded"]
    await assert_books(shop)


async def test_many_refunds_at_once_give_back_no_more_than_was_paid(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    placed = await paid(shop, sell, buyer)
    done = await asyncio.gather(
        *(
            checkout.give_back(shop, order_id=placed.id, by=STAFF, key=str(n), amount=Money(700, "GBP"))
            for n in range(5)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(each, checkout.NotRefundable) for each in done) == 3
    assert await given_back(shop, placed) == 1400
    await assert_books(shop)


async def test_lines_given_back_return_to_the_shelf(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    variant = await sell("VASE", stock=3, price=500)
    placed = await order(shop, buyer, (await hold(shop, buyer, "VASE", 3)).id)
    one = (LinePart(1, 1),)
    await checkout.give_back(shop, order_id=placed.id, by=STAFF, key="a", parts=one, restock=True)
    await checkout.give_back(shop, order_id=placed.id, by=STAFF, key="b", parts=one)
    assert await stock(shop, variant) == (1, 0, 2)
    with pytest.raises(checkout.NotRefundable):
        await checkout.give_back(shop, order_id=placed.id, by=STAFF, key="c", parts=(LinePart(1, 2),))
    await assert_books(shop)
    await checkout.cancel(shop, order_id=placed.id, by=STAFF)
    assert (await stock(shop, variant), await given_back(shop, placed)) == ((3, 0, 0), 1500)
    await assert_books(shop)


async def test_a_paid_order_is_cancelled_as_a_whole_and_once(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    variant = await sell("NOW", stock=2, price=300, drop_in_s=-1, per_buyer=2)
    placed = await order(shop, buyer, (await hold(shop, buyer, "NOW", 2)).id)
    with pytest.raises(NotFound):
        await checkout.cancel(shop, order_id=placed.id, by=Actor(PersonId(new_id()), "buyer"))
    await asyncio.gather(*(checkout.cancel(shop, order_id=placed.id, by=Actor(buyer, "buyer")) for _ in range(4)))
    assert (await state(shop, placed), await given_back(shop, placed)) == (OrderState.REFUNDED, 600)
    assert await stock(shop, variant) == (2, 0, 0)
    assert await events(shop, placed.id) == ["order.paid", "order.refunded"]
    await hold(shop, buyer, "NOW", 2)
    await assert_books(shop)


async def test_an_unpaid_order_is_cancelled_at_the_provider_first(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    variant = await sell("LAMP", stock=1)
    placed = await order(shop, buyer, (await hold(shop, buyer)).id, "hosted")
    assert placed.state is OrderState.AWAITING_PAYMENT
    await checkout.cancel(shop, order_id=placed.id, by=Actor(buyer, "buyer"))
    assert (await state(shop, placed), await stock(shop, variant)) == (OrderState.CANCELLED, (1, 0, 0))
    await assert_books(shop)


async def test_parcels_fulfil_an_order_and_can_be_taken_back(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    placed = await paid(shop, sell, buyer)
    first = Parcel(uuid4(), "ups", "1Z 9", parts=(LinePart(1, 1),))
    for _ in range(2):
        await checkout.send(shop, order_id=placed.id, parcel=first, by=STAFF)
    assert await state(shop, placed) is OrderState.PAID
    with pytest.raises(checkout.NotCancellable):
        await checkout.cancel(shop, order_id=placed.id, by=STAFF)
    with pytest.raises(checkout.NotSendable):
        await checkout.send(
            shop, order_id=placed.id, parcel=Parcel(uuid4(), "ups", "2", parts=(LinePart(1, 2),)), by=STAFF
        )
    rest = Parcel(uuid4(), "Our own van", "")
    await checkout.send(shop, order_id=placed.id, parcel=rest, by=STAFF)
    _, after = await checkout.find_aftermath(shop, order_id=placed.id)
    assert after.shipments[0].tracking_url == "https://www.ups.com/track?tracknum=1Z%209"
    assert await state(shop, placed) is OrderState.FULFILLED
    await checkout.undo_send(shop, order_id=placed.id, shipment_id=rest.id, by=STAFF)
    undone, later = await checkout.find_aftermath(shop, order_id=placed.id)
    assert (undone.state, later.paid_at) == (OrderState.PAID, after.paid_at), "it was paid when it was paid"
    assert await events(shop, placed.id) == ["order.paid", "order.sent", "order.sent"]
    await assert_books(shop)


async def test_many_parcels_are_counted_to_the_last_and_then_refused(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    placed = await paid(shop, sell, buyer)
    async with shop.database.transaction() as conn:
        for n in range(MAX_PARCELS - 1):
            await conn.execute(
                "WITH made AS (INSERT INTO checkout.shipments (id, order_id, carrier, tracking_number, tracking_url,"
                " sent_at, undone_at) VALUES (%s, %s, 'UPS', '', '', now() - interval '1 day', now()) RETURNING id)"
                " INSERT INTO checkout.shipment_lines (shipment_id, line_no, quantity) SELECT id, 1, 1 FROM made",
                (uuid4(), placed.id),
            )
            await note(conn, placed.id, "sent", STAFF, number=n)
        await note(conn, placed.id, "sending_undone", STAFF)
    one = (LinePart(1, 1),)
    await checkout.send(shop, order_id=placed.id, parcel=Parcel(uuid4(), "ups", "1", parts=one), by=STAFF)
    _, after = await checkout.find_aftermath(shop, order_id=placed.id)
    assert after.parts_left == one
    assert [each.what for each in after.history[-2:]] == ["sending_undone", "sent"], "the newest are shown, in order"
    with pytest.raises(checkout.NotSendable):
        await checkout.send(shop, order_id=placed.id, parcel=Parcel(uuid4(), "ups", "2", parts=one), by=STAFF)
    await assert_books(shop)


async def test_sent_or_cancelled_but_never_both(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    placed = await paid(shop, sell, buyer)
    parcel = Parcel(uuid4(), "dhl", "7")
    outcomes = await asyncio.gather(
        checkout.send(shop, order_id=placed.id, parcel=parcel, by=STAFF),
        checkout.cancel(shop, order_id=placed.id, by=Actor(buyer, "buyer")),
        return_exceptions=True,
    )
    assert sum(each is None for each in outcomes) == 1
    await assert_books(shop)
