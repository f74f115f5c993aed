"""The staff's overview: the newest orders, and live drops with their stock. For staff and administrators only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fastapi import Request
from starlette.responses import Response

from tidegate import catalog, inventory
from tidegate.admin.pages_shell import staff_router
from tidegate.catalog import Drop
from tidegate.checkout import OrderState, OrderSummary, Shop, list_orders
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection
from tidegate.platform.money import Money, total
from tidegate.web import NOT_KEPT, render

router = staff_router()

SHOWN_ORDERS = 50
SHOWN_DROPS = 50
MONEY_IN = (OrderState.PAID, OrderState.FULFILLED)


@dataclass(frozen=True, slots=True)
class DropRow:
    """A live drop. Items: offered in all, free, held by people who are paying, sold."""

    slug: str
    title: str
    opens_at: datetime
    open: bool
    quantity: int
    left: int
    held: int
    sold: int


@dataclass(frozen=True, slots=True)
class OverviewContext:
    """Context of `admin/overview.html`. Sums are over the shown rows."""

    now: datetime
    drops: tuple[DropRow, ...]
    orders: tuple[OrderSummary, ...]
    items: int
    money_in: Money
    """Total of the shown orders that are paid."""


@router.get("")
async def show_overview(request: Request) -> Response:
    """The overview."""
    shop: Shop = request.app.state.shop
    async with shop.database.connection() as conn:
        now = await database_now(conn)
        orders = (await list_orders(conn, limit=SHOWN_ORDERS)).orders
        drops = await drop_rows(conn, now=now)
    money_in = total((each.total for each in orders if each.state in MONEY_IN), shop.settings.currency)
    context = OverviewContext(
        now=now, drops=drops, orders=orders, items=sum(each.items for each in orders), money_in=money_in
    )
    return render(request, "admin/overview.html", context, headers=NOT_KEPT)


async def drop_rows(conn: Connection, *, now: datetime) -> tuple[DropRow, ...]:
    """Live drops with their stock, by when they open."""
    live = [drop for drop in await catalog.list_drops(conn, limit=SHOWN_DROPS) if drop.closed_at is None]
    ids = [item.variant_id for drop in live for item in drop.items]
    levels = await inventory.stock_levels(conn, variant_ids=ids)

    def row(drop: Drop) -> DropRow:
        known = [levels[item.variant_id] for item in drop.items if item.variant_id in levels]
        return DropRow(
            slug=drop.slug,
            title=drop.title,
            opens_at=drop.opens_at,
            open=drop.opens_at <= now,
            quantity=sum(item.quantity for item in drop.items),
            left=sum(level.available for level in known),
            held=sum(level.held for level in known),
            sold=sum(level.sold for level in known),
        )

    return tuple(row(drop) for drop in live)
