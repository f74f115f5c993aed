"""What must happen though nobody asks: holds and orders that end, payments whose answer never came.

Each function does one bounded round and says how much it did; the scheduler repeats them. Two at once do no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import structlog

from tidegate import inventory, payments
from tidegate.checkout.contracts import OrderState
from tidegate.checkout.orders import load_orders, lock_orders, move_orders, unpaid_past_their_time
from tidegate.checkout.rules import PAYABLE
from tidegate.checkout.settlement import settle
from tidegate.checkout.shop import Shop
from tidegate.checkout.views import OPEN
from tidegate.payments.contracts import Answer, Charge, ChargeRef, OutcomeUnknown, ProviderRefused, Refund
from tidegate.platform.ids import OrderId

log = structlog.get_logger()


async def expire_holds_once(shop: Shop) -> int:
    """Give the stock of holds back whose time is over and that nobody ordered."""
    async with shop.database.transaction() as conn:
        return await inventory.expire_holds(conn, limit=shop.settings.holds.sweep_batch)


async def reconcile_once(shop: Shop) -> int:
    """Ask providers about charges whose answer never came, and settle webhooks and refunds that were left over.

    An attempt whose order was paid by another one is ended, so that nobody pays twice.
    """
    limits = shop.settings.payments
    async with shop.database.transaction() as conn:
        due = await payments.claim_due(conn, limit=limits.reconcile_batch, after_s=limits.reconcile_after_s)
        orders = await load_orders(conn, [charge.ref.order_id for charge in due])
    payable = {order_id for order_id, order in orders.items() if order.state in PAYABLE}
    wanted = [charge for charge in due if charge.ref.order_id in payable]
    useless = [charge for charge in due if charge.ref.order_id not in payable]
    await _settle_each(shop, await _ask_all(shop, wanted, partial(payments.ask_provider, shop.providers)))
    await _settle_each(shop, await _ask_all(shop, useless, partial(payments.end_attempt, shop.providers)))
    for notice in await payments.sweep_unapplied_webhooks(shop.database, shop.providers, limit=limits.reconcile_batch):
        await settle(shop, {notice.ref: notice.answer}, notices=[notice])
    async with shop.database.transaction() as conn:
        refunds = await payments.claim_due_refunds(conn, limit=limits.reconcile_batch)
    for refund in refunds:
        await _give_back(shop, refund)
    return len(due) + len(refunds)


async def _settle_each(shop: Shop, answers: Mapping[ChargeRef, Answer]) -> None:
    """Settle answers; an order in trouble does not hold up the others."""
    settled = await asyncio.gather(*(settle(shop, {ref: answers[ref]}) for ref in answers), return_exceptions=True)
    for ref, outcome in zip(answers, settled, strict=True):
        if isinstance(outcome, Exception):
            log.error("order_not_settled", order_id=str(ref.order_id), attempt=ref.attempt, exc_info=outcome)


async def _give_back(shop: Shop, refund: Refund) -> None:
    """Have the money given back; the order said so when this was decided. Safe to repeat."""
    try:
        await payments.run_refund(shop.providers, shop.database, refund)
    except (OutcomeUnknown, ProviderRefused) as error:
        log.warning("refund_not_settled", order_id=str(refund.ref.order_id), reason=refund.reason, error=repr(error))


async def expire_orders_once(shop: Shop) -> int:
    """Cancel orders that were not paid in time: first their payment is ended, then their stock goes back.

    A payment that turns out completed wins. One whose provider does not answer keeps its stock until it does.
    """
    async with shop.database.connection() as conn:
        due = await unpaid_past_their_time(conn, limit=shop.settings.holds.sweep_batch)
        charges = await payments.load_charges(conn, order_ids=due)
    unsettled = [charge for order_id in due for charge in charges.get(order_id, ()) if charge.state in OPEN]
    await _settle_each(shop, await _ask_all(shop, unsettled, partial(payments.end_attempt, shop.providers)))
    return await _cancel_unpaid(shop, due) if due else 0


async def _cancel_unpaid(shop: Shop, order_ids: Sequence[OrderId]) -> int:
    """Cancel those of these orders whose time is over and that no open attempt can still pay."""
    async with shop.database.transaction() as conn:
        orders = await lock_orders(conn, order_ids)
        charges = await payments.load_charges(conn, order_ids=order_ids)
        over = [
            order
            for order in orders.values()
            if order.state in PAYABLE
            and order.seconds_left == 0
            and not any(charge.state in OPEN for charge in charges.get(order.id, ()))
        ]
        await move_orders(conn, {order.id: OrderState.CANCELLED for order in over})
        await inventory.release_holds(conn, [order.hold_id for order in over])
        return len(over)


async def _ask_all(
    shop: Shop, charges: Sequence[Charge], ask: Callable[[Charge], Awaitable[Answer]]
) -> dict[ChargeRef, Answer]:
    """Put one question about each charge, some at once; charges without an answer are left out."""
    gate = asyncio.Semaphore(shop.settings.payments.ask_at_once)

    async def one(charge: Charge) -> tuple[ChargeRef, Answer] | None:
        async with gate:
            try:
                return charge.ref, await ask(charge)
            except (OutcomeUnknown, ProviderRefused):
                log.warning("provider_gave_no_answer", order_id=str(charge.ref.order_id), attempt=charge.ref.attempt)
                return None

    answers = await asyncio.gather(*(one(charge) for charge in charges))
    return dict(answer for answer in answers if answer is not None)
