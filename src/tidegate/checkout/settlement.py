"""What a provider's answer does to an order: the one place where money, stock and orders meet.

Whoever brings the answer (the request itself, a webhook, the reconciler) calls `settle`; repeating it, in any order,
changes nothing more. Locks: orders, charges, holds, limits, stock, keys, outbox.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from tidegate import inventory, payments
from tidegate.checkout.contracts import OrderState, OrderView
from tidegate.checkout.documents import money_document, order_document
from tidegate.checkout.orders import Order, lock_orders, move_orders
from tidegate.checkout.shop import Shop
from tidegate.checkout.views import view_orders
from tidegate.inventory import Confirmation
from tidegate.payments.contracts import Answer, Applied, ChargeRef, ChargeState, Notice, Refund
from tidegate.platform.database import Connection
from tidegate.platform.idempotency import StoredAnswer, finish_subjects
from tidegate.platform.ids import EventId, OrderId, new_id
from tidegate.platform.outbox import Event, write_events

STOCK_GONE = "stock-gone"
PAID_TWICE = "paid-twice"
"""Why money goes back by itself."""


async def settle(
    shop: Shop, answers: Mapping[ChargeRef, Answer], *, notices: Sequence[Notice] = ()
) -> dict[OrderId, OrderView]:
    """Apply providers' answers in one transaction; returns the orders as they are afterwards.

    `notices` are the webhooks that brought them: marked as applied with it. Answers about unknown orders are ignored.
    """
    if not answers:
        return {}
    async with shop.database.transaction() as conn:
        orders = await lock_orders(conn, [ref.order_id for ref in answers])
        known = {ref: answer for ref, answer in answers.items() if ref.order_id in orders}
        applied = await payments.apply_answers(conn, known)
        await _settle_captures(conn, shop, orders, _captured(known, applied))
        await _settle_failures(conn, known, applied)
        views = await view_orders(conn, list(orders))
        done: dict[UUID, StoredAnswer] = {
            order_id: StoredAnswer(201, order_document(view)) for order_id, view in views.items()
        }
        await finish_subjects(conn, done)
        await payments.mark_applied(conn, notices)
    return views


def _captured(answers: Mapping[ChargeRef, Answer], applied: Mapping[ChargeRef, Applied]) -> dict[ChargeRef, Applied]:
    """Charges that were captured just now, and captures that no order can take."""
    return {
        ref: applied[ref]
        for ref, answer in answers.items()
        if answer.state == ChargeState.CAPTURED and applied.get(ref) in (Applied.CHANGED, Applied.CAPTURED_TWICE)
    }


async def _settle_captures(
    conn: Connection, shop: Shop, orders: Mapping[OrderId, Order], captured: Mapping[ChargeRef, Applied]
) -> None:
    first = [ref for ref, what in captured.items() if what == Applied.CHANGED]
    holds = {orders[ref.order_id].hold_id: ref.order_id for ref in first}
    confirmed = await inventory.confirm_holds(conn, holds)
    gone = {ref.order_id for ref in first if confirmed[orders[ref.order_id].hold_id] == Confirmation.GONE}
    paid = {ref.order_id: OrderState.PAID for ref in first if ref.order_id not in gone}
    moved = await move_orders(conn, paid | dict.fromkeys(gone, OrderState.REFUNDED))
    unwanted = [ref for ref, what in captured.items() if what == Applied.CAPTURED_TWICE or ref.order_id in gone]
    await payments.record_refunds(conn, [_refund(ref, captured[ref], orders) for ref in unwanted])
    topics = {order_id: "order.refunded" if order_id in gone else "order.paid" for order_id in moved}
    await write_events(conn, [order_event(topics[order_id], orders[order_id], shop) for order_id in sorted(moved)])


def _refund(ref: ChargeRef, what: Applied, orders: Mapping[OrderId, Order]) -> Refund:
    return Refund(ref, PAID_TWICE if what == Applied.CAPTURED_TWICE else STOCK_GONE, orders[ref.order_id].total)


async def _settle_failures(
    conn: Connection, answers: Mapping[ChargeRef, Answer], applied: Mapping[ChargeRef, Applied]
) -> None:
    failed = {
        ref.order_id: OrderState.PAYMENT_FAILED
        for ref, answer in answers.items()
        if applied.get(ref) == Applied.CHANGED and answer.state in (ChargeState.FAILED, ChargeState.CANCELLED)
    }
    awaiting = await payments.load_charges(conn, order_ids=list(failed))
    unsettled = {
        order_id
        for order_id, charges in awaiting.items()
        if any(c.state in (ChargeState.INTENT, ChargeState.REQUIRES_ACTION, ChargeState.CAPTURED) for c in charges)
    }
    await move_orders(conn, {o: state for o, state in failed.items() if o not in unsettled})


def order_event(topic: str, order: Order, shop: Shop) -> Event:
    """What others are told of an order."""
    return Event(
        id=EventId(new_id()),
        topic=topic,
        payload={
            "order_id": str(order.id),
            "number": order.number,
            "buyer_id": str(order.buyer_id),
            "total": money_document(order.total),
            "lines": [
                {
                    "title": line.title,
                    "sku": line.sku,
                    "quantity": line.quantity,
                    "amount": line.total.amount,
                }
                for line in order.lines
            ],
            "order_url": f"{shop.settings.base_url}/orders/{order.id}",
        },
        personal={"email": order.email, "name": order.address.name},
    )
