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
from tidegate.checkout.orders import load_orders, lock_orders, move_orders, put_last, unpaid_past_their_time
from tidegate.checkout.pending import write_found
from tidegate.checkout.refunding import try_to_carry_out
from tidegate.checkout.rules import PAYABLE
from tidegate.checkout.settlement import settle
from tidegate.checkout.shop import Shop
from tidegate.checkout.views import OPEN
from tidegate.payments.contracts import Answer, Charge, OutcomeUnknown, ProviderRefused, Refund, UnknownProvider
from tidegate.platform.idempotency import old_pending
from tidegate.platform.ids import HoldId, OrderId
from tidegate.platform.set_aside import SetAside
from tidegate.platform.transactions import wait_until_durable

log = structlog.get_logger()

MOST_PARTS = 5
"""Most batches of orders that one round takes up before anybody is asked anything."""

ASK_S = 20.0
"""Longest time that one round asks providers, so that one that is away does not keep the round from its other work."""


async def expire_holds_once(shop: Shop, aside: SetAside[HoldId] | None = None) -> int:
    """Give the stock of holds back whose time is over and that nobody ordered.

    A hold that cannot be ended keeps no others from it; `aside` remembers it for the next rounds.
    """
    aside = aside or SetAside("expire-holds")
    async with shop.database.connection() as conn:
        due = await inventory.due_holds(conn, limit=shop.settings.holds.sweep_batch, but=aside.ids)

    async def end(hold_ids: Sequence[HoldId]) -> int:
        async with shop.database.transaction() as conn:
            return await inventory.expire_holds(conn, hold_ids)

    return await aside.run(due, end)


async def take_up_once(shop: Shop, aside: SetAside[OrderId] | None = None) -> int:
    """Write orders whose requests have not said for a while what came of them: their processes may have died.

    One that cannot be written keeps no others from it; `aside` remembers it for the next rounds.
    """
    aside = aside or SetAside("take-up")
    limits = shop.settings.payments
    done = 0
    for _ in range(MOST_PARTS):
        async with shop.database.connection() as conn:
            found = await old_pending(
                conn, after_s=limits.reconcile_after_s, limit=limits.reconcile_batch, but=aside.ids
            )
        done += await aside.run([OrderId(each) for each in found], partial(write_found, shop.database))
        if len(found) < limits.reconcile_batch:
            break
    return done


async def reconcile_once(shop: Shop, aside: SetAside[OrderId] | None = None) -> int:
    """Ask providers about charges whose answer never came, and settle webhooks and refunds that were left over.

    An attempt whose order was paid by another one is ended, so that nobody pays twice. `aside` as in `take_up_once`.
    """
    await take_up_once(shop, aside)
    limits = shop.settings.payments
    async with shop.database.transaction() as conn:
        due = await payments.claim_due(conn, limit=limits.reconcile_batch, after_s=limits.reconcile_after_s)
        orders = await load_orders(conn, [charge.ref.order_id for charge in due])
    payable = {order_id for order_id, order in orders.items() if order.state in PAYABLE}
    wanted = [charge for charge in due if charge.ref.order_id in payable]
    useless = [charge for charge in due if charge.ref.order_id not in payable]
    await _ask_all(shop, wanted, partial(payments.ask_provider, shop.providers))
    await _ask_all(shop, useless, partial(payments.end_attempt, shop.providers))
    for notice in await payments.sweep_unapplied_webhooks(shop.database, shop.providers, limit=limits.reconcile_batch):
        try:
            await settle(shop, {notice.ref: notice.answer}, notices=[notice])
        except Exception:
            log.exception("webhook_not_settled", provider=notice.provider, order_id=str(notice.ref.order_id))
    async with shop.database.transaction() as conn:
        refunds = await payments.claim_due_refunds(conn, limit=limits.reconcile_batch)
    gate = asyncio.Semaphore(limits.ask_at_once)
    await asyncio.gather(*(_give_back(shop, refund, gate) for refund in refunds))
    return len(due) + len(refunds)


async def _give_back(shop: Shop, refund: Refund, gate: asyncio.Semaphore) -> None:
    """Have the money given back, some at once; the order said so when this was decided. Safe to repeat."""
    async with gate:
        await try_to_carry_out(shop, refund)


async def expire_orders_once(shop: Shop, aside: SetAside[OrderId] | None = None) -> int:
    """Cancel orders that were not paid in time: first their payment is ended, then their stock goes back.

    A payment that turns out completed wins. One whose provider does not answer keeps its stock until it does; orders
    without an open payment do not wait for it. What was tried goes to the end of the line, so that payments which
    cannot be ended for long keep no others from their turn. An order that cannot be cancelled does not, either; `aside`
    remembers it for the next rounds.
    """
    aside = aside or SetAside("expire-orders")
    async with shop.database.connection() as conn:
        due = await unpaid_past_their_time(conn, limit=shop.settings.holds.sweep_batch, but=aside.ids)
        charges = await payments.load_charges(conn, order_ids=due)
    if not due:
        return 0
    cancelled = await aside.run(due, partial(_cancel_unpaid, shop))
    unsettled = [charge for order_id in due for charge in charges.get(order_id, ()) if charge.state in OPEN]
    if unsettled:
        async with shop.database.transaction() as conn:
            await put_last(conn, [charge.ref.order_id for charge in unsettled])
            await wait_until_durable(conn)
        await _ask_all(shop, unsettled, partial(payments.end_attempt, shop.providers))
        cancelled += await aside.run(due, partial(_cancel_unpaid, shop))
    return cancelled


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


async def _ask_all(shop: Shop, charges: Sequence[Charge], ask: Callable[[Charge], Awaitable[Answer]]) -> None:
    """Put one question about each charge, some at once, and settle each answer as it comes.

    Whatever goes wrong with one concerns that one alone. Questions that are not answered within `ASK_S` are dropped:
    they will be asked again.
    """
    gate = asyncio.Semaphore(shop.settings.payments.ask_at_once)

    async def one(charge: Charge) -> None:
        async with gate:
            about = {"order_id": str(charge.ref.order_id), "attempt": charge.ref.attempt}
            try:
                await settle(shop, {charge.ref: await ask(charge)})
            except (OutcomeUnknown, ProviderRefused, UnknownProvider) as error:
                log.warning("provider_gave_no_answer", reason=type(error).__name__, **about)
            except Exception:
                log.exception("order_not_settled", **about)

    tasks = [asyncio.create_task(one(charge)) for charge in charges]
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=ASK_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
