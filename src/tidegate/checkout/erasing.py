"""Erasing orders that were only tried out, and what they tell about real ones."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from tidegate.platform.database import Connection
from tidegate.platform.erasing import delete_from, delete_rows
from tidegate.platform.ids import OrderId, VariantId


async def ordered_variants(
    conn: Connection, *, variant_ids: Collection[VariantId], but: Collection[OrderId]
) -> set[VariantId]:
    """Which of these variants are in orders other than `but`."""
    found = await conn.execute(
        "SELECT DISTINCT variant_id FROM checkout.order_lines WHERE variant_id = ANY(%s) AND order_id <> ALL(%s)",
        (list(variant_ids), list(but)),
    )
    return {row[0] for row in await found.fetchall()}


async def erase_orders(conn: Connection, *, order_ids: Collection[OrderId]) -> list[UUID]:
    """Erase orders with all that belongs to them; returns the buyers who have no other order."""
    buyers = await conn.execute(
        "SELECT DISTINCT buyer_id FROM checkout.orders AS o WHERE id = ANY(%(ids)s) AND NOT EXISTS ("
        " SELECT FROM checkout.orders AS other WHERE other.buyer_id = o.buyer_id AND other.id <> ALL(%(ids)s))",
        {"ids": list(order_ids)},
    )
    alone = [row[0] for row in await buyers.fetchall()]
    await delete_rows(conn, schema="checkout", column="order_id", ids=order_ids)
    await delete_from(conn, schema="checkout", table="orders", column="id", ids=order_ids)
    return alone


async def forget_buyers(conn: Connection, *, people: Collection[UUID]) -> None:
    """Erase what people left behind who have no order: carts, addresses."""
    for column in ("buyer_id", "person_id"):
        await delete_rows(conn, schema="checkout", column=column, ids=people)


async def forget_variants(conn: Connection, *, variant_ids: Collection[VariantId]) -> None:
    """Take variants that are erased out of all carts."""
    await delete_from(conn, schema="checkout", table="cart_lines", column="variant_id", ids=variant_ids)
