"""Express purchases through the use case: paid, declined, unsure, sold out, repeated, crowded, cut off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as altered
from prometheus_client import REGISTRY

from tests.checkout.conftest import Stock
from tests.waiting import eventually
from tidegate import checkout, inventory
from tidegate.checkout import Address, Line, OrderForm, OrderState, OrderView, PurchaseWish, Replay, Shop, open_shop
from tidegate.checkout.documents import order_document
from tidegate.checkout.ordering import answer_with
from tidegate.payments import make_providers
from tidegate.platform.database import Database
from tidegate.platform.idempotency import RequestKey, StoredAnswer, fingerprint
from tidegate.platform.ids import OrderId, PersonId, VariantId, new_id
from tidegate.platform.problems import KeyReused, Overloaded
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

ADDRESS = Address("Ada Lovelace", "12 St James's Square", "London", "SW1Y 4JH", "GB")


def wish(
    buyer: PersonId, *lines: tuple[str, int], method: str = "tok_ok", key: str | None = None, body: object = 1
) -> PurchaseWish:
    return PurchaseWish(
        buyer_id=buyer,
        lines=tuple(Line(sku, quantity) for sku, quantity in lines or (("LAMP", 1),)),
        key=None if key is None else RequestKey(buyer, key, fingerprint("/api/v1/purchases", body)),
        email="ada@example.com",
        address=ADDRESS,
        provider="sandbox",
        method=method,
    )


async def buy(shop: Shop, wanted: PurchaseWish) -> OrderView:
    bought = await checkout.purchase(shop, wanted)
    assert isinstance(bought, OrderView)
    return bought


async def answered(shop: Shop, wanted: PurchaseWish) -> StoredAnswer:
    """What a repeat is answered."""
    repeat = await checkout.purchase(shop, wanted)
    assert isinstance(repeat, Replay)
    return repeat.answer


async def stock(database: Database, variant: VariantId) -> tuple[int, int, int]:
    async with database.connection() as conn:
        level = (await inventory.stock_levels(conn, variant_ids=[variant]))[variant]
    return level.available, level.held, level.sold


async def rows(database: Database, query: str, *arguments: Any) -> list[Any]:
    """First column of a query."""
    async with database.connection() as conn:
        return [row[0] for row in await (await conn.execute(query, arguments)).fetchall()]


async def events(database: Database, order_id: OrderId) -> list[str]:
    return await rows(
        database, "SELECT topic FROM platform.outbox WHERE payload ->> 'order_id' = %s ORDER BY id", str(order_id)
    )


async def states(database: Database) -> dict[str, int]:
    """How many orders are in which state."""
    found = await rows(database, "SELECT state FROM checkout.orders")
    return {state: found.count(state) for state in set(found)}


def batches(name: str = "purchases") -> tuple[float, float]:
    """Batches so far in this process, and requests in them."""
    count, total = (
        REGISTRY.get_sample_value(f"tidegate_batch_size_{what}", {"batch": name}) for what in ("count", "sum")
    )
    return count or 0.0, total or 0.0


def with_engine(shop: Shop, **changes: Any) -> Settings:
    return shop.settings.model_copy(update={"engine": shop.settings.engine.model_copy(update=changes)})


async def someone_waits_for_stock(database: Database) -> bool:
    """Whether a batch stands before a stock row that the test has locked."""
    return await so_many_wait(database, 1)


async def so_many_wait(database: Database, count: int) -> bool:
    """Whether so many transactions wait for locks, or more."""
    asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    (waiting,) = await rows(database, asked)
    return bool(waiting >= count)


def kinds(outcomes: Sequence[object]) -> dict[str, int]:
    names = [type(outcome).__name__ for outcome in outcomes]
    return {name: names.count(name) for name in set(names)}


async def test_paid_in_one_step(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    variant = await sell("LAMP", stock=3, price=1299)
    wanted = wish(buyer, ("LAMP", 2), key="k")
    bought = await buy(shop, wanted)
    assert (bought.state, bought.processing, bought.next_action) == (OrderState.PAID, False, None)
    assert (bought.total.amount, bought.total.currency) == (2598, "GBP")
    assert [(line.sku, line.title, line.quantity, line.unit.amount) for line in bought.lines] == [
        ("LAMP", "The LAMP", 2, 1299)
    ]
    assert await stock(shop.database, variant) == (1, 0, 2)
    assert await events(shop.database, bought.id) == ["order.paid"]
    found = await checkout.find_order(shop, buyer_id=buyer, order_id=bought.id)
    assert order_document(found) == order_document(bought), "what was answered is what was stored"
    assert (found.email, found.address) == ("ada@example.com", ADDRESS)
    answer = await answered(shop, wanted)
    assert answer == StoredAnswer.of(201, order_document(bought)), "a repeat hears the same, to the letter"
    assert await stock(shop.database, variant) == (1, 0, 2)
    with pytest.raises(KeyReused):
        await checkout.purchase(shop, wish(buyer, ("LAMP", 1), key="k", body=2))


async def test_what_was_typed_is_cleaned_before_it_is_kept(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    await sell("LAMP", stock=1)
    typed = altered(wish(buyer), email=" ada@example.com ", address=altered(ADDRESS, city=" London\t"))
    bought = await buy(shop, typed)
    assert (bought.email, bought.address) == ("ada@example.com", ADDRESS)


@pytest.mark.parametrize("way", ["pay_again", "order"])
async def test_declined_and_then_paid_with_another_card(shop: Shop, sell: Stock, buyer: PersonId, way: str) -> None:
    variant = await sell("LAMP", stock=1)
    declined = await buy(shop, wish(buyer, method="tok_declined", key="k"))
    assert (declined.state, declined.failure) == (OrderState.PAYMENT_FAILED, "card_declined")
    assert declined.seconds_left > 0
    assert await stock(shop.database, variant) == (0, 1, 0), "the goods stay theirs"
    with pytest.raises(checkout.SoldOut):
        await checkout.purchase(shop, wish(PersonId(new_id())))
    paid: object
    if way == "pay_again":
        paid = await checkout.pay_again(shop, buyer_id=buyer, order_id=declined.id, provider="sandbox", method="tok_ok")
    else:
        form = OrderForm(declined.hold_id, declined.email, declined.address, "sandbox", "tok_ok")
        paid = await checkout.place_order(shop, buyer_id=buyer, form=form)
    assert isinstance(paid, OrderView)
    assert (paid.id, paid.number, paid.state) == (declined.id, declined.number, OrderState.PAID)
    assert await stock(shop.database, variant) == (0, 0, 1)
    assert await events(shop.database, paid.id) == ["order.paid"]
    answer = await answered(shop, wish(buyer, method="tok_declined", key="k"))
    assert json.loads(answer.body)["state"] == "payment_failed", "the first key keeps its answer"


async def test_a_hosted_payment_waits_for_the_buyer(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    variant = await sell("LAMP", stock=1)
    wanted = wish(buyer, method="hosted", key="k")
    bought = await buy(shop, wanted)
    assert (bought.state, bought.processing) == (OrderState.AWAITING_PAYMENT, False)
    assert bought.next_action is not None
    assert bought.next_action.kind == "redirect"
    assert bought.next_action.url.startswith(f"{shop.settings.base_url}/sandbox/pay/")
    assert await stock(shop.database, variant) == (0, 1, 0)
    assert await events(shop.database, bought.id) == []
    assert json.loads((await answered(shop, wanted)).body)["next_action"]["url"] == bought.next_action.url


async def test_charged_but_the_answer_was_lost(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    variant = await sell("LAMP", stock=1)
    quick = shop.settings.payments.model_copy(update={"reconcile_after_s": 0})
    hurried = replace(shop, settings=shop.settings.model_copy(update={"payments": quick}))
    wanted = wish(buyer, method="tok_error_after_charge", key="k")
    unsure = await buy(hurried, wanted)
    assert (unsure.state, unsure.processing) == (OrderState.AWAITING_PAYMENT, True)
    assert await stock(shop.database, variant) == (0, 1, 0), "never released under a charge that may have happened"
    await checkout.reconcile_once(hurried)
    assert json.loads((await answered(shop, wanted)).body)["state"] == "awaiting_payment", "the first answer stays"
    found = await checkout.find_order(shop, buyer_id=buyer, order_id=unsure.id)
    assert found.state == OrderState.PAID
    assert await stock(shop.database, variant) == (0, 0, 1)
    assert await events(shop.database, unsure.id) == ["order.paid"]
    charged = await rows(shop.database, "SELECT state FROM payments.sandbox_payments")
    assert charged == ["succeeded"], "once"


async def test_sold_out_is_an_answer_that_is_kept(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    variant = await sell("LAMP", stock=1)
    wanted = wish(buyer, ("LAMP", 2), key="k")
    with pytest.raises(checkout.SoldOut) as refused:
        await checkout.purchase(shop, wanted)
    assert refused.value.extra == {"sku": "LAMP", "left": 1}
    async with shop.database.transaction() as conn:
        await inventory.set_stock(conn, levels={variant: 5})
    assert await answered(shop, wanted) == StoredAnswer.of(409, refused.value.document())
    assert await stock(shop.database, variant) == (5, 0, 0)
    assert await states(shop.database) == {}


async def test_several_lines_are_all_or_nothing(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    lamp, vase = await sell("LAMP", stock=5), await sell("VASE", stock=1, price=700)
    with pytest.raises(checkout.SoldOut, match="only 1 are left"):
        await checkout.purchase(shop, wish(buyer, ("LAMP", 1), ("VASE", 2)))
    assert await stock(shop.database, lamp) == (5, 0, 0)
    assert await stock(shop.database, vase) == (1, 0, 0)
    bought = await buy(shop, wish(buyer, ("LAMP", 2), ("VASE", 1)))
    assert bought.total.amount == 2 * 250 + 700
    assert await stock(shop.database, lamp) == (3, 0, 2)
    assert await stock(shop.database, vase) == (0, 0, 1)


async def test_two_lines_of_one_variant_are_summed(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    variant = await sell("LAMP", stock=3)
    with pytest.raises(checkout.SoldOut):
        await checkout.purchase(shop, wish(buyer, ("LAMP", 2), ("LAMP", 2)))
    bought = await buy(shop, wish(buyer, ("LAMP", 2), ("LAMP", 1)))
    assert [(line.sku, line.quantity) for line in bought.lines] == [("LAMP", 3)]
    assert await stock(shop.database, variant) == (0, 0, 3)


async def test_a_drop_keeps_its_limit_and_its_time(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    variant = await sell("NOW", stock=5, drop_in_s=-1, per_buyer=2)
    await sell("EARLY", stock=5, drop_in_s=60)
    for quantity in (3, 100):
        with pytest.raises(checkout.LimitReached):
            await checkout.purchase(shop, wish(buyer, ("NOW", quantity)))
    await buy(shop, wish(buyer, ("NOW", 1)))
    with pytest.raises(checkout.LimitReached):
        await checkout.purchase(shop, wish(buyer, ("NOW", 2)))
    await buy(shop, wish(buyer, ("NOW", 1)))
    with pytest.raises(checkout.LimitReached):
        await checkout.purchase(shop, wish(buyer, ("NOW", 1), key="limit"))
    assert (await answered(shop, wish(buyer, ("NOW", 1), key="limit"))).status == 409
    await buy(shop, wish(PersonId(new_id()), ("NOW", 2)))
    assert await stock(shop.database, variant) == (1, 0, 4)
    with pytest.raises(checkout.NotOpen):
        await checkout.purchase(shop, wish(buyer, ("EARLY", 1), key="early"))
    async with shop.database.transaction() as conn:
        await conn.execute("UPDATE catalog.drops SET opens_at = clock_timestamp() WHERE slug = 'early-drop'")
    opened = await buy(shop, wish(buyer, ("EARLY", 1), key="early"))
    assert opened.state == OrderState.PAID, "too early is no answer that is kept"


async def test_one_buyers_crowd_of_requests_keeps_the_limit(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    variant = await sell("NOW", stock=50, drop_in_s=-1, per_buyer=3)
    bought = 0
    for turn in range(4):  # one purchase of a drop at a time: the others of the crowd hear so
        outcomes = await asyncio.gather(
            *(checkout.purchase(shop, wish(buyer, ("NOW", 1), key=f"{turn}.{n}")) for n in range(10)),
            return_exceptions=True,
        )
        assert set(kinds(outcomes)) <= {"OrderView", "LimitReached", "HoldsOpen"}
        bought += kinds(outcomes).get("OrderView", 0)
        assert bought >= min(turn + 1, 3)
    assert bought == 3
    assert await stock(shop.database, variant) == (47, 0, 3)


async def test_what_is_not_sold_uses_up_no_key(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    await sell("LAMP", stock=1)
    wanted = wish(buyer, ("LAMP", 1), ("NOPE", 1), key="k")
    with pytest.raises(checkout.UnknownSku, match="NOPE"):
        await checkout.purchase(shop, wanted)
    await sell("NOPE", stock=1)
    assert (await buy(shop, wanted)).state == OrderState.PAID


async def test_the_price_of_the_moment_is_charged(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    variant = await sell("LAMP", stock=3, price=250)
    assert (await buy(shop, wish(buyer))).total.amount == 250
    async with shop.database.transaction() as conn:
        await conn.execute("UPDATE catalog.prices SET amount = 999 WHERE variant_id = %s", (variant,))
    dearer = await buy(shop, wish(buyer, ("LAMP", 2)))
    assert (dearer.total.amount, dearer.lines[0].unit.amount) == (1998, 999)
    charged = await rows(shop.database, "SELECT amount FROM payments.charges ORDER BY order_id")
    assert charged == [250, 1998]


async def test_twins_in_one_process_share_one_outcome(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    variant = await sell("LAMP", stock=50)
    wanted = wish(buyer, key="k")
    outcomes = await asyncio.gather(*(checkout.purchase(shop, wanted) for _ in range(20)))
    assert kinds(outcomes) == {"OrderView": 1, "Replay": 19}
    (first,) = [each for each in outcomes if isinstance(each, OrderView)]
    bodies = {each.answer for each in outcomes if isinstance(each, Replay)}
    assert bodies == {StoredAnswer.of(201, order_document(first))}
    assert await stock(shop.database, variant) == (49, 0, 1)


async def test_a_caller_that_leaves_does_not_undo_its_purchase(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    variant = await sell("LAMP", stock=2)
    wanted = wish(buyer, key="k")
    async with shop.database.transaction() as conn:
        await conn.execute("SELECT FROM inventory.stock WHERE variant_id = %s FOR UPDATE", (variant,))
        leaving = asyncio.create_task(checkout.purchase(shop, wanted))
        await eventually(lambda: someone_waits_for_stock(shop.database))
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
    assert json.loads((await answered(shop, wanted)).body)["state"] == "paid"
    assert await stock(shop.database, variant) == (1, 0, 1)


async def test_two_processes_with_the_same_keys_have_one_effect(shop: Shop, sell: Stock) -> None:
    variant = await sell("LAMP", stock=500)
    providers = make_providers(shop.database, shop.settings)
    keys = [(PersonId(new_id()), f"k{n}") for n in range(20)]
    async with open_shop(shop.database, shop.settings, providers) as other:
        outcomes = await asyncio.gather(
            *(
                checkout.purchase((shop, other)[copy % 2], wish(buyer, key=key))
                for copy in range(10)
                for buyer, key in keys
            )
        )
    assert kinds(outcomes) == {"OrderView": 20, "Replay": 180}
    orders = {each.id: order_document(each) for each in outcomes if isinstance(each, OrderView)}
    answers = {each.answer for each in outcomes if isinstance(each, Replay)}
    assert answers == {StoredAnswer.of(201, document) for document in orders.values()}
    assert await states(shop.database) == {"paid": 20}
    assert await stock(shop.database, variant) == (480, 0, 20)
    assert len(await rows(shop.database, "SELECT id FROM payments.sandbox_payments")) == 20
    assert await rows(shop.database, "SELECT DISTINCT state FROM platform.idempotency_keys") == ["final"]


async def test_a_twin_in_another_process_is_no_second_purchase_in_a_drop(
    shop: Shop, sell: Stock, buyer: PersonId
) -> None:
    """It waits for the first one's locks, and its buyer has had what one person may have by then."""
    variant = await sell("LAMP", stock=5, drop_in_s=-1)
    wanted = wish(buyer, key="k")
    async with open_shop(shop.database, shop.settings, shop.providers) as other:
        async with shop.database.transaction() as conn:
            await conn.execute("SELECT FROM inventory.stock WHERE variant_id = %s FOR UPDATE", (variant,))
            asked = [asyncio.create_task(checkout.purchase(each, wanted)) for each in (shop, other)]
            await eventually(lambda: so_many_wait(shop.database, 2))
        outcomes = await asyncio.gather(*asked)
    assert kinds(outcomes) == {"OrderView": 1, "Replay": 1}
    (order,) = [each for each in outcomes if isinstance(each, OrderView)]
    (replay,) = [each for each in outcomes if isinstance(each, Replay)]
    assert replay.answer == StoredAnswer.of(201, order_document(order))
    assert await stock(shop.database, variant) == (4, 0, 1)


async def test_a_twin_in_another_process_does_not_find_its_hold_ordered(
    shop: Shop, sell: Stock, buyer: PersonId
) -> None:
    await sell("LAMP", stock=5)
    held = await checkout.open_hold(shop, buyer_id=buyer, lines=[Line("LAMP", 1)], guest=False)
    form = OrderForm(held.id, "ada@example.com", ADDRESS, "sandbox", "tok_ok")
    key = RequestKey(buyer, "k", fingerprint("/api/v1/orders", 1))
    async with open_shop(shop.database, shop.settings, shop.providers) as other:
        async with shop.database.transaction() as conn:
            await conn.execute("SELECT FROM inventory.holds WHERE id = %s FOR UPDATE", (held.id,))
            asked = [
                asyncio.create_task(checkout.place_order(each, buyer_id=buyer, form=form, key=key))
                for each in (shop, other)
            ]
            await eventually(lambda: so_many_wait(shop.database, 2))
        outcomes = await asyncio.gather(*asked)
    assert kinds(outcomes) == {"OrderView": 1, "Replay": 1}
    assert await states(shop.database) == {"paid": 1}


async def test_a_crowd_gets_exactly_what_there_is(shop: Shop, sell: Stock) -> None:
    variant = await sell("LAMP", stock=50)
    ran, asked = batches()
    outcomes = await asyncio.gather(
        *(checkout.purchase(shop, wish(PersonId(new_id()), key=f"k{n}")) for n in range(200)), return_exceptions=True
    )
    assert kinds(outcomes) == {"OrderView": 50, "SoldOut": 150}
    assert {each.state for each in outcomes if isinstance(each, OrderView)} == {OrderState.PAID}
    assert [isinstance(each, OrderView) for each in outcomes] == [True] * 50 + [False] * 150, "first come, first served"
    assert await stock(shop.database, variant) == (0, 0, 50)
    assert await states(shop.database) == {"paid": 50}
    assert len(await rows(shop.database, "SELECT order_id FROM payments.charges WHERE state = 'captured'")) == 50
    keys = await rows(shop.database, "SELECT status FROM platform.idempotency_keys")
    assert (keys.count(201), keys.count(409)) == (50, 150)
    ran_now, asked_now = batches()
    assert asked_now - asked == 200
    assert ran_now - ran <= 10, "200 requests at once share a few transactions"


async def test_what_waits_at_shutdown_is_finished(shop: Shop, sell: Stock, settings: Settings) -> None:
    variant = await sell("LAMP", stock=50)
    async with AsyncExitStack() as stack, shop.database.connection() as lock:
        ending = await stack.enter_async_context(
            open_shop(shop.database, with_engine(shop, batch_max=4), shop.providers)
        )
        async with lock.transaction():
            await lock.execute("SELECT FROM inventory.stock WHERE variant_id = %s FOR UPDATE", (variant,))
            waiting = [
                asyncio.create_task(checkout.purchase(ending, wish(PersonId(new_id()), key=f"k{n}"))) for n in range(20)
            ]
            await eventually(lambda: someone_waits_for_stock(shop.database))
            closing = asyncio.create_task(stack.aclose())
            await eventually(lambda: ending.batches.purchases._batcher._closing)
            with pytest.raises(Overloaded):
                await checkout.purchase(ending, wish(PersonId(new_id()), key="late"))
        await closing
        outcomes = await asyncio.gather(*waiting)
    assert {each.state for each in outcomes if isinstance(each, OrderView)} == {OrderState.PAID}
    assert await states(shop.database) == {"paid": 20}
    assert await stock(shop.database, variant) == (30, 0, 20)
    assert await rows(shop.database, "SELECT key FROM platform.idempotency_keys WHERE key = 'late'") == []


async def test_a_full_queue_and_a_long_wait_are_refused_and_store_nothing(shop: Shop, sell: Stock) -> None:
    variant = await sell("LAMP", stock=50)
    bounds = with_engine(shop, queue_max=3, deadline_s=1.0)
    buyers = [PersonId(new_id()) for _ in range(6)]
    async with open_shop(shop.database, bounds, shop.providers) as busy:
        async with shop.database.transaction() as conn:
            await conn.execute("SELECT FROM inventory.stock WHERE variant_id = %s FOR UPDATE", (variant,))
            running = asyncio.create_task(checkout.purchase(busy, wish(buyers[0], key="running")))
            await eventually(lambda: someone_waits_for_stock(shop.database))
            waiting = [asyncio.create_task(checkout.purchase(busy, wish(buyer, key="late"))) for buyer in buyers[1:4]]
            await eventually(lambda: len(busy.batches.purchases._batcher._queue) == 3)
            with pytest.raises(Overloaded) as refused:
                await checkout.purchase(busy, wish(buyers[4], key="full"))
            assert refused.value.retry_after_s
            late = await asyncio.gather(*waiting, return_exceptions=True)
        assert kinds(late) == {"Overloaded": 3}
        first = (await asyncio.gather(running, return_exceptions=True))[0]
        assert isinstance(first, OrderView | Overloaded)
        kept = await rows(shop.database, "SELECT key FROM platform.idempotency_keys")
        assert kept == (["running"] if isinstance(first, OrderView) else [])
        again = await buy(busy, wish(buyers[1], key="late"))
    assert again.state == OrderState.PAID, "refused for the moment, not for good"
    assert await states(shop.database) == {"paid": 2 if isinstance(first, OrderView) else 1}


async def test_a_charge_that_cannot_be_settled_in_time_is_not_denied(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    variant = await sell("LAMP", stock=1)
    quick = shop.settings.payments.model_copy(update={"reconcile_after_s": 0, "sandbox_slow_s": 0.5})
    settings = with_engine(shop, deadline_s=0.2).model_copy(update={"payments": quick})
    async with open_shop(shop.database, settings, make_providers(shop.database, settings)) as busy:
        wanted = wish(buyer, method="tok_slow", key="k")
        buying = asyncio.create_task(checkout.purchase(busy, wanted))
        await eventually(lambda: rows(shop.database, "SELECT 1 FROM platform.idempotency_keys"))
        async with shop.database.transaction() as conn:
            await conn.execute("SELECT FROM platform.idempotency_keys FOR UPDATE")
            unsure = await buying
        assert isinstance(unsure, OrderView)
        assert (unsure.state, unsure.processing) == (OrderState.AWAITING_PAYMENT, True)
        assert answer_with(unsure).status == 202  # the answer of the key is for good, and comes when it is known

        async def is_paid() -> bool:  # the deadline is so short that a busy machine may need another round
            await checkout.reconcile_once(busy)
            found = await checkout.find_order(busy, buyer_id=buyer, order_id=unsure.id)
            return found.state == OrderState.PAID

        await eventually(is_paid)
        repeat = await answered(busy, wanted)
        assert (repeat.status, json.loads(repeat.body)["state"]) == (201, "paid")
        assert await stock(shop.database, variant) == (0, 0, 1)
        assert await events(shop.database, unsure.id) == ["order.paid"]


async def test_two_processes_sell_plenty_to_its_end_and_not_beyond(shop: Shop, sell: Stock) -> None:
    left = 2_200  # more than what is decided without a lock
    variant = await sell("LAMP", stock=left)
    async with open_shop(shop.database, shop.settings, make_providers(shop.database, shop.settings)) as other:
        wishes = [checkout.HoldWish(PersonId(new_id()), (Line("LAMP", 2),)) for _ in range(left // 2 + 100)]
        held = await asyncio.gather(
            *(checkout.settle_hold((shop, other)[n % 2], each) for n, each in enumerate(wishes)), return_exceptions=True
        )
    refused = [each for each in held if isinstance(each, BaseException)]
    assert all(isinstance(each, checkout.SoldOut) for each in refused), refused
    assert len(held) - len(refused) == left // 2
    assert await stock(shop.database, variant) == (0, left, 0)
