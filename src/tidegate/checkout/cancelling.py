"""Cancelling an order: what was not paid ends at the provider first, what was paid goes back as a whole."""

from __future__ import annotations

from tidegate import inventory, payments
from tidegate.checkout.contracts import Actor, NotCancellable, OrderState
from tidegate.checkout.history import load_aftermath, note
from tidegate.checkout.orders import Order, load_orders, lock_orders, move_orders
from tidegate.checkout.pending import or_taken_up
from tidegate.checkout.refunding import reason_of, tell, try_to_carry_out
from tidegate.checkout.rules import PAYABLE
from tidegate.checkout.settlement import settle
from tidegate.checkout.shop import Shop
from tidegate.checkout.views import OPEN
from tidegate.payments.contracts import OutcomeUnknown, ProviderRefused, Refund
from tidegate.platform.database import Connection
from tidegate.platform.ids import OrderId
from tidegate.platform.money import Money
from tidegate.platform.problems import NotFound
from tidegate.platform.texts import text as _
from tidegate.platform.transactions import wait_until_durable

KEY = "cancelled"
"""A cancelled order is given back once."""


async def cancel(shop: Shop, *, order_id: OrderId, by: Actor) -> None:
    """Cancel an order that is not paid, or paid and not sent: stock, limits and money go back. Safe to repeat.

    A payment that turns out completed while it is ended makes the order paid; it is cancelled as such.
    Raises: NotFound (also for another buyer's), NotCancellable.
    """
    order = await _own(shop, order_id, by)
    if order.state in PAYABLE:
        await _end_payment(shop, order_id)
    async with shop.database.transaction() as conn:
        order = (await lock_orders(conn, [order_id]))[order_id]
        if order.state is OrderState.CANCELLED:
            return
        if order.state in PAYABLE:
            await _cancel_unpaid(conn, order, by)
            return
        refund = await _cancel_paid(conn, shop, order, by)
    if refund is not None:
        await try_to_carry_out(shop, refund)


async def _own(shop: Shop, order_id: OrderId, by: Actor) -> Order:
    async def look() -> Order:
        async with shop.database.connection() as conn:
            order = (await load_orders(conn, [order_id])).get(order_id)
        if order is None or (by.role == "buyer" and order.buyer_id != by.id):
            raise NotFound("there is no such order")
        return order

    return await or_taken_up(shop.database, order_id, look)


async def _end_payment(shop: Shop, order_id: OrderId) -> None:
    """End open attempts at the provider, with no transaction open, and settle what it says."""
    async with shop.database.connection() as conn:
        charges = (await payments.load_charges(conn, order_ids=[order_id])).get(order_id, ())
        if any(charge.state in OPEN for charge in charges):
            await wait_until_durable(conn)
    for charge in charges:
        if charge.state in OPEN:
            try:
                answer = await payments.end_attempt(shop.providers, charge)
            except (OutcomeUnknown, ProviderRefused):
                raise _open() from None
            await settle(shop, {charge.ref: answer})


async def _cancel_unpaid(conn: Connection, order: Order, by: Actor) -> None:
    charges = (await payments.load_charges(conn, order_ids=[order.id])).get(order.id, ())
    if any(charge.state in OPEN for charge in charges):
        raise _open()
    await move_orders(conn, {order.id: OrderState.CANCELLED})
    await note(conn, order.id, "cancelled", by)
    await inventory.release_holds(conn, [order.hold_id])


async def _cancel_paid(conn: Connection, shop: Shop, order: Order, by: Actor) -> Refund | None:
    """Undo the sale of a locked order; the refund to carry out, if there is money to give back."""
    captured = await payments.lock_captured(conn, order.id)
    after = await load_aftermath(conn, order)
    if after.cancelled_at is not None:
        return None
    if order.state is not OrderState.PAID or after.sent_any or captured is None:
        raise NotCancellable(_("Some of this order is sent, or its money went back. It was not changed."))
    if by.role == "buyer" and not shop.settings.orders.buyer_cancels_paid:
        raise NotCancellable(_("This order is paid, and the shop cancels paid orders itself: write to it."))
    await conn.execute("UPDATE checkout.orders SET cancelled_at = clock_timestamp() WHERE id = %s", (order.id,))
    await note(conn, order.id, "cancelled", by)
    left = captured.left
    refund = Refund(captured.ref, reason_of(order.id, KEY), left)
    await payments.record_refunds(conn, [refund])
    await inventory.undo_sale(conn, order.hold_id)
    if captured.total.amount == 0:
        await tell(conn, shop, order, Money(0, left.currency), all_of_it=True)
    return refund if left.amount else None


def _open() -> NotCancellable:
    return NotCancellable(
        _(
            "A payment of this order is still open, and its provider did not end it just now."
            " Nothing was changed: try it again in a minute."
        ),
        retry_after_s=30,
    )
