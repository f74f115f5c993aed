"""A whole purchase through the use cases, its refusals and its late ends, on a real database."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as altered

from tests.catalog.makers import a_voucher
from tests.checkout.conftest import Stock
from tidegate import checkout, inventory, payments
from tidegate.checkout import Address, FreshHold, HoldView, Line, OrderForm, OrderState, OrderView, Shop
from tidegate.checkout.documents import hold_document, order_body
from tidegate.checkout.holding import HoldWish, settle_hold
from tidegate.checkout.ordering import OrderWish, Replay, Started, charge, settle_orders
from tidegate.checkout.orders import lock_orders
from tidegate.checkout.pending import take_up
from tidegate.checkout.settlement import settle
from tidegate.payments.contracts import Answer, ChargeRef, ChargeState
from tidegate.platform.idempotency import RequestKey, StoredAnswer, fingerprint
from tidegate.platform.ids import HoldId, OrderId, PersonId, VariantId, new_id
from tidegate.platform.pipelines import PipelinedConnection
from tidegate.platform.problems import InvalidRequest, KeyInFlight, KeyReused, NotFound

pytestmark = pytest.mark.anyio


def form(hold_id: HoldId, method: str = "tok_ok") -> OrderForm:
    address = Address("Ada Lovelace", "12 St James's Square", "London", "SW1Y 4JH", "GB")
    return OrderForm(hold_id, "ada@example.com", address, "sandbox", method)


async def hold(shop: Shop, buyer: PersonId, sku: str = "LAMP", quantity: int = 1) -> HoldView:
    return await checkout.open_hold(shop, buyer_id=buyer, lines=[Line(sku, quantity)], guest=False)


async def order(shop: Shop, buyer: PersonId, hold_id: HoldId, method: str = "tok_ok") -> OrderView:
    placed = await checkout.place_order(shop, buyer_id=buyer, form=form(hold_id, method))
    assert isinstance(placed, OrderView)
    return placed


async def stock(shop: Shop, variant: VariantId) -> tuple[int, int, int]:
    async with shop.database.connection() as conn:
        level = (await inventory.stock_levels(conn, variant_ids=[variant]))[variant]
    return level.available, level.held, level.sold


async def events(shop: Shop, order_id: OrderId) -> list[str]:
    async with shop.database.connection() as conn:
        rows = await conn.execute(
            "SELECT topic FROM platform.outbox WHERE payload ->> 'order_id' = %s ORDER BY id", (str(order_id),)
        )
        return [row[0] for row in await rows.fetchall()]


async def run_out(shop: Shop, order_id: OrderId) -> None:
    """Let the time of an order and of its hold be over."""
    async with shop.database.transaction() as conn:
        await conn.execute("UPDATE checkout.orders SET pay_until = clock_timestamp() WHERE id = %s", (order_id,))
        await conn.execute("UPDATE inventory.holds SET expires_at = clock_timestamp() WHERE order_id = %s", (order_id,))


def key(buyer: PersonId, name: str = "k", body: object = 1) -> RequestKey:
    return RequestKey(buyer, name, fingerprint("POST /x", body))


async def test_hold_order_paid(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    variant = await sell("LAMP", stock=3, price=1299)
    held = await hold(shop, buyer, quantity=2)
    assert (held.total.amount, held.total.currency, held.lines[0].title) == (2598, "GBP", "The LAMP")
    placed = await order(shop, buyer, held.id)
    assert placed.state == OrderState.PAID
    assert placed.total == held.total
    assert await stock(shop, variant) == (1, 0, 2)
    assert await events(shop, placed.id) == ["order.paid"]


async def test_a_declined_card_keeps_the_hold_and_another_pays(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    variant = await sell("LAMP", stock=1)
    held = await hold(shop, buyer)
    declined = await order(shop, buyer, held.id, "tok_declined")
    assert declined.state == OrderState.PAYMENT_FAILED
    assert declined.failure
    assert declined.seconds_left > 0
    assert await stock(shop, variant) == (0, 1, 0)
    again = await checkout.pay_again(shop, buyer_id=buyer, order_id=declined.id, provider="sandbox", method="tok_ok")
    assert again.state == OrderState.PAID
    assert await stock(shop, variant) == (0, 0, 1)
    with pytest.raises(checkout.NotPayable):
        await checkout.pay_again(shop, buyer_id=buyer, order_id=declined.id, provider="sandbox", method="tok_ok")


async def test_sold_out_changes_nothing(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    lamp, vase = await sell("LAMP", stock=5), await sell("VASE", stock=0)
    with pytest.raises(checkout.SoldOut) as refused:
        await checkout.open_hold(shop, buyer_id=buyer, lines=[Line("LAMP", 1), Line("VASE", 1)], guest=False)
    assert refused.value.extra == {"sku": "VASE", "left": 0}
    assert await stock(shop, lamp) == (5, 0, 0)
    assert await stock(shop, vase) == (0, 0, 0)


async def test_an_unknown_sku_and_strange_lines_are_named(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    await sell("LAMP", stock=5)
    with pytest.raises(checkout.UnknownSku, match="NOPE"):
        await hold(shop, buyer, "NOPE")
    with pytest.raises(InvalidRequest):
        await hold(shop, buyer, quantity=0)
    with pytest.raises(InvalidRequest, match="does not sell"):
        await checkout.open_hold(shop, buyer_id=buyer, lines=[Line("LAMP", 1)], drop="elsewhere", guest=False)


async def test_a_drop_opens_at_its_time_and_keeps_its_limit(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    await sell("EARLY", stock=5, drop_in_s=60)
    await sell("NOW", stock=5, drop_in_s=-1, per_buyer=2)
    with pytest.raises(checkout.NotOpen):
        await hold(shop, buyer, "EARLY")
    with pytest.raises(checkout.LimitReached, match="2"):
        await hold(shop, buyer, "NOW", 3)
    held = await hold(shop, buyer, "NOW", 2)
    assert held.drop == "now-drop"
    with pytest.raises(checkout.LimitReached) as refused:
        await hold(shop, buyer, "NOW")
    assert refused.value.extra["hold_id"] == str(held.id)
    found = await checkout.live_hold_in(shop, buyer_id=buyer, drop="now-drop")
    assert found is not None
    assert found.id == held.id


async def test_a_hold_that_is_in_the_way_is_not_remembered_under_the_key(
    shop: Shop, sell: Stock, buyer: PersonId
) -> None:
    await sell("NOW", stock=5, drop_in_s=-1, per_buyer=2)
    held = await hold(shop, buyer, "NOW")
    wish = HoldWish(buyer, (Line("NOW", 1),), key=key(buyer))
    with pytest.raises(checkout.HoldsOpen):
        await settle_hold(shop, wish)
    await checkout.give_up(shop, buyer_id=buyer, hold_id=held.id)
    again, repeat = await settle_hold(shop, wish)
    assert not isinstance(again, StoredAnswer)
    assert not repeat


async def test_refusals_of_one_batch_are_each_their_own(shop: Shop, sell: Stock) -> None:
    await sell("LAMP", stock=5)
    asked = (hold(shop, PersonId(new_id()), "NOPE") for _ in range(6))
    refused = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(each) for each in refused} == {checkout.UnknownSku}
    assert len({id(each) for each in refused}) == 6, "what is raised twice carries another request's traceback"


async def test_anothers_hold_or_order_is_not_there(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    await sell("LAMP", stock=5)
    stranger = PersonId(new_id())
    held = await hold(shop, buyer)
    for attempt in (
        checkout.find_hold(shop, buyer_id=stranger, hold_id=held.id),
        checkout.give_up(shop, buyer_id=stranger, hold_id=held.id),
        checkout.place_order(shop, buyer_id=stranger, form=form(held.id)),
    ):
        with pytest.raises(NotFound):
            await attempt
    placed = await order(shop, buyer, held.id, "tok_declined")
    with pytest.raises(NotFound):
        await checkout.find_order(shop, buyer_id=stranger, order_id=placed.id)
    with pytest.raises(NotFound):
        await checkout.pay_again(shop, buyer_id=stranger, order_id=placed.id, provider="sandbox", method="tok_ok")


async def test_given_up_returns_the_stock_at_once(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    variant = await sell("LAMP", stock=1)
    held = await hold(shop, buyer)
    await checkout.give_up(shop, buyer_id=buyer, hold_id=held.id)
    await checkout.give_up(shop, buyer_id=buyer, hold_id=held.id)
    assert await stock(shop, variant) == (1, 0, 0)
    with pytest.raises(checkout.HoldExpired):
        await order(shop, buyer, held.id)


async def test_one_hold_makes_one_order(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    variant = await sell("LAMP", stock=5)
    held = await hold(shop, buyer)
    placed = await asyncio.gather(
        *(checkout.place_order(shop, buyer_id=buyer, form=form(held.id)) for _ in range(6)), return_exceptions=True
    )
    assert sum(isinstance(each, OrderView) for each in placed) == 1
    assert sum(isinstance(each, checkout.AlreadyOrdered) for each in placed) == 5
    assert await stock(shop, variant) == (4, 0, 1)


async def test_one_key_has_one_effect_and_one_answer(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    variant = await sell("LAMP", stock=50)
    wish = HoldWish(buyer, (Line("LAMP", 1),), key=key(buyer))
    outcomes = await asyncio.gather(*(settle_hold(shop, wish) for _ in range(20)))
    assert sum(repeat for _, repeat in outcomes) == 19
    assert len({each.id for each, _ in outcomes if isinstance(each, FreshHold)}) == 1, (
        "twins in flight share one outcome"
    )
    repeated, _ = await settle_hold(shop, wish)
    assert isinstance(repeated, StoredAnswer)
    assert json.loads(repeated.body)["id"] == str(next(each.id for each, _ in outcomes if isinstance(each, FreshHold)))
    assert await stock(shop, variant) == (49, 1, 0)
    with pytest.raises(KeyReused):
        await settle_hold(shop, altered(wish, key=key(buyer, body=2)))
    other, _ = await settle_hold(shop, altered(wish, key=key(PersonId(new_id()))))
    assert isinstance(other, FreshHold), "keys belong to a buyer"


@pytest.mark.parametrize("drop_in_s", [None, -1])
async def test_the_stored_answer_of_a_hold_is_its_document(
    shop: Shop, sell: Stock, buyer: PersonId, drop_in_s: float | None
) -> None:
    await sell("LAMP", stock=5, drop_in_s=drop_in_s, per_buyer=2)
    await a_voucher(shop.database, "TEN")
    held, _ = await settle_hold(shop, HoldWish(buyer, (Line("LAMP", 2),), key=key(buyer), code="ten"))
    stored, repeat = await settle_hold(shop, HoldWish(buyer, (Line("LAMP", 2),), key=key(buyer), code="ten"))
    assert isinstance(held, FreshHold)
    assert isinstance(stored, StoredAnswer)
    assert repeat
    read = await checkout.find_hold(shop, buyer_id=buyer, hold_id=held.id)
    assert stored.body == held.answer.body == hold_document(held.view()) == hold_document(read)
    assert json.loads(stored.body)["discount"] == {"amount": 50, "currency": "GBP"}


async def test_a_refusal_is_an_answer_but_a_mistake_is_not(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    variant = await sell("LAMP", stock=0)
    wish = HoldWish(buyer, (Line("LAMP", 1),), key=key(buyer))
    with pytest.raises(checkout.SoldOut):
        await settle_hold(shop, wish)
    async with shop.database.transaction() as conn:
        await inventory.set_stock(conn, levels={variant: 5})
    stored, repeat = await settle_hold(shop, wish)
    assert repeat
    assert isinstance(stored, StoredAnswer)
    assert stored.status == 409
    unknown = HoldWish(buyer, (Line("NOPE", 1),), key=key(buyer, "n"))
    with pytest.raises(checkout.UnknownSku):
        await settle_hold(shop, unknown)
    await sell("NOPE", stock=1)
    held, repeat = await settle_hold(shop, unknown)
    assert isinstance(held, FreshHold)
    assert not repeat


async def test_twins_of_an_order_get_the_same_answer(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    await sell("LAMP", stock=5)
    held = await hold(shop, buyer)
    attempts: list[Any] = [
        checkout.place_order(shop, buyer_id=buyer, form=form(held.id), key=key(buyer)) for _ in range(8)
    ]
    placed = await asyncio.gather(*attempts)
    views = [each for each in placed if isinstance(each, OrderView)]
    replays = [each for each in placed if isinstance(each, Replay)]
    assert (len(views), len(replays)) == (1, 7)
    assert {json.loads(each.answer.body)["number"] for each in replays} == {views[0].number}
    assert {json.loads(each.answer.body)["state"] for each in replays} == {"paid"}


async def test_a_batch_of_orders_asks_the_database_no_more_than_one(
    shop: Shop, sell: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sell("LAMP", stock=9)
    people = [PersonId(new_id()) for _ in range(9)]
    wishes = [OrderWish(who, form((await hold(shop, who)).id), key(who)) for who in people]
    asked: list[object] = []
    plain = PipelinedConnection.execute

    async def counted(conn: PipelinedConnection, query: Any, *more: Any, **options: Any) -> Any:
        asked.append(query)
        return await plain(conn, query, *more, **options)

    conn = await shop.database.connect()
    monkeypatch.setattr(PipelinedConnection, "execute", counted)
    counts = []
    for batch in (wishes[:1], wishes[1:]):
        asked.clear()
        async with conn.together():
            outcomes = await settle_orders(conn, batch, desk=shop.desk)
        assert all(isinstance(each, Started) for each in outcomes)
        counts.append(len(asked))
    await conn.close()
    assert counts[1] <= counts[0], "the first one also reads the catalogue"


async def test_charged_but_the_answer_was_lost(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    variant = await sell("LAMP", stock=1)
    held = await hold(shop, buyer)
    quick = shop.settings.payments.model_copy(update={"reconcile_after_s": 0})
    hurried = replace(shop, settings=shop.settings.model_copy(update={"payments": quick}))
    unsure = await checkout.place_order(
        hurried, buyer_id=buyer, form=form(held.id, "tok_error_after_charge"), key=key(buyer)
    )
    assert isinstance(unsure, OrderView)
    assert (unsure.state, unsure.processing) == (OrderState.AWAITING_PAYMENT, True)
    await checkout.reconcile_once(hurried)
    found = await checkout.find_order(shop, buyer_id=buyer, order_id=unsure.id)
    assert found.state == OrderState.PAID
    assert await stock(shop, variant) == (0, 0, 1)
    repeat = await checkout.place_order(
        hurried, buyer_id=buyer, form=form(held.id, "tok_error_after_charge"), key=key(buyer)
    )
    assert isinstance(repeat, Replay)
    assert repeat.answer.body == order_body(unsure), "the first answer, not a newer one"


async def test_a_provider_that_is_not_asked_leaves_its_orders_to_the_reconciler(
    shop: Shop, sell: Stock, buyer: PersonId
) -> None:
    variant = await sell("LAMP", stock=2)
    now = 0.0
    held_back = payments.Providers(
        [shop.providers["sandbox"]], timeout_s=5, breaker_failures=1, breaker_pause_s=5, clock=lambda: now
    )
    quick = shop.settings.payments.model_copy(update={"reconcile_after_s": 0})
    away = replace(shop, providers=held_back, settings=shop.settings.model_copy(update={"payments": quick}))
    unsure = await order(away, buyer, (await hold(away, buyer)).id, "tok_error_after_charge")
    waiting = await order(away, buyer, (await hold(away, buyer)).id)
    assert [(each.state, each.processing) for each in (unsure, waiting)] == [(OrderState.AWAITING_PAYMENT, True)] * 2
    await run_out(shop, waiting.id)
    assert await checkout.expire_orders_once(away) == 0, "what may still be paid keeps its stock"
    await checkout.reconcile_once(away)
    assert await stock(shop, variant) == (0, 2, 0)
    now = 5.0
    for _ in range(3):  # the first one tries for all
        await checkout.reconcile_once(away)
    found = [await checkout.find_order(shop, buyer_id=buyer, order_id=each.id) for each in (unsure, waiting)]
    assert [each.state for each in found] == [OrderState.PAID] * 2
    assert await stock(shop, variant) == (0, 0, 2)


async def test_a_provider_that_is_gone_stops_no_other_order_from_ending(
    shop: Shop, sell: Stock, buyer: PersonId
) -> None:
    variant = await sell("LAMP", stock=2)
    open_page = await order(shop, buyer, (await hold(shop, buyer)).id, "hosted")
    declined = await order(shop, buyer, (await hold(shop, buyer)).id, "tok_declined")
    for each in (open_page, declined):
        await run_out(shop, each.id)
    without = replace(shop, providers=payments.Providers([], timeout_s=1))
    assert await checkout.expire_orders_once(without) == 1
    assert await stock(shop, variant) == (1, 1, 0), "never released under a payment that may still succeed"
    assert await checkout.expire_orders_once(shop) == 1
    assert await stock(shop, variant) == (2, 0, 0)


async def test_payments_that_cannot_be_ended_hide_no_younger_orders(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    variant = await sell("LAMP", stock=3)
    for method in ("hosted", "hosted", "tok_declined"):
        placed = await order(shop, buyer, (await hold(shop, buyer)).id, method)
        await run_out(shop, placed.id)
    small = shop.settings.holds.model_copy(update={"sweep_batch": 2})
    away = replace(
        shop,
        settings=shop.settings.model_copy(update={"holds": small}),
        providers=payments.Providers([], timeout_s=1),
    )
    ended = [await checkout.expire_orders_once(away) for _ in range(3)]
    assert sum(ended) == 1
    assert await stock(shop, variant) == (1, 2, 0)


async def test_not_paid_in_time_is_cancelled_and_the_stock_returns(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    variant = await sell("LAMP", stock=1)
    placed = await order(shop, buyer, (await hold(shop, buyer)).id, "hosted")
    assert placed.next_action is not None
    assert await checkout.expire_orders_once(shop) == 0
    await run_out(shop, placed.id)
    assert await checkout.expire_orders_once(shop) == 1
    assert await stock(shop, variant) == (1, 0, 0)
    found = await checkout.find_order(shop, buyer_id=buyer, order_id=placed.id)
    assert found.state == OrderState.CANCELLED
    with pytest.raises(checkout.NotPayable):
        await checkout.pay_again(shop, buyer_id=buyer, order_id=placed.id, provider="sandbox", method="tok_ok")


async def test_a_payment_that_turns_out_completed_wins(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    variant = await sell("LAMP", stock=1)
    placed = await order(shop, buyer, (await hold(shop, buyer)).id, "tok_error_after_charge")
    await run_out(shop, placed.id)
    assert await checkout.expire_orders_once(shop) == 0
    assert await stock(shop, variant) == (0, 0, 1)
    found = await checkout.find_order(shop, buyer_id=buyer, order_id=placed.id)
    assert found.state == OrderState.PAID


@pytest.mark.parametrize("restocked", [True, False])
async def test_paid_after_all(shop: Shop, sell: Stock, buyer: PersonId, *, restocked: bool) -> None:
    variant = await sell("LAMP", stock=1)
    placed = await order(shop, buyer, (await hold(shop, buyer)).id, "hosted")
    await run_out(shop, placed.id)
    assert await checkout.expire_orders_once(shop) == 1
    if not restocked:
        await order(shop, buyer, (await hold(shop, buyer)).id)
    late = {ChargeRef(placed.id, 1): Answer(ChargeState.CAPTURED, "sp_late")}
    await settle(shop, late)
    (view,) = (await settle(shop, late)).values()
    assert view.state == (OrderState.PAID if restocked else OrderState.REFUNDED)
    assert await stock(shop, variant) == (0, 0, 1)
    assert await events(shop, placed.id) == ["order.paid" if restocked else "order.refunded"]
    async with shop.database.transaction() as conn:
        refunds = await payments.claim_due_refunds(conn, limit=10)
    assert [refund.reason for refund in refunds] == ([] if restocked else ["stock-gone"])


async def test_a_late_decline_does_not_undo_a_payment(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    await sell("LAMP", stock=1)
    placed = await order(shop, buyer, (await hold(shop, buyer)).id)
    late = {ChargeRef(placed.id, 1): Answer(ChargeState.FAILED, "sp_x", failure="declined")}
    (view,) = (await settle(shop, late)).values()
    assert view.state == OrderState.PAID


async def test_the_second_attempt_is_ended_when_the_first_was_paid_after_all(
    shop: Shop, sell: Stock, buyer: PersonId
) -> None:
    await sell("LAMP", stock=1)
    placed = await order(shop, buyer, (await hold(shop, buyer)).id, "tok_declined")
    second = await checkout.pay_again(shop, buyer_id=buyer, order_id=placed.id, provider="sandbox", method="hosted")
    assert second.next_action is not None
    await settle(shop, {ChargeRef(placed.id, 1): Answer(ChargeState.CAPTURED, "sp_late")})
    quick = shop.settings.payments.model_copy(update={"reconcile_after_s": 0})
    await checkout.reconcile_once(replace(shop, settings=shop.settings.model_copy(update={"payments": quick})))
    async with shop.database.connection() as conn:
        charges = (await payments.load_charges(conn, order_ids=[placed.id]))[placed.id]
    assert [charge.state for charge in charges] == [ChargeState.CAPTURED, ChargeState.CANCELLED]
    found = await checkout.find_order(shop, buyer_id=buyer, order_id=placed.id)
    assert found.state == OrderState.PAID


async def test_a_second_card_waits_for_no_order_while_it_keeps_the_hold_locked(
    shop: Shop, sell: Stock, buyer: PersonId
) -> None:
    """Whoever has the order may want the hold next: waiting for it here would be a deadlock."""
    await sell("LAMP", stock=1)
    held = await hold(shop, buyer)
    declined = await order(shop, buyer, held.id, "tok_declined")
    wish = OrderWish(buyer, form(held.id))
    async with shop.database.transaction() as settling, shop.database.transaction() as conn:
        await lock_orders(settling, [declined.id])
        (outcome,) = await settle_orders(conn, [wish], desk=shop.desk)
        assert isinstance(outcome, KeyInFlight)
    assert (await order(shop, buyer, held.id)).state == OrderState.PAID


async def test_late_news_of_an_earlier_attempt_does_not_answer_for_a_later_one(
    shop: Shop, sell: Stock, buyer: PersonId
) -> None:
    await sell("LAMP", stock=1)
    held = await hold(shop, buyer)
    declined = await order(shop, buyer, held.id, "tok_declined")
    wish = OrderWish(buyer, form(held.id), key(buyer))
    begun = await shop.batches.orders.submit(wish)
    assert isinstance(begun, Started)
    await settle(shop, {ChargeRef(declined.id, 1): Answer(ChargeState.FAILED, "", failure="card_declined")})
    await settle(shop, {ChargeRef(declined.id, 2): Answer(ChargeState.INTENT, "")})
    paid = await charge(shop, begun)
    repeat = await checkout.place_order(shop, buyer_id=buyer, form=wish.form, key=wish.key)
    assert isinstance(repeat, Replay)
    assert isinstance(paid, OrderView)
    assert paid.state == OrderState.PAID
    assert repeat.answer.body == order_body(paid)


async def test_a_request_that_was_overtaken_answers_what_its_key_does(shop: Shop, sell: Stock, buyer: PersonId) -> None:
    """The attempt was ended and the order cancelled while the provider was still being called."""
    await sell("LAMP", stock=1)
    held = await hold(shop, buyer)
    wish = OrderWish(buyer, form(held.id), key(buyer))
    begun = await shop.batches.orders.submit(wish)
    assert isinstance(begun, Started)
    assert await take_up(shop.database, [begun.known.order.id]) == 1
    await run_out(shop, begun.known.order.id)
    await checkout.expire_orders_once(shop)
    answered = await charge(shop, begun)
    repeat = await checkout.place_order(shop, buyer_id=buyer, form=wish.form, key=wish.key)
    assert isinstance(repeat, Replay)
    assert repeat.answer == answered
