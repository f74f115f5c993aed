"""What must happen though nobody asks: holds and orders that end, payments whose answer never came.

Each function does one bounded round and says how much it did; the scheduler repeats them. Two at once do no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import structlog

from tidegate import inventory, payments
from tidegate.checkout.contracts import OrderState
from tidegate.checkout.orders import load_orders, lock_orders, move_orders, unpaid_past_their_time
from tidegate.checkout.rules import PAYABLE
from tidegate.checkout.settlement import settle
from tidegate.checkout.shop import Shop
from tidegate.checkout.views import OPEN
from tidegate.payments.contracts import Answer, Charge, ChargeIntent, ChargeRef, ChargeState, OutcomeUnknown
from tidegate.platform.ids import OrderId

log = structlog.get_logger()
ASK_AT_ONCE = 8
"""Questions to providers in flight at once."""


async def expire_holds_once(shop: Shop) -> int:
    """Give the stock of holds back whose time is over and that nobody ordered."""
    async with shop.database.transaction() as conn:
        return await inventory.expire_holds(conn, limit=shop.settings.holds.sweep_batch)


async def reconcile_once(shop: Shop) -> int:
    """Ask providers about charges whose answer never came, and settle webhooks and refunds that were left over."""
    limits = shop.settings.payments
    async with shop.database.transaction() as conn:
        due = await payments.claim_due(conn, limit=limits.reconcile_batch, after_s=limits.reconcile_after_s)
    answers = await _ask_all(due, partial(_ask_or_resend, shop))
    await settle(shop, answers)
    refunds = await payments.claim_due_refunds(shop.database, limit=limits.reconcile_batch)
    for refund in refunds:
        if await payments.run_refund(shop.providers, shop.database, refund):
            async with shop.database.transaction() as conn:
                await lock_orders(conn, [refund.ref.order_id])
                if refund.reason != "paid_twice":
                    await move_orders(conn, {refund.ref.order_id: OrderState.REFUNDED})
    return len(due) + len(refunds)


async def expire_orders_once(shop: Shop) -> int:
    """Cancel orders that were not paid in time: first their payment is ended, then their stock goes back.

    A payment that turns out completed wins. One whose provider does not answer keeps its stock until it does.
    """
    async with shop.database.connection() as conn:
        due = await unpaid_past_their_time(conn, limit=shop.settings.holds.sweep_batch)
        charges = await payments.load_charges(conn, order_ids=due)
    unsettled = [charge for order_id in due for charge in charges.get(order_id, ()) if charge.state in OPEN]
    await settle(shop, await _ask_all(unsettled, partial(payments.end_attempt, shop.providers)))
    cancelled = 0
    for order_id in due:
        cancelled += await _cancel_unpaid(shop, order_id)
    return cancelled


async def _cancel_unpaid(shop: Shop, order_id: OrderId) -> int:
    async with shop.database.transaction() as conn:
        order = (await lock_orders(conn, [order_id]))[order_id]
        charges = (await payments.load_charges(conn, order_ids=[order_id])).get(order_id, ())
        if order.state not in PAYABLE or order.seconds_left > 0 or any(charge.state in OPEN for charge in charges):
            return 0
        await move_orders(conn, {order_id: OrderState.CANCELLED})
        await inventory.release_holds(conn, [order.hold_id])
        return 1


async def _ask_all(charges: Sequence[Charge], ask: Callable[[Charge], Awaitable[Answer]]) -> dict[ChargeRef, Answer]:
    """Put one question about each charge, some at once; charges without an answer are left out."""
    gate = asyncio.Semaphore(ASK_AT_ONCE)

    async def one(charge: Charge) -> tuple[ChargeRef, Answer] | None:
        async with gate:
            try:
                return charge.ref, await ask(charge)
            except OutcomeUnknown:
                log.warning("provider_gave_no_answer", order_id=str(charge.ref.order_id), attempt=charge.ref.attempt)
                return None

    answers = await asyncio.gather(*(one(charge) for charge in charges))
    return dict(answer for answer in answers if answer is not None)


async def _ask_or_resend(shop: Shop, charge: Charge) -> Answer:
    """What became of a charge; one that the provider never heard of is sent again under the same key."""
    answer = await payments.ask_provider(shop.providers, charge)
    if answer.state != ChargeState.INTENT or answer.provider_ref:
        return answer
    async with shop.database.connection() as conn:
        order = (await load_orders(conn, [charge.ref.order_id]))[charge.ref.order_id]
    if order.state not in PAYABLE or order.seconds_left == 0:
        return answer
    return await payments.call_provider(
        shop.providers,
        ChargeIntent(
            ref=charge.ref,
            provider=charge.provider,
            method=charge.method,
            total=charge.total,
            return_url=f"{shop.settings.base_url}/orders/{order.id}?returned=1",
            description=order.number,
        ),
    )
