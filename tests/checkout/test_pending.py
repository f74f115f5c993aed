"""Orders that are pending: written once, by whoever comes to them first."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace as altered
from psycopg.errors import CheckViolation

from tests.catalog.makers import a_voucher
from tests.checkout.conftest import Stock
from tests.checkout.rates import the_rates
from tests.checkout.test_purchase import form, hold, key
from tests.checkout.test_purchasing import answered, buy, events, rows, so_many_wait, states, stock, wish
from tests.waiting import eventually
from tidegate import checkout, payments
from tidegate.checkout import Address, OrderState, OrderView, Shop
from tidegate.checkout.cancelling import cancel
from tidegate.checkout.contracts import Actor, BoughtLine, Charges, ShippingChosen, TaxLine
from tidegate.checkout.ordering import OrderWish, Started, charge
from tidegate.checkout.orders import Order
from tidegate.checkout.pending import (
    PendingGone,
    PendingOrder,
    is_race,
    open_pending,
    seal_pending,
    take_up,
    write_found,
    write_pending,
)
from tidegate.checkout.settlement import Settlement, settle, settle_answers
from tidegate.checkout.upkeep import take_up_once
from tidegate.ops.books import check_books
from tidegate.ops.demo import remove_demo
from tidegate.payments.contracts import Answer, ChargeIntent, ChargeRef, ChargeState, Notice
from tidegate.platform.database import Database
from tidegate.platform.idempotency import StoredAnswer
from tidegate.platform.ids import HoldId, OrderId, PersonId, VariantId, new_id
from tidegate.platform.money import Money
from tidegate.platform.problems import NotFound
from tidegate.platform.sealing import SealBroken
from tidegate.platform.set_aside import SetAside

pytestmark = pytest.mark.anyio

PENDING = "SELECT subject_id FROM platform.idempotency_keys WHERE pending_sealed IS NOT NULL"


def hurried(shop: Shop) -> Shop:
    """A shop whose upkeep waits for nothing."""
    quick = shop.settings.payments.model_copy(update={"reconcile_after_s": 0})
    return replace(shop, settings=shop.settings.model_copy(update={"payments": quick}))


async def begun(shop: Shop, buyer: PersonId, name: str = "k") -> Started:
    """A purchase whose provider is about to be asked, as a process that dies then leaves it."""
    started = await shop.batches.purchases.submit(wish(buyer, key=name))
    assert isinstance(started, Started)
    return started


def captured(started: Started) -> Answer:
    return Answer(ChargeState.CAPTURED, started.intent.ref.key)


async def assert_books(shop: Shop) -> None:
    assert (await check_books(shop.database, shop.settings)).broken == ()


async def pay(shop: Shop, started: Started) -> None:
    """Its request goes on and pays it."""
    paid = await charge(shop, started)
    assert isinstance(paid, OrderView)
    assert paid.state == OrderState.PAID
    await assert_books(shop)


@pytest.fixture
async def lamp(sell: Stock) -> VariantId:
    return await sell("LAMP", stock=5)


async def test_an_order_that_is_paid_at_once_is_written_once(shop: Shop, lamp: VariantId, buyer: PersonId) -> None:
    bought = await buy(shop, wish(buyer, key="k"))
    held = await hold(shop, buyer)
    await checkout.place_order(shop, buyer_id=buyer, form=form(held.id), key=key(buyer, "order"))
    first_versions = ["(0,1)", "(0,2)"]
    assert await rows(shop.database, "SELECT ctid::text FROM checkout.orders ORDER BY id") == first_versions
    assert await rows(shop.database, "SELECT ctid::text FROM payments.charges ORDER BY order_id") == first_versions
    assert await rows(shop.database, PENDING) == []
    (paid_after_s,) = await rows(
        shop.database, "SELECT extract(epoch FROM paid_at - created_at) FROM checkout.orders WHERE id = %s", bought.id
    )
    assert 0 < paid_after_s < 60
    charged = "SELECT state, provider_ref IS NOT NULL, settled_at > created_at FROM payments.charges"
    async with shop.database.connection() as conn:
        assert await (await conn.execute(charged)).fetchall() == [("captured", True, True)] * 2
    await assert_books(shop)


async def test_until_then_its_key_keeps_it(shop: Shop, lamp: VariantId, buyer: PersonId) -> None:
    started = await begun(shop, buyer)
    assert await states(shop.database) == {}
    assert await rows(shop.database, PENDING) == [started.known.order.id]
    assert await stock(shop.database, lamp) == (4, 1, 0)
    await assert_books(shop)
    paid = await charge(shop, started)
    assert isinstance(paid, OrderView)
    assert (paid.id, paid.state) == (started.known.order.id, OrderState.PAID)
    assert await stock(shop.database, lamp) == (4, 0, 1)
    await assert_books(shop)


@pytest.mark.parametrize(
    ("method", "state"),
    [
        ("tok_declined", OrderState.PAYMENT_FAILED),
        ("hosted", OrderState.AWAITING_PAYMENT),
        ("tok_error_after_charge", OrderState.AWAITING_PAYMENT),
    ],
)
async def test_what_is_not_paid_at_once_is_written_as_it_stands(
    shop: Shop, lamp: VariantId, buyer: PersonId, method: str, state: OrderState
) -> None:
    placed = await buy(shop, wish(buyer, method=method, key="k"))
    assert placed.state == state
    assert await states(shop.database) == {state.value: 1}
    assert await rows(shop.database, PENDING) == []
    await assert_books(shop)


async def test_a_capture_of_another_sum_does_not_pay(shop: Shop, lamp: VariantId, buyer: PersonId) -> None:
    started = await begun(shop, buyer)
    order_id = started.known.order.id
    other = altered(captured(started), total=Money(1, "GBP"))
    view = (await settle(shop, {started.intent.ref: other}))[order_id]
    assert view.state == OrderState.AWAITING_PAYMENT
    assert await rows(shop.database, "SELECT state FROM payments.charges") == ["intent"]


async def test_a_process_that_dies_loses_nothing(shop: Shop, lamp: VariantId, buyer: PersonId) -> None:
    started = await begun(shop, buyer)
    assert await take_up_once(shop) == 0, "its request may still be at it"
    await checkout.reconcile_once(hurried(shop))
    order_id = started.known.order.id
    found = await checkout.find_order(shop, buyer_id=buyer, order_id=order_id)
    assert (found.state, found.number) == (OrderState.PAID, started.known.order.number)
    assert await events(shop.database, order_id) == ["order.paid"]
    assert await rows(shop.database, "SELECT state FROM payments.sandbox_payments") == ["succeeded"]
    assert (await answered(shop, wish(buyer, key="k"))).status == 201
    late = await charge(shop, started)  # it was only slow: it hears what its key was answered
    assert late == await answered(shop, wish(buyer, key="k"))
    assert await stock(shop.database, lamp) == (4, 0, 1)
    assert await events(shop.database, order_id) == ["order.paid"]
    await assert_books(shop)


async def test_a_webhook_may_come_first(shop: Shop, lamp: VariantId, buyer: PersonId) -> None:
    started = await begun(shop, buyer)
    ref = started.intent.ref
    notices = [Notice("sandbox", name, at, captured(started)) for name, at in (("e1", ref), ("e2", stranger()))]
    async with shop.database.transaction() as conn:
        await conn.execute(
            "INSERT INTO payments.webhook_events (provider, event_id, body) SELECT 'sandbox', e, ''"
            " FROM unnest('{e1,e2}'::text[]) AS e"
        )
    told: dict[OrderId, OrderView] = {}
    for notice in notices:
        told |= await settle(shop, {notice.ref: notice.answer}, notices=[notice])
    assert {order_id: view.state for order_id, view in told.items()} == {ref.order_id: OrderState.PAID}
    applied = "SELECT event_id FROM payments.webhook_events WHERE applied_at IS NOT NULL ORDER BY 1"
    assert await rows(shop.database, applied) == ["e1", "e2"], "nobody asks again about an order that is not ours"
    answer = await charge(shop, started)
    assert isinstance(answer, StoredAnswer)
    assert answer == await answered(shop, wish(buyer, key="k"))
    assert await events(shop.database, ref.order_id) == ["order.paid"]
    await assert_books(shop)


def stranger() -> ChargeRef:
    """An attempt at an order that nobody has heard of."""
    return ChargeRef(OrderId(new_id()), 1)


async def test_its_buyer_may_come_first(shop: Shop, lamp: VariantId, buyer: PersonId) -> None:
    started = await begun(shop, buyer)
    order_id = started.known.order.id
    with pytest.raises(NotFound):
        await checkout.find_order(shop, buyer_id=PersonId(new_id()), order_id=order_id)
    found = await checkout.find_order(shop, buyer_id=buyer, order_id=order_id)
    assert (found.state, found.processing) == (OrderState.AWAITING_PAYMENT, True)
    assert await states(shop.database) == {"awaiting_payment": 1}
    await pay(shop, started)


async def test_staff_may_come_first(shop: Shop, lamp: VariantId, buyer: PersonId) -> None:
    started = await begun(shop, buyer)
    order_id = started.known.order.id
    order, _ = await checkout.find_aftermath(shop, order_id=order_id)
    assert (order.id, order.state) == (order_id, OrderState.AWAITING_PAYMENT)
    assert (await checkout.find_placed(shop, order_id=order_id)).number == order.number


async def test_to_pay_again_doubles_nothing(shop: Shop, lamp: VariantId, buyer: PersonId) -> None:
    started = await begun(shop, buyer)
    order_id = started.known.order.id
    again = await checkout.pay_again(shop, buyer_id=buyer, order_id=order_id, provider="sandbox", method="tok_ok")
    assert (again.state, again.processing) == (OrderState.AWAITING_PAYMENT, True)
    assert await rows(shop.database, "SELECT attempt FROM payments.charges") == [1]


async def test_to_cancel_ends_its_payment_first(shop: Shop, lamp: VariantId, buyer: PersonId) -> None:
    started = await begun(shop, buyer)
    order_id = started.known.order.id
    await cancel(shop, order_id=order_id, by=Actor(buyer, "buyer"))
    assert await states(shop.database) == {"cancelled": 1}
    assert await stock(shop.database, lamp) == (5, 0, 0)
    late = await charge(shop, started)
    assert late == await answered(shop, wish(buyer, key="k"))
    assert await rows(shop.database, "SELECT state FROM payments.sandbox_payments WHERE state = 'succeeded'") == []
    await assert_books(shop)


async def test_its_hold_is_not_ordered_twice(shop: Shop, lamp: VariantId, buyer: PersonId) -> None:
    held = await hold(shop, buyer)
    started = await shop.batches.orders.submit(OrderWish(buyer, form(held.id), key(buyer)))
    assert isinstance(started, Started)
    with pytest.raises(checkout.AlreadyOrdered) as refused:
        await checkout.place_order(shop, buyer_id=buyer, form=form(held.id), key=key(buyer, "another"))
    assert refused.value.extra == {"order_id": str(started.known.order.id)}
    await pay(shop, started)


async def test_whoever_was_first_is_waited_for(shop: Shop, lamp: VariantId, buyer: PersonId) -> None:
    """The reconciler has written it and not committed yet, when its request's batch comes to write it."""
    started = await begun(shop, buyer)
    assert started.known.begun is not None
    async with shop.database.transaction() as conn:
        await write_pending(conn, [started.known.begun.pending])
        paying = asyncio.create_task(charge(shop, started))
        await eventually(lambda: so_many_wait(shop.database, 1))
        await conn.execute("UPDATE platform.idempotency_keys SET pending_sealed = NULL")
    paid = await paying
    assert isinstance(paid, OrderView)
    assert paid.state == OrderState.PAID
    assert await events(shop.database, paid.id) == ["order.paid"]
    await assert_books(shop)


async def test_many_come_at_once(shop: Shop, sell: Stock) -> None:
    """Requests, webhooks, buyers and the reconciler, all about the same orders."""
    variant = await sell("LAMP", stock=60)
    buyers = [PersonId(new_id()) for _ in range(40)]
    started = await asyncio.gather(*(begun(shop, each) for each in buyers))
    quick = hurried(shop)
    outcomes = await asyncio.gather(
        *(charge(shop, each) for each in started),
        *(settle(shop, {each.intent.ref: captured(each)}) for each in started[::2]),
        *(take_up(shop.database, [each.known.order.id]) for each in started[::3]),
        *(take_up_once(quick) for _ in range(4)),
        *(
            checkout.find_order(shop, buyer_id=each.known.order.buyer_id, order_id=each.known.order.id)
            for each in started[::5]
        ),
        return_exceptions=True,
    )
    assert [each for each in outcomes if isinstance(each, BaseException)] == []
    assert await states(shop.database) == {"paid": 40}
    assert await stock(shop.database, variant) == (20, 0, 40)
    told = await rows(shop.database, "SELECT payload ->> 'order_id' FROM platform.outbox WHERE topic = 'order.paid'")
    assert sorted(told) == sorted(str(each.known.order.id) for each in started)
    for each in buyers:
        assert (await answered(shop, wish(each, key="k"))).status == 201
    await assert_books(shop)


async def test_one_that_cannot_be_written_keeps_no_others_from_it(shop: Shop, lamp: VariantId) -> None:
    started = [await begun(shop, PersonId(new_id())) for _ in range(3)]
    broken = started[1].known.order.id
    async with shop.database.transaction() as conn:
        await conn.execute("UPDATE platform.idempotency_keys SET pending_sealed = 'x' WHERE subject_id = %s", (broken,))
    aside: SetAside[OrderId] = SetAside("take-up")
    assert await take_up_once(hurried(shop), aside) == 2
    assert aside.ids == [broken]
    assert await rows(shop.database, PENDING) == [broken]
    with pytest.raises(SealBroken):
        await take_up(shop.database, [broken])


async def test_what_was_taken_up_already_is_nothing_to_do(shop: Shop, lamp: VariantId, buyer: PersonId) -> None:
    order_id = (await begun(shop, buyer)).known.order.id
    assert await write_found(shop.database, [order_id]) == 1
    assert await write_found(shop.database, [order_id]) == 0
    assert await take_up(shop.database, [order_id, OrderId(new_id())]) == 0


async def test_two_may_write_one(database: Database, shop: Shop, lamp: VariantId, buyer: PersonId) -> None:
    started = await begun(shop, buyer)
    assert started.known.begun is not None
    async with database.transaction() as conn:
        await write_pending(conn, [started.known.begun.pending])
        second = asyncio.create_task(write_found(database, [started.known.order.id]))
        await eventually(lambda: so_many_wait(database, 1))
    assert await second == 0


async def test_all_of_it_is_kept_and_sealed(shop: Shop) -> None:
    address = Address('Zoë "Z" 松本', "1 Straße", "København", "1000", "DK", "Hovedstaden", "+45 1")
    order_id, currency = OrderId(new_id()), "DKK"
    order = Order(
        id=order_id,
        number="7K2M-Q0XD",
        buyer_id=PersonId(new_id()),
        hold_id=HoldId(new_id()),
        state=OrderState.AWAITING_PAYMENT,
        total=Money(10**12, currency),
        discount=Money(3, currency),
        email="zoë@example.com",
        address=address,
        pay_until=datetime(2026, 11, 27, 23, 59, 59, 999_999, tzinfo=UTC),
        seconds_left=600,
        created_at=datetime(2026, 11, 27, tzinfo=UTC),
        lines=(BoughtLine("A", "Ä, rød", 2, Money(1, currency), "a", "reduced"),),
        charges=Charges(ShippingChosen("post", "Post", Money(4, currency)), (TaxLine("Moms", 2500, 8, 2),), False),
        billing=altered(address, name="Someone Else"),
    )
    intent = ChargeIntent(ChargeRef(order_id, 1), "sandbox", "hosted", order.total, "http://x/?a=ø", order.number)
    pending = PendingOrder(order, (VariantId(new_id()),), intent)
    sealed = seal_pending(pending)
    assert open_pending(sealed) == pending
    assert b"example.com" not in sealed
    with pytest.raises(SealBroken):
        open_pending(sealed[:-1] + bytes([sealed[-1] ^ 1]))


def test_names_of_the_constraint_that_says_who_was_first() -> None:
    assert is_race("orders_2026_11_pkey")
    assert not is_race("orders_2026_11_buyer_id_id_idx")
    assert not is_race("order_lines_2026_11_pkey")


async def test_without_a_key_it_is_written_before_anybody_is_asked(
    shop: Shop, lamp: VariantId, buyer: PersonId
) -> None:
    started = await shop.batches.purchases.submit(wish(buyer))
    assert isinstance(started, Started)
    assert await states(shop.database) == {"awaiting_payment": 1}
    async with shop.database.connection() as conn:
        charges = await payments.load_charges(conn, order_ids=[started.known.order.id])
    assert [each.state for each in charges[started.known.order.id]] == [ChargeState.INTENT]
    await pay(shop, started)


async def test_one_batch_has_answers_of_all_kinds(shop: Shop, sell: Stock) -> None:
    """Paid, paid and taken up before, declined, unsure, for another sum; and a webhook beside its own request."""
    variant = await sell("LAMP", stock=20)
    started = [await begun(shop, PersonId(new_id())) for _ in range(6)]
    await take_up(shop.database, [started[1].known.order.id])
    answers = [
        captured(started[0]),
        captured(started[1]),
        Answer(ChargeState.FAILED, "", failure="card_declined"),
        Answer(ChargeState.INTENT, ""),
        altered(captured(started[4]), total=Money(1, "GBP")),
        Answer(ChargeState.INTENT, ""),
    ]
    both = zip(started, answers, strict=True)
    asked = [Settlement(each.intent.ref, answer, known=each.known) for each, answer in both]
    webhook = Settlement(started[5].intent.ref, captured(started[5]))
    for each in started:
        assert each.known.begun is not None
        each.known.begun.tried = True  # as after a batch that was broken off
    async with shop.database.transaction() as conn:
        told = await settle_answers(conn, [webhook, *asked], desk=shop.desk)
    assert told[0] is None, "its order was not written yet"
    stand = [each.state if isinstance(each, OrderView) else each for each in told[1:]]
    waiting = OrderState.AWAITING_PAYMENT
    assert stand == [OrderState.PAID, OrderState.PAID, OrderState.PAYMENT_FAILED, waiting, waiting, waiting]
    assert await stock(shop.database, variant) == (14, 4, 2)
    assert (await settle(shop, {webhook.ref: webhook.answer}))[webhook.ref.order_id].state == OrderState.PAID
    assert await stock(shop.database, variant) == (14, 3, 3)
    assert await rows(shop.database, PENDING) == []
    await assert_books(shop)


async def test_one_batch_locks_all_holds_in_one_order(shop: Shop, lamp: VariantId) -> None:
    """Whoever waits for the first has none of the others: a batch of orders takes them in that order, too."""
    started = sorted([await begun(shop, PersonId(new_id())) for _ in range(2)], key=lambda each: each.known.hold.id)
    first, second = (each.known.hold.id for each in started)
    await take_up(shop.database, [started[1].known.order.id])
    asked = [Settlement(each.intent.ref, captured(each), known=each.known) for each in started]
    for each in asked:
        assert each.known is not None
        assert each.known.begun is not None
        each.known.begun.tried = True
    free = "SELECT id FROM inventory.holds WHERE id = %s FOR UPDATE SKIP LOCKED"

    async def settling() -> None:
        async with shop.database.transaction() as conn:
            await settle_answers(conn, asked, desk=shop.desk)

    async with shop.database.transaction() as conn:
        await conn.execute(free, (first,))
        batch = asyncio.create_task(settling())
        await eventually(lambda: so_many_wait(shop.database, 1))
        assert await rows(shop.database, free, second) == [second]
    await batch
    assert await states(shop.database) == {"paid": 2}


async def test_one_that_cannot_be_settled_spoils_no_other(shop: Shop, sell: Stock) -> None:
    """The batch is settled in halves, by requests that have been tried before."""
    variant = await sell("LAMP", stock=20)
    started = [await begun(shop, PersonId(new_id())) for _ in range(5)]
    broken = altered(captured(started[2]), provider_ref="x" * 300)
    answers = [broken if each is started[2] else captured(each) for each in started]
    told = await asyncio.gather(
        *(
            shop.batches.settlements.submit(Settlement(each.intent.ref, answer, known=each.known))
            for each, answer in zip(started, answers, strict=True)
        ),
        return_exceptions=True,
    )
    assert isinstance(told[2], CheckViolation)
    assert [each.state for each in told if isinstance(each, OrderView)] == [OrderState.PAID] * 4
    assert await rows(shop.database, PENDING) == [started[2].known.order.id]
    assert await stock(shop.database, variant) == (15, 1, 4)
    await assert_books(shop)


async def test_what_was_removed_does_not_come_back(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    variant = await sell("LAMP", stock=5)
    other = await hold(shop, PersonId(new_id()))
    started = await begun(shop, buyer)
    async with shop.database.transaction() as conn:
        await remove_demo(conn)
    with pytest.raises(PendingGone):
        await charge(shop, started)
    assert await states(shop.database) == {}
    assert await stock(shop.database, variant) == (4, 1, 0)
    assert await rows(shop.database, "SELECT id FROM inventory.holds") == [other.id]
    await assert_books(shop)


async def test_what_is_removed_while_it_is_taken_up_stays_removed(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    await sell("LAMP", stock=5)
    order_id = (await begun(shop, buyer)).known.order.id
    other_id = (await begun(shop, PersonId(new_id()))).known.order.id
    async with shop.database.transaction() as conn:
        await conn.execute("DELETE FROM platform.idempotency_keys WHERE subject_id = %s", (order_id,))
        one = asyncio.create_task(write_found(shop.database, [order_id]))
        several = asyncio.create_task(write_found(shop.database, [order_id, other_id]))
        await eventually(lambda: so_many_wait(shop.database, 2))
    assert await one == 0
    with pytest.raises(PendingGone):
        await several
    assert await states(shop.database) == {}


async def test_its_buyer_finds_it_in_the_list(shop: Shop, lamp: VariantId, buyer: PersonId) -> None:
    started = await begun(shop, buyer)
    await begun(shop, PersonId(new_id()))
    page = await checkout.list_own_orders(shop, buyer_id=buyer, before=None, limit=5)
    assert [(each.id, each.state) for each in page.orders] == [(started.known.order.id, OrderState.AWAITING_PAYMENT)]
    assert len(await rows(shop.database, PENDING)) == 1, "others' are left alone"
    assert (await checkout.list_own_orders(shop, buyer_id=PersonId(new_id()), before=None, limit=5)).orders == ()


async def test_codes_limits_taxes_and_delivery_are_kept(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    await sell("NOW", stock=5, price=1000, drop_in_s=-1, per_buyer=2)
    await the_rates(shop.database)
    await a_voucher(shop.database, "TENOFF", total=5, per_buyer=1)
    wanted = altered(wish(buyer, ("NOW", 2), key="k"), code="TENOFF")
    started = await shop.batches.purchases.submit(wanted)
    assert isinstance(started, Started)
    assert await take_up(shop.database, [started.known.order.id]) == 1
    found = await checkout.find_order(shop, buyer_id=buyer, order_id=started.known.order.id)
    order = started.known.order
    assert (found.total, found.discount, found.charges, found.lines) == (
        order.total,
        order.discount,
        order.charges,
        found.lines,
    )
    assert order.charges.taxes
    assert order.discount.amount > 0
    await assert_books(shop)
    await charge(shop, started)
    assert await states(shop.database) == {"paid": 1}
    await assert_books(shop)
