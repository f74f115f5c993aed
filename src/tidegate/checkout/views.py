"""Orders as their buyers see them."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate import payments
from tidegate.checkout.contracts import NextAction, OrderState, OrderView
from tidegate.checkout.orders import Order, load_orders
from tidegate.checkout.rules import PAYABLE
from tidegate.payments.contracts import Charge, ChargeState, Standing
from tidegate.platform.database import Connection
from tidegate.platform.ids import OrderId

OPEN = (ChargeState.INTENT, ChargeState.REQUIRES_ACTION)


async def view_orders(conn: Connection, order_ids: Sequence[OrderId]) -> dict[OrderId, OrderView]:
    """Orders with what their charges say about them."""
    orders = await load_orders(conn, order_ids)
    payable = [order.id for order in orders.values() if order.state in PAYABLE]
    charges = await payments.load_charges(conn, order_ids=payable) if payable else {}
    return {order_id: view_order(order, standing(charges.get(order_id, ()))) for order_id, order in orders.items()}


def view_order(order: Order, last: Standing | None, *, state: OrderState | None = None) -> OrderView:
    """An order as its buyer sees it; `last` is how its last attempt stands, `state` what became of `order`'s own.

    Of an order that is not to be paid any more the last attempt says nothing that is shown.
    """
    state = order.state if state is None else state
    awaiting = state is OrderState.AWAITING_PAYMENT and last is not None
    action = None
    if awaiting and last is not None and last.state is ChargeState.REQUIRES_ACTION and last.action_url:
        action = NextAction("redirect", last.action_url)
    return OrderView(
        id=order.id,
        number=order.number,
        buyer_id=order.buyer_id,
        hold_id=order.hold_id,
        state=state,
        total=order.total,
        discount=order.discount,
        next_action=action,
        lines=order.lines,
        email=order.email,
        address=order.address,
        failure=last.failure if last is not None and state is OrderState.PAYMENT_FAILED else None,
        processing=awaiting and last is not None and last.state is ChargeState.INTENT,
        pay_until=order.pay_until,
        seconds_left=order.seconds_left if state in PAYABLE else 0,
        created_at=order.created_at,
        charges=order.charges,
    )


def standing(charges: Sequence[Charge]) -> Standing | None:
    """How the last attempt of an order stands."""
    last = max(charges, key=lambda charge: charge.ref.attempt, default=None)
    return None if last is None else Standing(last.ref, last.state, last.failure, last.action_url)
