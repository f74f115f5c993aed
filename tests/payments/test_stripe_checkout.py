"""Buying through Stripe: what becomes of orders and stock when the gateway fails, is late or speaks twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.checkout.conftest import Stock, buyer, sell
from tests.gateway.faults import Kind
from tests.gateway.hooks import signed
from tests.gateway.server import Gateway, serving
from tests.logs import caught_logs
from tests.payments.makers import loaded, stripe_settings
from tests.waiting import eventually
from tidegate import checkout, inventory
from tidegate.checkout import Address, Line, OrderForm, OrderState, OrderView, Shop, open_shop
from tidegate.checkout.webhooks import take_webhook
from tidegate.payments import ChargeRef, ChargeState, RefundState, make_providers
from tidegate.platform.database import Database
from tidegate.platform.ids import OrderId, PersonId, VariantId, new_id
from tidegate.platform.problems import Problem
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

__all__ = ["buyer", "sell"]  # fixtures

PRICE = 1_299
"""Pence, of the only thing on sale."""


@pytest.fixture
def database_url(fresh_database_url: str) -> str:
    return fresh_database_url


@pytest.fixture
async def shop(database: Database, settings: Settings, gateway: Gateway) -> AsyncIterator[Shop]:
    """A shop that is no demo and takes payments through Stripe alone."""
    real = stripe_settings(gateway, settings)
    providers = make_providers(database, real)
    assert list(providers) == ["stripe"]
    async with open_shop(database, real, providers) as shop:
        yield shop


async def order(shop: Shop, buyer: PersonId, method: str = "pm_card_visa") -> OrderView:
    held = await checkout.open_hold(shop, buyer_id=buyer, lines=[Line("LAMP", 1)], guest=False)
    address = Address("Ada Lovelace", "12 St James's Square", "London", "SW1Y 4JH", "GB")
    form = OrderForm(held.id, "ada@example.com", address, "stripe", method)
    placed = await checkout.place_order(shop, buyer_id=buyer, form=form)
    assert isinstance(placed, OrderView)
    return placed


async def look(shop: Shop, order: OrderView, *, ask: bool = False) -> OrderView:
    return await checkout.find_order(shop, buyer_id=order.buyer_id, order_id=order.id, ask=ask)


async def stock(shop: Shop, variant: VariantId) -> tuple[int, int, int]:
    async with shop.database.connection() as conn:
        level = (await inventory.stock_levels(conn, variant_ids=[variant]))[variant]
    return level.available, level.held, level.sold


async def reconcile(shop: Shop) -> None:
    """A round of the reconciler in which everything is due."""
    async with shop.database.connection() as conn:
        await conn.execute(
            "UPDATE payments.charges SET next_ask_at = clock_timestamp(), created_at = created_at - interval '1 hour'"
        )
        await conn.execute("UPDATE payments.refunds SET next_ask_at = clock_timestamp()")
    await checkout.reconcile_once(shop)


async def run_out(shop: Shop, order: OrderView) -> None:
    """Let the time of an order be over, and the shop notice."""
    async with shop.database.transaction() as conn:
        await conn.execute("UPDATE checkout.orders SET pay_until = clock_timestamp() WHERE id = %s", (order.id,))
        await conn.execute("UPDATE inventory.holds SET expires_at = clock_timestamp() WHERE order_id = %s", (order.id,))
    await checkout.expire_orders_once(shop)


def page_of(gateway: Gateway, order: OrderView) -> str:
    assert order.next_action is not None
    return order.next_action.url.rpartition("/")[2]


async def take(shop: Shop, webhook: tuple[dict[str, str], bytes]) -> None:
    await take_webhook(shop, provider="stripe", headers=webhook[0], body=webhook[1])


async def refund_states(shop: Shop, order_id: OrderId) -> list[RefundState]:
    async with shop.database.connection() as conn:
        rows = await conn.execute("SELECT state FROM payments.refunds WHERE order_id = %s", (order_id,))
        return [RefundState(row[0]) for row in await rows.fetchall()]


async def test_a_page_is_paid_and_the_order_with_it(shop: Shop, gateway: Gateway, sell: Stock, buyer: PersonId) -> None:
    variant = await sell("LAMP", stock=1, price=PRICE)
    placed = await order(shop, buyer, "hosted")
    assert placed.state == OrderState.AWAITING_PAYMENT
    gateway.ledger.pay_session(page_of(gateway, placed))
    assert (await look(shop, placed)).state == OrderState.AWAITING_PAYMENT  # a return proves nothing by itself
    assert (await look(shop, placed, ask=True)).state == OrderState.PAID
    assert await stock(shop, variant) == (0, 0, 1)
    assert gateway.ledger.taken() == PRICE


async def test_a_declined_card_keeps_the_goods_for_another(
    shop: Shop, gateway: Gateway, sell: Stock, buyer: PersonId
) -> None:
    variant = await sell("LAMP", stock=1, price=PRICE)
    declined = await order(shop, buyer, "pm_card_chargeDeclinedInsufficientFunds")
    assert (declined.state, declined.failure) == (OrderState.PAYMENT_FAILED, "insufficient_funds")
    assert await stock(shop, variant) == (0, 1, 0)
    again = await checkout.pay_again(
        shop, buyer_id=buyer, order_id=declined.id, provider="stripe", method="pm_card_visa"
    )
    assert again.state == OrderState.PAID
    assert gateway.ledger.taken() == PRICE


@pytest.mark.parametrize("kind", [Kind.LOST, Kind.ERROR_AFTER, Kind.STALL, Kind.RESET, Kind.RATE_LIMIT, Kind.ERROR])
async def test_a_lost_answer_ends_in_one_capture_and_a_paid_order(
    shop: Shop, gateway: Gateway, sell: Stock, buyer: PersonId, kind: Kind
) -> None:
    variant = await sell("LAMP", stock=1, price=PRICE)
    hasty = shop.settings.payments.model_copy(update={"provider_timeout_s": 0.5})
    hurried = make_providers(shop.database, shop.settings.model_copy(update={"payments": hasty}))
    quick = replace(shop, providers=hurried)
    try:
        gateway.faults.add(kind, times=2, delay_s=20)
        placed = await order(quick, buyer)
    finally:
        await quick.providers.close()
    assert (placed.state, placed.processing) == (OrderState.AWAITING_PAYMENT, True)
    assert await stock(shop, variant) == (0, 1, 0)
    gateway.faults.faults.clear()
    for _ in range(2):
        await reconcile(shop)
    assert (await look(shop, placed)).state == OrderState.PAID
    assert len(gateway.ledger.captures(f"{placed.id}.1")) == len(gateway.ledger.captures()) == 1
    assert await stock(shop, variant) == (0, 0, 1)


async def test_an_order_whose_answer_was_lost_is_paid_after_all_when_its_time_is_over(
    shop: Shop, gateway: Gateway, sell: Stock, buyer: PersonId
) -> None:
    variant = await sell("LAMP", stock=1, price=PRICE)
    gateway.faults.add(Kind.LOST, times=2)
    placed = await order(shop, buyer)
    await run_out(shop, placed)
    assert (await look(shop, placed)).state == OrderState.PAID
    assert await stock(shop, variant) == (0, 0, 1)
    assert gateway.ledger.taken() == PRICE


async def test_an_order_that_never_reached_stripe_ends_without_a_charge(
    shop: Shop, gateway: Gateway, sell: Stock, buyer: PersonId
) -> None:
    variant = await sell("LAMP", stock=1, price=PRICE)
    gateway.faults.add(Kind.RESET, times=2)
    placed = await order(shop, buyer)
    await run_out(shop, placed)
    assert (await look(shop, placed)).state == OrderState.CANCELLED
    assert await stock(shop, variant) == (1, 0, 0)
    assert gateway.ledger.taken() == 0


async def test_stock_is_kept_while_stripe_does_not_answer(
    shop: Shop, gateway: Gateway, sell: Stock, buyer: PersonId
) -> None:
    variant = await sell("LAMP", stock=1, price=PRICE)
    placed = await order(shop, buyer, "hosted")
    gateway.faults.add(Kind.RATE_LIMIT, method="POST", path=".*/expire", times=1)
    await run_out(shop, placed)
    assert (await look(shop, placed)).state == OrderState.AWAITING_PAYMENT
    assert await stock(shop, variant) == (0, 1, 0)
    await checkout.expire_orders_once(shop)
    assert (await look(shop, placed)).state == OrderState.CANCELLED
    assert await stock(shop, variant) == (1, 0, 0)
    assert gateway.ledger.sessions[page_of(gateway, placed)]["status"] == "expired"


async def test_a_page_paid_at_the_last_moment_is_not_cancelled(
    shop: Shop, gateway: Gateway, sell: Stock, buyer: PersonId
) -> None:
    variant = await sell("LAMP", stock=1, price=PRICE)
    placed = await order(shop, buyer, "hosted")
    gateway.ledger.pay_session(page_of(gateway, placed))
    await run_out(shop, placed)
    assert (await look(shop, placed)).state == OrderState.PAID
    assert await stock(shop, variant) == (0, 0, 1)


@pytest.mark.parametrize("left", [1, 0])
async def test_a_payment_told_after_the_order_ended_is_kept_or_given_back(
    shop: Shop, gateway: Gateway, sell: Stock, buyer: PersonId, left: int
) -> None:
    """Stripe says "expired" to us and "completed" to the shopper: its webhook decides what happens to the money."""
    variant = await sell("LAMP", stock=1, price=PRICE)
    placed = await order(shop, buyer, "hosted")
    page = page_of(gateway, placed)
    await run_out(shop, placed)
    assert (await look(shop, placed)).state == OrderState.CANCELLED
    if not left:
        assert (await order(shop, PersonId(new_id()))).state == OrderState.PAID
    gateway.ledger.sessions[page]["status"] = "open"
    gateway.ledger.pay_session(page)
    for _ in range(2):
        await take(shop, gateway.webhook("checkout.session.completed"))
        await take(shop, gateway.webhook("payment_intent.succeeded"))
        await reconcile(shop)
    assert (await look(shop, placed)).state == (OrderState.PAID if left else OrderState.REFUNDED)
    assert await stock(shop, variant) == (0, 0, 1)
    assert await refund_states(shop, placed.id) == ([] if left else [RefundState.DONE])
    assert gateway.ledger.taken() == PRICE
    assert len(gateway.ledger.refunds) == (0 if left else 1)


async def test_webhooks_in_any_order_and_number_pay_once(
    shop: Shop, gateway: Gateway, sell: Stock, buyer: PersonId
) -> None:
    variant = await sell("LAMP", stock=8, price=PRICE)
    for seed in range(4):
        someone = PersonId(new_id())
        placed = await order(shop, someone, "hosted")
        page = page_of(gateway, placed)
        gateway.ledger.pay_session(page, "pm_card_chargeDeclined")
        gateway.ledger.pay_session(page)
        payment = gateway.ledger.sessions[page]["payment_intent"]
        told = [
            gateway.webhook("checkout.session.completed", about=page),
            gateway.webhook("payment_intent.succeeded", about=payment),
            gateway.webhook("payment_intent.payment_failed", about=payment),
        ] * 3
        random.Random(seed).shuffle(told)
        await asyncio.gather(*(take(shop, webhook) for webhook in told))
        assert (await look(shop, placed)).state == OrderState.PAID
        assert await stock(shop, variant) == (7 - seed, 0, seed + 1)
        async with shop.database.connection() as conn:
            rows = await conn.execute(
                "SELECT count(*) FROM platform.outbox WHERE topic = 'order.paid' AND payload ->> 'order_id' = %s",
                (str(placed.id),),
            )
            assert await rows.fetchone() == (1,)


async def test_a_late_failure_does_not_undo_a_payment(
    shop: Shop, gateway: Gateway, sell: Stock, buyer: PersonId
) -> None:
    await sell("LAMP", stock=1, price=PRICE)
    placed = await order(shop, buyer, "pm_card_authenticationRequired")
    assert placed.state == OrderState.AWAITING_PAYMENT
    charge = await loaded(shop.database, ChargeRef(placed.id, 1))
    assert charge.provider_ref is not None
    gateway.ledger.authenticate(charge.provider_ref, succeed=False)
    failed = gateway.webhook("payment_intent.payment_failed")
    payment = gateway.ledger.payment(charge.provider_ref)
    payment |= {"status": "requires_action"}
    gateway.ledger.authenticate(charge.provider_ref, succeed=True)
    await take(shop, gateway.webhook("payment_intent.succeeded"))
    await take(shop, failed)
    assert (await look(shop, placed)).state == OrderState.PAID


async def test_a_capture_of_another_sum_pays_nothing_and_waits_for_a_human(
    shop: Shop, gateway: Gateway, sell: Stock, buyer: PersonId
) -> None:
    variant = await sell("LAMP", stock=1, price=PRICE)
    placed = await order(shop, buyer, "hosted")
    page = page_of(gateway, placed)
    gateway.ledger.pay_session(page, amount=1)
    with caught_logs(shop.settings) as logs:
        await take(shop, gateway.webhook("checkout.session.completed"))
        await take(shop, gateway.webhook("payment_intent.succeeded"))
        await reconcile(shop)
        await run_out(shop, placed)
    assert len(logs.events("captured_other_total")) == 4
    assert (await look(shop, placed, ask=True)).state == OrderState.AWAITING_PAYMENT
    assert await stock(shop, variant) == (0, 1, 0)
    charge = await loaded(shop.database, ChargeRef(placed.id, 1))
    payment = gateway.ledger.sessions[page]["payment_intent"]
    assert (charge.state, charge.provider_ref) == (ChargeState.REQUIRES_ACTION, payment)
    # A human gives it back in Stripe's dashboard; the shop finds that out by itself.
    gateway.ledger.create_refund({"payment_intent": payment})
    await reconcile(shop)
    await checkout.expire_orders_once(shop)
    assert (await look(shop, placed)).state == OrderState.CANCELLED
    assert await stock(shop, variant) == (1, 0, 0)


async def test_webhooks_that_stripe_sends_by_itself_pay_the_order(
    shop: Shop, gateway: Gateway, sell: Stock, buyer: PersonId
) -> None:
    """Over HTTP: shuffled, twice each, and sent again while the shop cannot take them."""
    await sell("LAMP", stock=3, price=PRICE)
    refusals = iter([503, 503, 503])

    async def post(request: Request) -> Response:
        if next(refusals, None):
            return Response(status_code=503)
        try:
            await take_webhook(shop, provider="stripe", headers=request.headers, body=await request.body())
        except Problem as problem:
            return Response(status_code=problem.status)
        return JSONResponse({})

    async with serving(Starlette(routes=[Route("/hook", post, methods=["POST"])])) as address:
        gateway.hooks.url = f"{address}/hook"
        gateway.hooks.copies, gateway.hooks.shuffle, gateway.hooks.delay_s = 2, True, 0.2
        placed = [await order(shop, PersonId(new_id()), "hosted") for _ in range(3)]
        for each in placed:
            gateway.ledger.pay_session(page_of(gateway, each))
        await eventually(lambda: gateway.hooks.sent == 2 * len(gateway.ledger.events))
    assert {(await look(shop, each)).state for each in placed} == {OrderState.PAID}
    assert gateway.hooks.refused == 3
    assert gateway.ledger.taken() == 3 * PRICE


METHODS = ("hosted", "pm_card_visa", "pm_card_chargeDeclined", "pm_card_authenticationRequired")


async def test_the_books_agree_after_a_bad_day_at_the_gateway(
    shop: Shop, gateway: Gateway, sell: Stock, database: Database
) -> None:
    """A third of all calls fail somehow; some shoppers pay, some leave; in the end money, orders and stock agree."""
    orders, stock_of = 24, 12
    variant = await sell("LAMP", stock=stock_of, price=PRICE)
    chance = random.Random(5)
    for kind in (Kind.LOST, Kind.ERROR, Kind.ERROR_AFTER, Kind.RESET, Kind.RATE_LIMIT):
        gateway.faults.add(kind, share=0.08, times=1_000)
        gateway.faults.add(kind, method="GET", share=0.08, times=1_000)

    async def buy(number: int) -> OrderView | None:
        try:
            return await order(shop, PersonId(new_id()), METHODS[number % len(METHODS)])
        except checkout.SoldOut:
            return None

    placed = [each for each in await asyncio.gather(*map(buy, range(orders))) if each is not None]
    assert len(placed) == stock_of
    for _ in range(2):
        await reconcile(shop)
        for session in gateway.ledger.sessions.values():
            if session["status"] == "open" and chance.random() < 0.5:
                gateway.ledger.pay_session(session["id"])
        for payment in gateway.ledger.payments.values():
            if payment["status"] == "requires_action" and chance.random() < 0.5:
                gateway.ledger.authenticate(payment["id"], succeed=chance.random() < 0.7)
        told = list(gateway.ledger.events)
        chance.shuffle(told)
        for event in told[: len(told) // 2]:
            await take(shop, signed(event, secrets=gateway.hooks.secrets))
    gateway.faults.faults.clear()
    for each in placed:
        await run_out(shop, each)
    await reconcile(shop)
    ended = [await look(shop, each) for each in placed]
    paid = [each.id for each in ended if each.state == OrderState.PAID]
    assert {each.state for each in ended} == {OrderState.PAID, OrderState.CANCELLED}
    assert sorted(each["metadata"]["tidegate_ref"] for each in gateway.ledger.captures()) == sorted(
        f"{order_id}.1" for order_id in paid
    )
    assert gateway.ledger.taken() == len(paid) * PRICE
    assert await stock(shop, variant) == (stock_of - len(paid), 0, len(paid))


async def test_stripe_and_the_sandbox_stand_side_by_side_in_a_demo(
    database: Database, settings: Settings, gateway: Gateway
) -> None:
    demo = stripe_settings(gateway, settings.model_copy(update={"demo": True}))
    providers = make_providers(database, demo)
    assert list(providers) == ["stripe", "sandbox"]
    await providers.close()
    none = stripe_settings(gateway, settings, stripe_secret_key=SecretStr(""))
    assert list(make_providers(database, none)) == []
