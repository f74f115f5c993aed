"""Lists of orders: a buyer's own, and the staff's searches; the newest first, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.sql import SQL, Composed, Literal

from tidegate.checkout.contracts import Aftermath, OrderState, OrderSummary, OrderView
from tidegate.checkout.history import load_aftermath, nothing_yet
from tidegate.checkout.orders import email_fingerprint
from tidegate.checkout.pending import or_taken_up, take_up
from tidegate.checkout.rules import PAYABLE
from tidegate.checkout.shop import Shop
from tidegate.checkout.views import view_orders
from tidegate.platform.database import Connection
from tidegate.platform.idempotency import pending_of
from tidegate.platform.ids import OrderId, PersonId, id_floor
from tidegate.platform.money import Money
from tidegate.platform.problems import NotFound

SELECT = """
SELECT o.id, o.number, o.state, o.total_amount, o.currency,
    (SELECT sum(quantity) FROM checkout.order_lines AS l WHERE l.order_id = o.id)::int, o.created_at
FROM checkout.orders AS o {which} ORDER BY o.id DESC LIMIT %(limit)s
"""

CLOCKS_APART = timedelta(hours=1)
"""Ids tell the time of the process that made them, `created_at` that of the database; no further apart than this."""

BY_WHOM = """o.id IN (
    SELECT id FROM checkout.orders WHERE buyer_id = ANY(%(buyers)s)
    UNION ALL
    SELECT id FROM checkout.orders WHERE email_fingerprint = %(email)s
)"""


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """Which orders: all that is set must hold. `until` is the first moment that does not count.

    With both, `buyers` and `email` (as it was typed when ordering), an order is theirs or was placed with that address.
    """

    buyers: Sequence[PersonId] | None = None
    number: str | None = None
    state: OrderState | None = None
    since: datetime | None = None
    until: datetime | None = None
    email: str | None = None


@dataclass(frozen=True, slots=True)
class OrderPage:
    """Some orders; `next_before` is the id to ask for the page after, None on the last one."""

    orders: tuple[OrderSummary, ...]
    next_before: OrderId | None


async def list_orders(
    conn: Connection, *, limit: int, before: UUID | None = None, wanted: OrderFilter | None = None
) -> OrderPage:
    """The newest orders, or those placed before the order `before`."""
    conditions, values = _conditions(wanted or OrderFilter(), before)
    which = SQL("WHERE {}").format(SQL(" AND ").join(conditions)) if conditions else SQL("")
    asked = await conn.execute(SQL(SELECT).format(which=which), {**values, "limit": limit + 1})
    rows = await asked.fetchall()
    orders = tuple(
        OrderSummary(row[0], row[1], OrderState(row[2]), Money(row[3], row[4]), row[5], row[6]) for row in rows[:limit]
    )
    return OrderPage(orders, orders[-1].id if len(rows) > limit else None)


def _conditions(wanted: OrderFilter, before: UUID | None) -> tuple[list[SQL | Composed], dict[str, Any]]:
    """What must hold, only as far as it was asked for: then each plan is made for what it is asked.

    Days are looked for among ids, which are in order of time, and the moment itself decides.
    """
    values: dict[str, Any] = {}
    conditions: list[SQL | Composed] = []
    for name, value, condition in (
        ("before", before, "o.id < %(before)s"),
        ("number", wanted.number, "o.number = %(number)s"),
        ("since", wanted.since, "o.created_at >= %(since)s"),
        ("from", wanted.since and id_floor(wanted.since - CLOCKS_APART), "o.id >= %(from)s"),
        ("until", wanted.until, "o.created_at < %(until)s"),
        ("to", wanted.until and id_floor(wanted.until + CLOCKS_APART), "o.id < %(to)s"),
    ):
        if value is not None:
            values[name] = value
            conditions.append(SQL(condition))
    if wanted.buyers is not None or wanted.email is not None:
        values |= {"buyers": list(wanted.buyers or ())}
        if wanted.email is None:
            conditions.append(SQL("o.buyer_id = ANY(%(buyers)s)"))
        else:
            values |= {"email": email_fingerprint(wanted.email)}
            conditions.append(SQL(BY_WHOM))
    if wanted.state is not None:
        # In the statement itself: that the index of some states may be used must be plain to the planner.
        conditions.append(SQL("o.state = {}").format(Literal(wanted.state.value)))
    return conditions, values


async def list_own_orders(shop: Shop, *, buyer_id: PersonId, before: UUID | None, limit: int) -> OrderPage:
    """A buyer's orders, the newest first, as `list_orders`: those that are still pending, too."""
    own = OrderFilter(buyers=[buyer_id])
    async with shop.database.connection() as conn:
        pending = await pending_of(conn, buyer_id)
        if not pending:
            return await list_orders(conn, limit=limit, before=before, wanted=own)
    await take_up(shop.database, [OrderId(each) for each in pending])
    async with shop.database.connection() as conn:
        return await list_orders(conn, limit=limit, before=before, wanted=own)


async def find_aftermath(shop: Shop, *, order_id: OrderId) -> tuple[OrderView, Aftermath]:
    """An order with what became of it, for staff or after its owner was checked. Raises: NotFound."""

    async def look() -> tuple[OrderView, Aftermath]:
        async with shop.database.connection() as conn:
            order = await _placed(conn, order_id)
            return order, await load_aftermath(conn, order)

    return await or_taken_up(shop.database, order_id, look)


async def find_placed(shop: Shop, *, order_id: OrderId) -> OrderView:
    """Anybody's order, for staff. Raises: NotFound."""

    async def look() -> OrderView:
        async with shop.database.connection() as conn:
            return await _placed(conn, order_id)

    return await or_taken_up(shop.database, order_id, look)


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
