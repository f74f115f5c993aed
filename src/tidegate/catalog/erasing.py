"""Taking the demo's products out of the catalogue."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tidegate.catalog.demo import demo_catalogue
from tidegate.catalog.rules import slugify
from tidegate.platform.database import Connection
from tidegate.platform.erasing import delete_from, delete_rows
from tidegate.platform.ids import DropId, ProductId, VariantId


@dataclass(frozen=True, slots=True)
class DemoFound:
    """What of the demo is in the catalogue: the variants of each product, and its title."""

    products: Mapping[ProductId, frozenset[VariantId]]
    titles: Mapping[ProductId, str]


async def find_demo(conn: Connection) -> DemoFound:
    """The demo's products: those at its addresses that have one of its SKUs."""
    demo = demo_catalogue(currency="GBP").products
    found = await conn.execute(
        "SELECT p.id, p.title, array_agg(v.id) FROM catalog.products AS p"
        " JOIN catalog.variants AS v ON v.product_id = p.id"
        " WHERE p.slug = ANY(%s) GROUP BY p.id, p.title HAVING bool_or(v.sku = ANY(%s))",
        ([product.slug for product in demo], [variant.sku for product in demo for variant in product.variants]),
    )
    rows = await found.fetchall()
    return DemoFound({row[0]: frozenset(row[2]) for row in rows}, {row[0]: row[1] for row in rows})


async def remove_products(conn: Connection, *, products: Mapping[ProductId, frozenset[VariantId]]) -> list[DropId]:
    """Delete products with their variants, the drops that sold nothing else, and the demo's collections left empty.

    Returns the drops that went.
    """
    variants = [variant for each in products.values() for variant in each]
    found = await conn.execute(
        "SELECT drop_id FROM catalog.drop_items GROUP BY drop_id HAVING bool_and(variant_id = ANY(%s))", (variants,)
    )
    drops = [DropId(row[0]) for row in await found.fetchall()]
    await delete_from(conn, schema="catalog", table="drops", column="id", ids=drops)
    await delete_rows(conn, schema="catalog", column="variant_id", ids=variants)
    await delete_from(conn, schema="catalog", table="variants", column="id", ids=variants)
    await delete_rows(conn, schema="catalog", column="product_id", ids=list(products))
    await delete_from(conn, schema="catalog", table="products", column="id", ids=list(products))
    kinds = {slugify(product.kind) for product in demo_catalogue(currency="GBP").products}
    await conn.execute(
        "DELETE FROM catalog.collections AS c WHERE c.slug = ANY(%s) AND NOT EXISTS ("
        " SELECT FROM catalog.product_collections AS m WHERE m.collection_id = c.id)",
        (list(kinds),),
    )
    return drops


async def archive_products(conn: Connection, *, products: Collection[ProductId]) -> None:
    """Put products away: they are not shown or sold any more, and their live drops are closed."""
    await conn.execute(
        "UPDATE catalog.products SET status = 'archived', updated_at = clock_timestamp()"
        " WHERE id = ANY(%s) AND status <> 'archived'",
        (list(products),),
    )
    await conn.execute(
        "WITH ended AS (UPDATE catalog.drop_items AS i SET live = false FROM catalog.variants AS v"
        " WHERE v.id = i.variant_id AND v.product_id = ANY(%s) AND i.live RETURNING i.drop_id)"
        " UPDATE catalog.drops AS d SET closed_at = clock_timestamp()"
        " WHERE d.id IN (SELECT drop_id FROM ended) AND d.closed_at IS NULL",
        (list(products),),
    )
