"""Lists of orders: a buyer's own, and the staff's searches; the newest first, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.sql import SQL

from tidegate.checkout.contracts import Aftermath, OrderState, OrderSummary, OrderView
from tidegate.checkout.history import load_aftermath
from tidegate.checkout.orders import email_fingerprint, load_orders
from tidegate.checkout.shop import Shop
from tidegate.checkout.views import view_orders
from tidegate.platform.database import Connection
from tidegate.platform.ids import OrderId, PersonId
from tidegate.platform.money import Money
from tidegate.platform.problems import NotFound

SELECT = """
SELECT o.id, o.number, o.state, o.total_amount, o.currency,
    (SELECT sum(quantity) FROM checkout.order_lines AS l WHERE l.order_id = o.id)::int, o.created_at
FROM checkout.orders AS o WHERE {} ORDER BY o.id DESC LIMIT %(limit)s
"""

BY_WHOM = """
SELECT id FROM checkout.orders WHERE buyer_id = ANY(%(buyers)s)
UNION ALL
SELECT id FROM checkout.orders WHERE email_fingerprint = %(email)s
"""

CONDITIONS = {
    "before": SQL("o.id < %(before)s"),
    "by_whom": SQL("o.id IN ({})").format(SQL(BY_WHOM)),
    "number": SQL("o.number = %(number)s"),
    "state": SQL("o.state = %(state)s"),
    "since": SQL("o.created_at >= %(since)s"),
    "until": SQL("o.created_at < %(until)s"),
}
"""What a filter asks, by what must be set for it: a condition that is not asked costs no plan anything."""


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """Which orders: all that is set must hold. `until` is the first moment that does not count.

    With both, `buyers` and `email` (as it was typed when ordering), an order is theirs or was placed with that address.
    """

    buyers: Sequence[PersonId] | None = None
    email: str | None = None
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
        "buyers": list(which.buyers or ()),
        "email": email_fingerprint(which.email) if which.email else None,
        "by_whom": which.buyers is not None or which.email is not None,
        "number": which.number,
        "state": which.state.value if which.state else None,
        "since": which.since,
        "until": which.until,
        "limit": limit + 1,
    }
    asked = [condition for name, condition in CONDITIONS.items() if values[name]] or [SQL("true")]
    statement = SQL(SELECT).format(SQL(" AND ").join(asked))
    rows = await (await conn.execute(statement, values)).fetchall()
    orders = tuple(
        OrderSummary(row[0], row[1], OrderState(row[2]), Money(row[3], row[4]), row[5], row[6]) for row in rows[:limit]
    )
    return OrderPage(orders, orders[-1].id if len(rows) > limit else None)


async def find_aftermath(shop: Shop, *, order_id: OrderId) -> tuple[OrderView, Aftermath]:
    """An order with what became of it, for staff or after its owner was checked. Raises: NotFound."""
    async with shop.database.connection() as conn:
        order = (await load_orders(conn, [order_id])).get(order_id)
        if order is None:
            raise NotFound("there is no such order")
        return (await view_orders(conn, [order_id]))[order_id], await load_aftermath(conn, order)
