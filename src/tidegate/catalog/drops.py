"""Drops: what is sold, from when, how many, and how many each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg.errors import UniqueViolation

from tidegate.catalog.contracts import (
    Drop,
    DropExists,
    DropItem,
    DropRuns,
    Room,
    UnknownDrop,
    UnknownVariant,
    VariantInDrop,
)
from tidegate.catalog.products import find_variants
from tidegate.catalog.rules import MAX_QUANTITY, MAX_TEXT, is_slug, storable
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection
from tidegate.platform.ids import DropId, new_id
from tidegate.platform.problems import InvalidRequest
from tidegate.platform.texts import text as _

MAX_DROPS = 500
"""Most drops that are listed."""

ONE_LIVE_DROP = "drop_items_one_live_drop"
"""The constraint by which a variant has at most one live drop."""

_DROP = "d.id, d.slug, d.title, d.opens_at, d.closed_at, d.per_buyer, d.room, d.guests"


async def create_drop(
    conn: Connection,
    *,
    slug: str,
    title: str,
    sku: str,
    quantity: int,
    opens_at: datetime,
    per_buyer: int,
    room: Room = Room.NONE,
    guests: bool = False,
) -> Drop:
    """Let a drop sell `quantity` items of a variant from `opens_at` on; until it is closed nothing else sells them.

    Stock is the caller's to set. An empty title becomes the product's. `guests`: also to people without an account.
    Raises: InvalidRequest, UnknownVariant, DropExists, VariantInDrop.
    """
    _check(slug, title, quantity, per_buyer)
    variants = await find_variants(conn, skus=[sku]) if storable(sku) else {}
    if sku not in variants:
        raise UnknownVariant(_("No variant has the SKU %(sku)s.", sku=repr(sku)))
    drop_id = DropId(new_id())
    try:
        async with conn.transaction():
            await conn.execute(
                "INSERT INTO catalog.drops (id, slug, title, opens_at, per_buyer, room, guests)"
                " SELECT %s, %s, coalesce(nullif(%s, ''), p.title), %s, %s, %s, %s FROM catalog.products AS p"
                " JOIN catalog.variants AS v ON v.product_id = p.id WHERE v.id = %s",
                (drop_id, slug, title, opens_at, per_buyer, room.value, guests, variants[sku]),
            )
            await conn.execute(
                "INSERT INTO catalog.drop_items (drop_id, variant_id, quantity) VALUES (%s, %s, %s)",
                (drop_id, variants[sku], quantity),
            )
    except UniqueViolation as error:
        if error.diag.constraint_name == ONE_LIVE_DROP:
            raise VariantInDrop(_("A live drop sells %(sku)s already: close that one first.", sku=sku)) from None
        raise DropExists(
            _("There is a drop %(slug)s already; `tidegate drop replay %(slug)s` opens it again.", slug=slug)
        ) from None
    return await _existing(conn, slug)


async def edit_drop(
    conn: Connection, *, slug: str, title: str, quantity: int, opens_at: datetime, per_buyer: int, guests: bool
) -> Drop:
    """Change a drop of one variant before it opens. Stock is the caller's to set.

    Raises: InvalidRequest, UnknownDrop; DropRuns once it has opened or was closed.
    """
    await conn.execute("SELECT 1 FROM catalog.drops WHERE slug = %s FOR NO KEY UPDATE", (slug,))
    drop = await _existing(conn, slug)
    if drop.closed_at is not None or drop.opens_at <= await database_now(conn):
        raise DropRuns(_("This drop has opened already, so it stays as it is. Close it to end it."))
    if len(drop.items) != 1:
        raise InvalidRequest(_("A drop of several products cannot be changed here. Nothing was changed."))
    _check(slug, title or drop.title, quantity, per_buyer)
    await conn.execute(
        "UPDATE catalog.drops SET title = %s, opens_at = %s, per_buyer = %s, guests = %s WHERE id = %s",
        (title or drop.title, opens_at, per_buyer, guests, drop.id),
    )
    await conn.execute("UPDATE catalog.drop_items SET quantity = %s WHERE drop_id = %s", (quantity, drop.id))
    return await _existing(conn, slug)


async def reopen_drop(conn: Connection, *, slug: str, opens_at: datetime, guests: bool) -> Drop:
    """Make a drop live again, from `opens_at` on. Stock and buyers' limits are the caller's to set back.

    Raises: UnknownDrop; VariantInDrop when another live drop sells one of its variants by now.
    """
    drop = await _existing(conn, slug)
    await conn.execute(
        "UPDATE catalog.drops SET opens_at = %s, closed_at = NULL, guests = %s WHERE id = %s",
        (opens_at, guests, drop.id),
    )
    try:
        async with conn.transaction():
            await conn.execute("UPDATE catalog.drop_items SET live = true WHERE drop_id = %s AND NOT live", (drop.id,))
    except UniqueViolation:
        raise VariantInDrop(
            _("Another live drop sells what %(slug)s sells: close that one first.", slug=slug)
        ) from None
    return await _existing(conn, slug)


async def close_drop(conn: Connection, *, slug: str) -> Drop:
    """End a drop: it sells nothing more, and what is left of its stock is sold as an ordinary product.

    Closing it twice keeps the first time. Raises: UnknownDrop.
    """
    drop = await _existing(conn, slug)
    await conn.execute(
        "UPDATE catalog.drops SET closed_at = coalesce(closed_at, clock_timestamp()) WHERE id = %s", (drop.id,)
    )
    await conn.execute("UPDATE catalog.drop_items SET live = false WHERE drop_id = %s AND live", (drop.id,))
    return await _existing(conn, slug)


async def find_drop(conn: Connection, *, slug: str) -> Drop | None:
    """The drop at this address, live or closed, or None."""
    if not is_slug(slug):
        return None
    rows = await conn.execute(f"SELECT {_DROP} FROM catalog.drops AS d WHERE d.slug = %s", (slug,))  # noqa: S608
    drops = await _with_items(conn, await rows.fetchall())
    return drops[0] if drops else None


async def list_drops(conn: Connection, *, limit: int = MAX_DROPS) -> tuple[Drop, ...]:
    """Drops, live ones first, then by when they open, the latest first."""
    rows = await conn.execute(
        f"SELECT {_DROP} FROM catalog.drops AS d"  # noqa: S608
        " ORDER BY d.closed_at IS NULL DESC, d.opens_at DESC, d.slug LIMIT %s",
        (min(limit, MAX_DROPS),),
    )
    return await _with_items(conn, await rows.fetchall())


def _check(slug: str, title: str, quantity: int, per_buyer: int) -> None:
    if not is_slug(slug):
        raise InvalidRequest(
            _(
                "%(slug)s cannot be a drop's address: use small letters, digits and single hyphens.",
                slug=repr(slug[:40]),
            )
        )
    if len(title) > MAX_TEXT or not storable(title):
        raise InvalidRequest(_("A drop's title may have up to %(most)s characters.", most=MAX_TEXT))
    if not 1 <= quantity <= MAX_QUANTITY:
        raise InvalidRequest(_("A drop sells 1 to %(most)s items.", most=f"{MAX_QUANTITY:,}"))
    if not 1 <= per_buyer <= quantity:
        raise InvalidRequest(_("A buyer may have at least 1 item, and no more than the drop sells."))


async def _existing(conn: Connection, slug: str) -> Drop:
    drop = await find_drop(conn, slug=slug)
    if drop is None:
        raise UnknownDrop(_("There is no drop %(slug)s.", slug=repr(slug[:100])))
    return drop


async def _with_items(conn: Connection, rows: Sequence[tuple[Any, ...]]) -> tuple[Drop, ...]:
    items: defaultdict[DropId, list[DropItem]] = defaultdict(list)
    found = await conn.execute(
        "SELECT i.drop_id, i.variant_id, v.sku, i.quantity FROM catalog.drop_items AS i"
        " JOIN catalog.variants AS v ON v.id = i.variant_id WHERE i.drop_id = ANY(%s) ORDER BY v.sku",
        ([row[0] for row in rows],),
    )
    for drop_id, variant_id, sku, quantity in await found.fetchall():
        items[drop_id].append(DropItem(variant_id, sku, quantity))
    return tuple(
        Drop(row[0], row[1], row[2], row[3], row[4], row[5], Room(row[6]), tuple(items[row[0]]), row[7]) for row in rows
    )
