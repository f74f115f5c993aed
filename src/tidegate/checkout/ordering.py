"""Placing an order and paying it: intent recorded, provider called with nothing open, result recorded."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import structlog
from psycopg.errors import LockNotAvailable

from tidegate import inventory, payments
from tidegate.checkout.contracts import (
    AlreadyOrdered,
    HoldExpired,
    NotPayable,
    OrderForm,
    OrderState,
    OrderView,
)
from tidegate.checkout.holding import view_hold
from tidegate.checkout.orders import NewOrder, Order, insert_orders, lock_orders, move_orders
from tidegate.checkout.rules import PAYABLE, check_form, clean_form
from tidegate.checkout.settlement import settle
from tidegate.checkout.shop import Shop
from tidegate.checkout.views import OPEN, view_orders
from tidegate.inventory import Attachment
from tidegate.payments.contracts import Answer, ChargeIntent, ChargeRef, ChargeState, OutcomeUnknown, ProviderRefused
from tidegate.platform.database import Connection
from tidegate.platform.idempotency import (
    Claim,
    ClaimState,
    RequestKey,
    StoredAnswer,
    claim_keys,
    name_subjects,
)
from tidegate.platform.ids import OrderId, PersonId, new_id
from tidegate.platform.problems import InvalidRequest, KeyInFlight, KeyReused, NotFound

log = structlog.get_logger()
TWIN_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Replay:
    """The answer that the key's first request got."""

    answer: StoredAnswer


async def place_order(
    shop: Shop, *, buyer_id: PersonId, form: OrderForm, key: RequestKey | None = None
) -> OrderView | Replay:
    """Order what a hold keeps, and start its payment. With a key, a repeat gets the first one's answer.

    The order stands even when the card is declined: it is then `payment_failed`, and ordering the same hold again
    with another card pays the same order, until its end.
    Raises: InvalidRequest with `errors` by field, NotFound (also for another buyer's hold), HoldExpired,
    AlreadyOrdered, KeyReused, KeyInFlight, UnknownProvider.
    """
    form = clean_form(form)
    wrong = check_form(form)
    if wrong:
        errors = [{"field": field, "message": words} for field, words in wrong.items()]
        raise InvalidRequest("the order form is not complete", errors=errors)
    payments.check_method(shop.providers, provider=form.provider, method=form.method)
    started = await _start(shop, buyer_id, form, key)
    if isinstance(started, Replay):
        return started
    return await _charge(shop, started)


async def pay_again(shop: Shop, *, buyer_id: PersonId, order_id: OrderId, provider: str, method: str) -> OrderView:
    """Another attempt at paying an order whose last one failed.

    An attempt that is still open is not doubled: the order is returned with what to do next.
    Raises: NotFound, NotPayable, UnknownProvider.
    """
    payments.check_method(shop.providers, provider=provider, method=method)
    async with shop.database.transaction() as conn:
        order = (await lock_orders(conn, [order_id])).get(order_id)
        if order is None or order.buyer_id != buyer_id:
            raise NotFound("there is no such order")
        if order.state not in PAYABLE or order.seconds_left == 0:
            raise NotPayable()
        intent = await _next_attempt(conn, shop, order, provider=provider, method=method)
        if intent is None:
            return (await view_orders(conn, [order_id]))[order_id]
    return await _charge(shop, intent)


async def find_order(shop: Shop, *, buyer_id: PersonId, order_id: OrderId, ask: bool = False) -> OrderView:
    """The buyer's order. With `ask`, the provider is asked about an open payment first.

    A return from the provider's page proves nothing by itself, so it leads here with `ask`.
    Raises: NotFound, also for another buyer's.
    """
    async with shop.database.connection() as conn:
        view = (await view_orders(conn, [order_id])).get(order_id)
        if view is None or view.buyer_id != buyer_id:
            raise NotFound("there is no such order")
        charges = (await payments.load_charges(conn, order_ids=[order_id])).get(order_id, ())
    unsettled = [charge for charge in charges if charge.state in OPEN]
    if not ask or not unsettled:
        return view
    try:
        answers = {charge.ref: await payments.ask_provider(shop.providers, charge) for charge in unsettled}
    except (OutcomeUnknown, ProviderRefused):
        return view
    return (await settle(shop, answers))[order_id]


async def _start(shop: Shop, buyer_id: PersonId, form: OrderForm, key: RequestKey | None) -> ChargeIntent | Replay:
    """First transaction: key, hold, order, intent. A twin in flight is waited for until its deadline."""
    deadline = asyncio.get_running_loop().time() + shop.settings.idempotency.wait_s
    while True:
        try:
            async with shop.database.transaction() as conn:
                claim = (await claim_keys(conn, [key]))[0] if key else Claim(ClaimState.NEW)
                if claim.state == ClaimState.NEW:
                    return await _record(conn, shop, buyer_id, form, key)
        except LockNotAvailable:
            raise KeyInFlight() from None
        if claim.state == ClaimState.REUSED:
            raise KeyReused()
        if claim.state == ClaimState.ANSWERED:
            assert claim.answer is not None
            return Replay(claim.answer)
        if asyncio.get_running_loop().time() >= deadline:
            raise KeyInFlight()
        await asyncio.sleep(TWIN_POLL_S)


async def _record(
    conn: Connection, shop: Shop, buyer_id: PersonId, form: OrderForm, key: RequestKey | None
) -> ChargeIntent:
    hold = (await inventory.load_holds(conn, [form.hold_id])).get(form.hold_id)
    if hold is None or hold.buyer_id != buyer_id:
        raise NotFound("there is no such hold")
    if hold.order_id is not None:
        return await _order_again(conn, shop, hold.order_id, form, key)
    order_id = OrderId(new_id())
    attached = await inventory.attach_holds(conn, {hold.id: order_id}, window_s=shop.settings.holds.payment_window_s)
    outcome, pay_until = attached[hold.id]
    if outcome == Attachment.ALREADY_ORDERED:
        raise AlreadyOrdered()
    if outcome == Attachment.ENDED or pay_until is None:
        raise HoldExpired()
    view = await view_hold(conn, shop, hold)
    lines = tuple(zip((line.variant_id for line in hold.lines), view.lines, strict=True))
    order = NewOrder(order_id, buyer_id, hold.id, view.total, form.email, form.address, pay_until, lines)
    numbers = await insert_orders(conn, [order])
    intent = ChargeIntent(
        ref=ChargeRef(order_id, 1),
        provider=form.provider,
        method=form.method,
        total=view.total,
        return_url=_return_url(shop, order_id),
        description=numbers[order_id],
    )
    await payments.record_intents(conn, [intent])
    if key:
        await name_subjects(conn, {key: order_id})
    return intent


async def _order_again(
    conn: Connection, shop: Shop, order_id: OrderId, form: OrderForm, key: RequestKey | None
) -> ChargeIntent:
    """Another card for an order whose last one was declined. Its goods, address and end stay as they are."""
    order = (await lock_orders(conn, [order_id]))[order_id]
    if order.state == OrderState.CANCELLED or (order.state in PAYABLE and order.seconds_left == 0):
        raise HoldExpired()
    if order.state != OrderState.PAYMENT_FAILED:
        raise AlreadyOrdered(order_id=str(order_id))
    intent = await _next_attempt(conn, shop, order, provider=form.provider, method=form.method)
    if intent is None:
        raise AlreadyOrdered(order_id=str(order_id))
    if key:
        await name_subjects(conn, {key: order_id})
    return intent


async def _next_attempt(
    conn: Connection, shop: Shop, order: Order, *, provider: str, method: str
) -> ChargeIntent | None:
    """Record one more attempt at a locked order; None while another one is open."""
    charges = (await payments.load_charges(conn, order_ids=[order.id])).get(order.id, ())
    if any(charge.state in OPEN for charge in charges):
        return None
    intent = ChargeIntent(
        ref=ChargeRef(order.id, max((charge.ref.attempt for charge in charges), default=0) + 1),
        provider=provider,
        method=method,
        total=order.total,
        return_url=_return_url(shop, order.id),
        description=order.number,
    )
    await payments.record_intents(conn, [intent])
    await move_orders(conn, {order.id: OrderState.AWAITING_PAYMENT})
    return intent


async def _charge(shop: Shop, intent: ChargeIntent) -> OrderView:
    """Call the provider with no transaction open, then settle. An answer that never came is asked for later."""
    order_id = intent.ref.order_id
    try:
        answer = await payments.call_provider(shop.providers, intent)
    except ProviderRefused as refusal:
        log.error("provider_refused", order_id=str(order_id), attempt=intent.ref.attempt, reason=str(refusal))
        answer = Answer(ChargeState.FAILED, "", failure="refused")
    except OutcomeUnknown:
        log.warning("payment_outcome_unknown", order_id=str(order_id), attempt=intent.ref.attempt)
        async with shop.database.connection() as conn:
            return replace((await view_orders(conn, [order_id]))[order_id], processing=True)
    return (await settle(shop, {intent.ref: answer}))[order_id]


def _return_url(shop: Shop, order_id: OrderId) -> str:
    return f"{shop.settings.base_url}/orders/{order_id}?returned=1"
