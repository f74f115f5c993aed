"""Writing products: a batch at a time, nothing where nothing changed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from uuid import UUID

from tidegate.catalog.addresses import all_moved
from tidegate.catalog.contracts import NewProduct, RowError, Written
from tidegate.catalog.likeness import find_alike
from tidegate.catalog.rules import candidate_skus, settle_skus, slugify, source_hash, storable
from tidegate.platform.database import Connection
from tidegate.platform.ids import VariantId, new_id

WRITE_LOCK = 7413866180501


class _Known(NamedTuple):
    id: UUID
    hash: bytes | None
    kind: str


class _Work(NamedTuple):
    """A product to be written, with the id that it has or gets."""

    id: UUID
    product: NewProduct
    hash: bytes
    known: _Known | None


async def write_products(conn: Connection, *, products: Sequence[NewProduct], keep_edits: bool = False) -> Written:
    """Make or change products in the caller's transaction; those that are as the source says are not touched.

    With `keep_edits`, neither are those for which the source says what it said the last time, whatever they are now.

    A product is known by its slug, a variant by its SKU. Variants that are not named any more stay, and stock is the
    caller's to record from `levels`. A SKU of another product is refused (in the answer, not as an error).
    Two batches at once wait for each other.
    """
    await conn.execute("SELECT pg_advisory_xact_lock(%s)", (WRITE_LOCK,))
    products, left = await _where_they_are(conn, products)
    kept, refused = settle_skus(products, await _owners(conn, candidate_skus(products)))
    work = await _to_do(conn, kept, left, keep_edits=keep_edits)
    levels = await _write(conn, work) if work else {}
    return _written(kept, work, levels=levels, refused=refused)


async def plan_products(conn: Connection, *, products: Sequence[NewProduct], taken: dict[str, str]) -> Written:
    """What `write_products` would do, without a row written; `levels` is empty.

    `taken` is the caller's memory from one batch to the next: SKU -> slug of the product that would have it.
    """
    products, left = await _where_they_are(conn, products)
    owners = await _owners(conn, candidate_skus(products))
    kept, refused = settle_skus(products, taken | owners)
    taken |= {variant.sku: product.slug for product in kept for variant in product.variants}
    return _written(kept, await _to_do(conn, kept, left, keep_edits=False), levels={}, refused=refused)


async def _where_they_are(
    conn: Connection, products: Sequence[NewProduct]
) -> tuple[list[NewProduct], Mapping[str, str]]:
    """The products at their present addresses, since a source may know one by an address that it left.

    And for each of those, by its present slug, the one that the source names.
    """
    named = {product.slug for product in products}
    moved = await all_moved(conn, kind="product", slugs=[*named])
    moved = {left: now for left, now in moved.items() if now not in named}
    present = [replace(product, slug=moved.get(product.slug, product.slug)) for product in products]
    return present, {now: left for left, now in moved.items()}


async def _to_do(
    conn: Connection, products: Sequence[NewProduct], left: Mapping[str, str], *, keep_edits: bool
) -> list[_Work]:
    """The products that are not as the source says. `left`: what the source calls those that have moved."""
    known = await _known(conn, [product.slug for product in products])
    work = []
    for product in products:
        before = known.get(product.slug)
        digest = source_hash(replace(product, slug=left.get(product.slug, product.slug)))
        if before is None or not keep_edits or before.hash != digest:
            work.append(_Work(before.id if before else new_id(), product, digest, before))
    alike = await find_alike(conn, {item.id: item.product for item in work if item.known})
    return [item for item in work if item.id not in alike]


def _written(
    kept: Sequence[NewProduct],
    work: Sequence[_Work],
    *,
    levels: dict[VariantId, int],
    refused: Sequence[RowError],
) -> Written:
    created = sum(item.known is None for item in work)
    return Written(
        created=created,
        changed=len(work) - created,
        unchanged=len(kept) - len(work),
        variants=sum(len(product.variants) for product in kept),
        levels=levels,
        refused=tuple(refused),
    )


async def find_variants(conn: Connection, *, skus: Sequence[str]) -> dict[str, VariantId]:
    """The variants with these SKUs, whatever their product's status; unknown SKUs are absent."""
    asked = [sku for sku in skus if storable(sku)]
    rows = await conn.execute("SELECT sku, id FROM catalog.variants WHERE sku = ANY(%s)", (asked,))
    return {row[0]: row[1] for row in await rows.fetchall()}


async def _owners(conn: Connection, skus: Sequence[str]) -> dict[str, str]:
    """SKU -> slug of the product that has it."""
    rows = await conn.execute(
        "SELECT v.sku, p.slug FROM catalog.variants AS v JOIN catalog.products AS p ON p.id = v.product_id"
        " WHERE v.sku = ANY(%s)",
        (list(skus),),
    )
    return {row[0]: row[1] for row in await rows.fetchall()}


async def _known(conn: Connection, slugs: Sequence[str]) -> dict[str, _Known]:
    rows = await conn.execute(
        "SELECT slug, id, source_hash, kind FROM catalog.products WHERE slug = ANY(%s)", (list(slugs),)
    )
    return {row[0]: _Known(row[1], row[2], row[3]) for row in await rows.fetchall()}


async def _write(conn: Connection, work: Sequence[_Work]) -> dict[VariantId, int]:
    """Write products with their collections, variants and prices; returns the source's stock by variant."""
    await _write_rows(conn, work)
    await _write_seo(conn, work)
    await _write_collections(conn, work)
    ids = await _write_variants(conn, work)
    await _write_prices(conn, work, ids)
    return {ids[v.sku]: v.quantity for item in work for v in item.product.variants}


async def _write_rows(conn: Connection, work: Sequence[_Work]) -> None:
    rows = [
        {
            "id": str(item.id),
            "slug": item.product.slug,
            "title": item.product.title,
            "description": item.product.description,
            "vendor": item.product.vendor,
            "kind": item.product.kind,
            "tags": item.product.tags,
            "status": item.product.status,
            "hash": item.hash.hex(),
            "popularity": item.product.popularity,
        }
        for item in work
    ]
    await conn.execute(
        "INSERT INTO catalog.products AS p"
        " (id, slug, title, description, vendor, kind, tags, status, source_hash, popularity)"
        " SELECT id, slug, title, description, vendor, kind, tags, status, decode(hash, 'hex'), coalesce(popularity, 0)"
        " FROM json_to_recordset(%s) AS r (id uuid, slug text, title text, description text, vendor text, kind text,"
        " tags text[], status text, hash text, popularity bigint)"
        " ON CONFLICT (slug) DO UPDATE SET title = excluded.title, description = excluded.description,"
        " vendor = excluded.vendor, kind = excluded.kind, tags = excluded.tags, status = excluded.status,"
        " source_hash = excluded.source_hash, updated_at = clock_timestamp(),"
        " popularity = CASE WHEN excluded.popularity > 0 THEN excluded.popularity ELSE p.popularity END",
        (_json(rows),),
    )


async def _write_seo(conn: Connection, work: Sequence[_Work]) -> None:
    """The texts for search engines, of those products whose source says something about them."""
    rows = [
        (item.id, item.product.seo_title, item.product.seo_description)
        for item in work
        if item.product.seo_title is not None or item.product.seo_description is not None
    ]
    if rows:
        await conn.execute(
            "UPDATE catalog.products AS p SET seo_title = coalesce(r.title, p.seo_title),"
            " seo_description = coalesce(r.description, p.seo_description)"
            " FROM unnest(%s::uuid[], %s::text[], %s::text[]) AS r (id, title, description)"
            " WHERE p.id = r.id AND (r.title, r.description) IS DISTINCT FROM (p.seo_title, p.seo_description)",
            tuple([row[column] for row in rows] for column in range(3)),
        )


async def _write_collections(conn: Connection, work: Sequence[_Work]) -> None:
    """Put each product into the collections that it names, and out of the one that its former kind named."""
    left = [(item.id, slugify(item.known.kind)) for item in work if item.known and item.known.kind != item.product.kind]
    if left:
        gone = await all_moved(conn, kind="collection", slugs=[slug for _, slug in left])
        left = [(product_id, gone.get(slug, slug)) for product_id, slug in left]
        await conn.execute(
            "DELETE FROM catalog.product_collections AS m USING catalog.collections AS c,"
            " unnest(%s::uuid[], %s::text[]) AS l (product_id, slug)"
            " WHERE c.slug = l.slug AND m.collection_id = c.id AND m.product_id = l.product_id",
            ([pair[0] for pair in left], [pair[1] for pair in left]),
        )
    members = [
        (item.id, slug, title)
        for item in work
        for title in (item.product.kind, *item.product.collections)
        if (slug := slugify(title))
    ]
    moved = await all_moved(conn, kind="collection", slugs=[slug for _, slug, _ in members])
    members = [(product_id, moved.get(slug, slug), title) for product_id, slug, title in members]
    titles = {slug: title for _, slug, title in members}
    if not members:
        return
    await conn.execute(
        "INSERT INTO catalog.collections (id, slug, title)"
        " SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[]) ON CONFLICT (slug) DO NOTHING",
        ([new_id() for _ in titles], list(titles), list(titles.values())),
    )
    await conn.execute(
        "INSERT INTO catalog.product_collections (collection_id, product_id)"
        " SELECT c.id, m.product_id FROM unnest(%s::uuid[], %s::text[]) AS m (product_id, slug)"
        " JOIN catalog.collections AS c ON c.slug = m.slug ON CONFLICT DO NOTHING",
        ([member[0] for member in members], [member[1] for member in members]),
    )


async def _write_variants(conn: Connection, work: Sequence[_Work]) -> dict[str, VariantId]:
    """SKU -> id of the variants."""
    rows = [
        (item.id, variant.sku, json.dumps(variant.options), position)
        for item in work
        for position, variant in enumerate(item.product.variants)
    ]
    found = await conn.execute(
        "INSERT INTO catalog.variants AS v (id, product_id, sku, options, position)"
        " SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::jsonb[], %s::int[])"
        " ON CONFLICT (sku) DO UPDATE SET options = excluded.options, position = excluded.position"
        " RETURNING v.sku, v.id",
        ([new_id() for _ in rows], *([row[column] for row in rows] for column in range(4))),
    )
    return {row[0]: row[1] for row in await found.fetchall()}


async def _write_prices(conn: Connection, work: Sequence[_Work], ids: Mapping[str, VariantId]) -> None:
    variants = [variant for item in work for variant in item.product.variants]
    await conn.execute(
        "INSERT INTO catalog.prices AS p (variant_id, currency, amount, compare_at_amount)"
        " SELECT * FROM unnest(%s::uuid[], %s::text[], %s::bigint[], %s::bigint[])"
        " ON CONFLICT (variant_id, currency) DO UPDATE"
        " SET amount = excluded.amount, compare_at_amount = excluded.compare_at_amount",
        (
            [ids[v.sku] for v in variants],
            [v.price.currency for v in variants],
            [v.price.amount for v in variants],
            [v.compare_at.amount if v.compare_at else None for v in variants],
        ),
    )


def _json(rows: list[dict[str, Any]]) -> str:
    return json.dumps(rows, ensure_ascii=False)
