"""Lists of orders: a buyer's own, and the staff's searches; the newest first, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from tidegate.checkout.contracts import Aftermath, OrderState, OrderSummary, OrderView
from tidegate.checkout.history import load_aftermath, nothing_yet
from tidegate.checkout.rules import PAYABLE
from tidegate.checkout.shop import Shop
from tidegate.checkout.views import view_orders
from tidegate.platform.database import Connection
from tidegate.platform.ids import OrderId, PersonId
from tidegate.platform.money import Money
from tidegate.platform.problems import NotFound

SELECT = """
SELECT o.id, o.number, o.state, o.total_amount, o.currency,
    (SELECT sum(quantity) FROM checkout.order_lines AS l WHERE l.order_id = o.id)::int, o.created_at
FROM checkout.orders AS o
WHERE (%(before)s::uuid IS NULL OR o.id < %(before)s)
    AND (%(buyers)s::uuid[] IS NULL OR o.buyer_id = ANY(%(buyers)s))
    AND (%(number)s::text IS NULL OR o.number = %(number)s)
    AND (%(state)s::text IS NULL OR o.state = %(state)s)
    AND (%(since)s::timestamptz IS NULL OR o.created_at >= %(since)s)
    AND (%(until)s::timestamptz IS NULL OR o.created_at < %(until)s)
ORDER BY o.id DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """Which orders: all that is set must hold. `until` is the first moment that does not count."""

    buyers: Sequence[PersonId] | None = None
    number: str | None = None
    state: OrderState | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class OrderPage:
    """Some orders; `next_before` is the id to ask for the page after, None on the last one."""

    orders: tuple[OrderSummary, ...]
    next_before: OrderId | None


async def list_orders(
    conn: Connection, *, limit: int, before: UUID | None = None, wanted: OrderFilter | None = None
) -> OrderPage:
    """The newest orders, or those placed before the order `before`."""
    which = wanted or OrderFilter()
    values: dict[str, Any] = {
        "before": before,
        "buyers": None if which.buyers is None else list(which.buyers),
        "number": which.number,
        "state": which.state.value if which.state else None,
        "since": which.since,
        "until": which.until,
        "limit": limit + 1,
    }
    rows = await (await conn.execute(SELECT, values)).fetchall()
    orders = tuple(
        OrderSummary(row[0], row[1], OrderState(row[2]), Money(row[3], row[4]), row[5], row[6]) for row in rows[:limit]
    )
    return OrderPage(orders, orders[-1].id if len(rows) > limit else None)


async def find_aftermath(shop: Shop, *, order_id: OrderId) -> tuple[OrderView, Aftermath]:
    """An order with what became of it, for staff or after its owner was checked. Raises: NotFound."""
    async with shop.database.connection() as conn:
        order = await _placed(conn, order_id)
        return order, await load_aftermath(conn, order)


async def find_placed(shop: Shop, *, order_id: OrderId) -> OrderView:
    """Anybody's order, for staff. Raises: NotFound."""
    async with shop.database.connection() as conn:
        return await _placed(conn, order_id)


async def see_aftermath(shop: Shop, order: OrderView) -> Aftermath:
    """What became of an order that was just read; nothing is asked while it is to be paid."""
    if order.state in PAYABLE:
        return nothing_yet(order.total.currency)
    async with shop.database.connection() as conn:
        return await load_aftermath(conn, order)


async def _placed(conn: Connection, order_id: OrderId) -> OrderView:
    order = (await view_orders(conn, [order_id])).get(order_id)
    if order is None:
        raise NotFound("there is no such order")
    return order
