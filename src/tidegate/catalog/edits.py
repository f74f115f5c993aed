"""What staff change in the catalogue: one product at a time against what they saw of it, or many at once.

Every edit takes the lock that imports take, so that edits and imports wait for each other and cannot deadlock.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg.errors import UniqueViolation

from tidegate.catalog.contracts import (
    NewProduct,
    NewVariant,
    ProductChanged,
    ProductExists,
    Status,
    UnknownProduct,
    UnknownVariant,
)
from tidegate.catalog.editing import BulkChange, BulkEdited, EditableProduct, NewPrice
from tidegate.catalog.products import WRITE_LOCK, write_products
from tidegate.catalog.rules import MAX_TAGS, check_bulk_change, check_product_text, check_variant_text, is_slug
from tidegate.platform.database import Connection
from tidegate.platform.ids import ProductId, VariantId, new_id
from tidegate.platform.money import MAX_AMOUNT
from tidegate.platform.problems import InvalidRequest

_EDITABLE = "SELECT id, slug, title, description, vendor, tags, status, updated_at FROM catalog.products"


async def product_to_edit(conn: Connection, *, slug: str) -> EditableProduct:
    """The product at this address, whatever its status. Raises: UnknownProduct."""
    if not is_slug(slug):
        raise UnknownProduct()
    row = await (await conn.execute(f"{_EDITABLE} WHERE slug = %s", (slug,))).fetchone()
    if row is None:
        raise UnknownProduct()
    return _editable(row)


async def create_product(conn: Connection, *, product: NewProduct) -> EditableProduct:
    """Make a product with its variants, prices and the collection that its kind names.

    Raises: InvalidRequest, also for a SKU that another product has; ProductExists.
    """
    check_product_text(title=product.title, vendor=product.vendor, description=product.description, tags=product.tags)
    if not is_slug(product.slug):
        raise InvalidRequest("An address has lower-case letters, digits and single hyphens between them.")
    if not product.variants:
        raise InvalidRequest("A product needs at least one variant.")
    await _lock(conn)
    taken = await conn.execute("SELECT 1 FROM catalog.products WHERE slug = %s", (product.slug,))
    if await taken.fetchone() is not None:
        raise ProductExists()
    written = await write_products(conn, products=[product])
    if written.refused:
        raise InvalidRequest(written.refused[0].reason)
    return await product_to_edit(conn, slug=product.slug)


async def edit_product(
    conn: Connection,
    *,
    product_id: ProductId,
    seen: datetime,
    title: str,
    description: str,
    vendor: str,
    tags: Sequence[str],
    status: Status,
) -> EditableProduct:
    """Change what a product says, and whether it is for sale. `seen`: its `updated_at` when the person read it.

    Raises: InvalidRequest, UnknownProduct, ProductChanged when it is not what they saw any more.
    """
    check_product_text(title=title, vendor=vendor, description=description, tags=tags)
    await _lock(conn)
    rows = await conn.execute(
        "UPDATE catalog.products SET title = %s, description = %s, vendor = %s, tags = %s, status = %s,"
        " updated_at = clock_timestamp() WHERE id = %s AND updated_at = %s"
        " RETURNING id, slug, title, description, vendor, tags, status, updated_at",
        (title, description, vendor, list(tags), status.value, product_id, seen),
    )
    row = await rows.fetchone()
    if row is None:
        raise await _why_not(conn, product_id)
    return _editable(row)


async def edit_variant(
    conn: Connection,
    *,
    product_id: ProductId,
    seen: datetime,
    sku: str,
    new_sku: str,
    options: Sequence[tuple[str, str]],
) -> EditableProduct:
    """Give a variant of a product other options, and perhaps another SKU. Its stock, holds and orders stay with it.

    Raises: InvalidRequest, also for a SKU that another variant has; UnknownProduct, UnknownVariant, ProductChanged.
    """
    check_variant_text(sku=new_sku, options=options)
    await _lock(conn)
    try:
        async with conn.transaction():
            product = await touch(conn, product_id, seen)
            changed = await conn.execute(
                "UPDATE catalog.variants SET sku = %s, options = %s::jsonb WHERE product_id = %s AND sku = %s",
                (new_sku, json.dumps(list(options)), product_id, sku),
            )
            if changed.rowcount == 0:
                raise UnknownVariant("This product has no such variant. Nothing was changed.")
    except UniqueViolation:
        raise InvalidRequest("Another variant has this SKU already. Nothing was changed.") from None
    return product


async def set_prices(
    conn: Connection, *, product_id: ProductId, seen: datetime, prices: Sequence[NewPrice]
) -> EditableProduct:
    """Set the prices of some variants of a product, all or none.

    Raises: InvalidRequest, UnknownProduct, UnknownVariant (none is changed then), ProductChanged.
    """
    if len({price.sku for price in prices}) < len(prices):
        raise InvalidRequest("Each variant can be given one price.")
    amounts = [each.amount for price in prices for each in (price.price, price.compare_at) if each is not None]
    if any(not 0 <= amount <= MAX_AMOUNT for amount in amounts):
        raise InvalidRequest("A price is from nothing to ten thousand million.")
    await _lock(conn)
    async with conn.transaction():
        product = await touch(conn, product_id, seen)
        await _write_prices(conn, product_id, prices)
    return product


async def add_variant(
    conn: Connection, *, product_id: ProductId, seen: datetime, variant: NewVariant
) -> tuple[EditableProduct, VariantId]:
    """Give a product one more variant, after its others. Its stock is the caller's to record.

    Raises: InvalidRequest, also for a SKU that is in use; UnknownProduct, ProductChanged.
    """
    check_variant_text(sku=variant.sku, options=variant.options)
    await _lock(conn)
    variant_id = VariantId(new_id())
    try:
        async with conn.transaction():
            product = await touch(conn, product_id, seen)
            await conn.execute(
                "INSERT INTO catalog.variants (id, product_id, sku, options, position) SELECT %s, %s, %s, %s::jsonb,"
                " coalesce(max(position) + 1, 0) FROM catalog.variants WHERE product_id = %s",
                (variant_id, product_id, variant.sku, json.dumps(list(variant.options)), product_id),
            )
            await _write_prices(conn, product_id, [NewPrice(variant.sku, variant.price, variant.compare_at)])
    except UniqueViolation:
        raise InvalidRequest("Another variant has this SKU already. Nothing was changed.") from None
    return product, variant_id


async def bulk_edit(conn: Connection, *, change: BulkChange) -> BulkEdited:
    """Do the same to many products, all or none, in a fixed number of statements however many they are.

    A price by percent is rounded to the minor unit, halves up. Unknown products are left out and counted.
    Raises: InvalidRequest, also where a price would end below nothing or above the largest.
    """
    check_bulk_change(change)
    await _lock(conn)
    async with conn.transaction():
        ids = await _change_products(conn, change)
        prices = await _change_prices(conn, change, ids) if change.percent or change.amount else 0
        await _change_collections(conn, change, ids)
    return BulkEdited(products=len(ids), prices=prices, unknown=len(set(change.product_ids)) - len(ids))


async def _change_products(conn: Connection, change: BulkChange) -> list[ProductId]:
    """Change status and tags; returns the products that there are."""
    found = await conn.execute(
        "UPDATE catalog.products SET status = coalesce(%(status)s, status), updated_at = clock_timestamp(), tags = CASE"
        " WHEN cardinality(%(added)s::text[]) + cardinality(%(removed)s::text[]) = 0 THEN tags ELSE ARRAY("
        "SELECT tag FROM unnest(tags || %(added)s::text[]) WITH ORDINALITY AS t (tag, place)"
        " WHERE tag <> ALL(%(removed)s::text[]) GROUP BY tag ORDER BY min(place)) END"
        " WHERE id = ANY(%(ids)s) RETURNING id, cardinality(tags)",
        {
            "status": change.status.value if change.status else None,
            "added": list(change.add_tags),
            "removed": list(change.remove_tags),
            "ids": list(change.product_ids),
        },
    )
    rows = await found.fetchall()
    if change.add_tags and any(count > MAX_TAGS for _, count in rows):
        raise InvalidRequest(f"Some products would have more than {MAX_TAGS} tags. No product was changed.")
    return [row[0] for row in rows]


async def _change_prices(conn: Connection, change: BulkChange, ids: Sequence[ProductId]) -> int:
    wanted = {"percent": change.percent, "amount": change.amount, "currency": change.currency, "ids": ids}
    new = "round(c.amount * (100 + %(percent)s::int)::numeric / 100)::bigint + %(amount)s::bigint"
    variants = "SELECT id FROM catalog.variants WHERE product_id = ANY(%(ids)s)"
    of = f"c.currency = %(currency)s AND c.variant_id IN ({variants})"
    rows = await conn.execute(
        f"SELECT count(*) FROM catalog.prices AS c WHERE {of} AND NOT {new} BETWEEN 0 AND {MAX_AMOUNT}",  # noqa: S608
        wanted,
    )
    row = await rows.fetchone()
    if row is not None and row[0]:
        raise InvalidRequest(f"{row[0]} prices would end below nothing or too high. No product was changed.")
    changed = await conn.execute(f"UPDATE catalog.prices AS c SET amount = {new} WHERE {of}", wanted)  # noqa: S608
    return changed.rowcount


async def _change_collections(conn: Connection, change: BulkChange, ids: Sequence[ProductId]) -> None:
    for slug in filter(None, (change.add_to, change.remove_from)):
        known = await conn.execute("SELECT 1 FROM catalog.collections WHERE slug = %s", (slug,))
        if await known.fetchone() is None:
            raise InvalidRequest(f"There is no collection `{slug}`. No product was changed.")
    if change.add_to:
        await conn.execute(
            "INSERT INTO catalog.product_collections (collection_id, product_id)"
            " SELECT o.id, p.id FROM catalog.collections AS o, unnest(%s::uuid[]) AS p (id) WHERE o.slug = %s"
            " ON CONFLICT DO NOTHING",
            (ids, change.add_to),
        )
    if change.remove_from:
        await conn.execute(
            "DELETE FROM catalog.product_collections AS m USING catalog.collections AS o"
            " WHERE o.id = m.collection_id AND o.slug = %s AND m.product_id = ANY(%s)",
            (change.remove_from, ids),
        )


async def _write_prices(conn: Connection, product_id: ProductId, prices: Sequence[NewPrice]) -> None:
    written = await conn.execute(
        "INSERT INTO catalog.prices AS c (variant_id, currency, amount, compare_at_amount)"
        " SELECT v.id, n.currency, n.amount, n.compare_at"
        " FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[]) AS n (sku, currency, amount, compare_at)"
        " JOIN catalog.variants AS v ON v.sku = n.sku AND v.product_id = %s"
        " ON CONFLICT (variant_id, currency) DO UPDATE"
        " SET amount = excluded.amount, compare_at_amount = excluded.compare_at_amount",
        (
            [each.sku for each in prices],
            [each.price.currency for each in prices],
            [each.price.amount for each in prices],
            [each.compare_at.amount if each.compare_at else None for each in prices],
            product_id,
        ),
    )
    if written.rowcount < len(prices):
        raise UnknownVariant("A variant is not one of this product. No price was changed.")


async def _why_not(conn: Connection, product_id: ProductId) -> ProductChanged | UnknownProduct:
    known = await conn.execute("SELECT 1 FROM catalog.products WHERE id = %s", (product_id,))
    return ProductChanged() if await known.fetchone() is not None else UnknownProduct()


async def touch(conn: Connection, product_id: ProductId, seen: datetime) -> EditableProduct:
    """Count an edit of something below the product as one of the product. Raises: UnknownProduct, ProductChanged."""
    rows = await conn.execute(
        "UPDATE catalog.products SET updated_at = clock_timestamp() WHERE id = %s AND updated_at = %s"
        " RETURNING id, slug, title, description, vendor, tags, status, updated_at",
        (product_id, seen),
    )
    row = await rows.fetchone()
    if row is None:
        raise await _why_not(conn, product_id)
    return _editable(row)


async def _lock(conn: Connection) -> None:
    await conn.execute("SELECT pg_advisory_xact_lock(%s)", (WRITE_LOCK,))


def _editable(row: tuple[Any, ...]) -> EditableProduct:
    return EditableProduct(row[0], row[1], row[2], row[3], row[4], tuple(row[5]), Status(row[6]), row[7])
