"""Reading the catalogue. Only active products are listed, found by address, or sold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from tidegate.catalog.contracts import CollectionRef, DropTerms, Product, ProductPage, Room, Sort, Terms, Variant
from tidegate.catalog.rules import check_query, decode_cursor, encode_cursor, is_slug, options_text, storable
from tidegate.catalog.search import SOLD_IN, Words, find_rows, words_of
from tidegate.platform.database import Connection
from tidegate.platform.ids import ProductId, VariantId
from tidegate.platform.money import Money
from tidegate.platform.problems import InvalidRequest
from tidegate.platform.texts import text as _

MAX_COLLECTIONS = 200
"""Most collections that are listed."""

_PRODUCT = "p.id, p.slug, p.title, p.description, p.vendor, p.kind, p.popularity"
_TERMS = (
    "SELECT v.id, v.sku, p.slug, p.title, v.options, c.amount, c.currency,"
    " d.id, d.slug, d.opens_at, d.per_buyer, d.room, p.tax_class"
    " FROM catalog.variants AS v JOIN catalog.products AS p ON p.id = v.product_id"
    " JOIN catalog.prices AS c ON c.variant_id = v.id AND c.currency = %(currency)s"
    " LEFT JOIN catalog.drop_items AS i ON i.variant_id = v.id AND i.live"
    " LEFT JOIN catalog.drops AS d ON d.id = i.drop_id"
)


async def list_products(
    conn: Connection,
    *,
    query: str = "",
    collection: str = "",
    sort: Sort | None = None,
    after: str = "",
    limit: int,
    currency: str,
) -> ProductPage:
    """A page of active products, sorted, then by slug.

    `query`: each of its words, or the one it was mistyped from, must be in the title, the tags, the maker or the
    description. `collection`: a collection's slug. `sort` None: by relevance when there is a query, else by popularity.
    `after`: `next` of the page before. `limit`: products, at least 1; its upper bound is the caller's.
    Raises: InvalidRequest for a bad cursor, limit or too long a query.
    """
    if limit < 1:
        raise InvalidRequest(_("`limit` must be at least 1."))
    check_query(query)
    place = decode_cursor(after) if after else None
    if collection and not is_slug(collection):
        return ProductPage((), None)
    words = await words_of(conn, query)
    found = await find_rows(
        conn,
        columns=_PRODUCT,
        words=words,
        collection=collection,
        sort=_order(sort, words),
        place=place,
        limit=limit + 1,
        currency=currency,
    )
    page = found[:limit]
    items = await _with_variants(conn, page, currency)
    following = encode_cursor(page[-1][-1], page[-1][1]) if len(found) > limit else None
    return ProductPage(items, following, words.corrected)


def _order(sort: Sort | None, words: Words) -> Sort:
    """The order that is asked for; relevance needs words."""
    if sort is not None and (sort != Sort.RELEVANCE or words.tsquery):
        return sort
    return Sort.RELEVANCE if words.tsquery else Sort.POPULAR


async def find_product(conn: Connection, *, slug: str, currency: str) -> Product | None:
    """The active product at this address, or None."""
    if not is_slug(slug):
        return None
    rows = await conn.execute(
        f"SELECT {_PRODUCT} FROM catalog.products AS p WHERE p.slug = %(slug)s AND {SOLD_IN}",  # noqa: S608
        {"slug": slug, "currency": currency},
    )
    products = await _with_variants(conn, await rows.fetchall(), currency)
    return products[0] if products else None


async def list_collections(conn: Connection) -> tuple[CollectionRef, ...]:
    """Collections with at least one active product, by title."""
    rows = await conn.execute(
        "SELECT o.slug, o.title FROM catalog.collections AS o WHERE EXISTS (SELECT 1"
        " FROM catalog.product_collections AS m JOIN catalog.products AS p ON p.id = m.product_id"
        " WHERE m.collection_id = o.id AND p.status = 'active')"
        " ORDER BY o.title, o.slug LIMIT %s",
        (MAX_COLLECTIONS,),
    )
    return tuple(CollectionRef(*row) for row in await rows.fetchall())


async def count_unpriced(conn: Connection, *, currency: str) -> int:
    """How many active products have no price in `currency`: they are not shown."""
    rows = await conn.execute(
        "SELECT count(*) FROM catalog.products AS p WHERE p.status = 'active' AND NOT EXISTS ("
        " SELECT FROM catalog.variants AS v JOIN catalog.prices AS c ON c.variant_id = v.id AND c.currency = %s"
        " WHERE v.product_id = p.id)",
        (currency,),
    )
    row = await rows.fetchone()
    assert row is not None
    return int(row[0])


async def sitemap_starts(conn: Connection, *, every: int, currency: str) -> tuple[str, ...]:
    """The slugs at which parts of `every` products begin, in order of slugs."""
    rows = await conn.execute(
        "SELECT slug FROM (SELECT p.slug, row_number() OVER (ORDER BY p.slug) AS place"  # noqa: S608
        f" FROM catalog.products AS p WHERE {SOLD_IN}) AS n WHERE (place - 1) %% %(every)s = 0 ORDER BY slug",
        {"every": every, "currency": currency},
    )
    return tuple(row[0] for row in await rows.fetchall())


async def sitemap_slugs(conn: Connection, *, start: str, limit: int, currency: str) -> tuple[str, ...]:
    """The slugs of at most `limit` active products from `start` on, which is one of them."""
    if not is_slug(start):
        return ()
    rows = await conn.execute(
        f"SELECT p.slug FROM catalog.products AS p WHERE {SOLD_IN} AND p.slug >= %(start)s"  # noqa: S608
        " ORDER BY p.slug LIMIT %(limit)s",
        {"start": start, "limit": limit, "currency": currency},
    )
    return tuple(row[0] for row in await rows.fetchall())


async def purchase_terms(conn: Connection, *, skus: Sequence[str], currency: str) -> dict[str, Terms]:
    """What buying these SKUs means now.

    Absent: unknown SKUs, those of products that are not active, variants without a price in `currency`.
    """
    asked = [sku for sku in dict.fromkeys(skus) if storable(sku)]
    rows = await conn.execute(
        f"{_TERMS} WHERE v.sku = ANY(%(skus)s) AND p.status = 'active'", {"skus": asked, "currency": currency}
    )
    return {row[1]: _terms(row) for row in await rows.fetchall()}


async def variant_terms(conn: Connection, *, variant_ids: Sequence[VariantId], currency: str) -> dict[VariantId, Terms]:
    """The same by variant, whatever the product's status: for what somebody holds or has bought already."""
    rows = await conn.execute(f"{_TERMS} WHERE v.id = ANY(%(ids)s)", {"ids": list(variant_ids), "currency": currency})
    return {row[0]: _terms(row) for row in await rows.fetchall()}


def _terms(row: tuple[Any, ...]) -> Terms:
    drop = DropTerms(row[7], row[8], row[9], row[10], Room(row[11])) if row[7] is not None else None
    return Terms(row[0], row[1], row[2], row[3], options_text(row[4]), Money(row[5], row[6]), drop, row[12])


async def _with_variants(conn: Connection, rows: Sequence[tuple[Any, ...]], currency: str) -> tuple[Product, ...]:
    """Products of `_PRODUCT` rows, in their order."""
    ids = [row[0] for row in rows]
    if not ids:
        return ()
    variants: defaultdict[ProductId, list[Variant]] = defaultdict(list)
    found = await conn.execute(
        "SELECT v.product_id, v.id, v.sku, v.options, c.amount, c.compare_at_amount FROM catalog.variants AS v"
        " JOIN catalog.prices AS c ON c.variant_id = v.id AND c.currency = %s"
        " WHERE v.product_id = ANY(%s) ORDER BY v.product_id, v.position, v.sku",
        (currency, ids),
    )
    for product_id, variant_id, sku, options, amount, compare_at in await found.fetchall():
        pairs = tuple((name, value) for name, value in options)
        before = Money(compare_at, currency) if compare_at is not None else None
        variants[product_id].append(Variant(variant_id, sku, pairs, Money(amount, currency), before))
    collections: defaultdict[ProductId, list[CollectionRef]] = defaultdict(list)
    found = await conn.execute(
        "SELECT m.product_id, o.slug, o.title FROM catalog.product_collections AS m"
        " JOIN catalog.collections AS o ON o.id = m.collection_id WHERE m.product_id = ANY(%s)"
        " ORDER BY o.title, o.slug",
        (ids,),
    )
    for product_id, slug, title in await found.fetchall():
        collections[product_id].append(CollectionRef(slug, title))
    return tuple(
        Product(row[0], row[1], row[2], row[3], row[4], row[5], tuple(collections[row[0]]), tuple(variants[row[0]]))
        for row in rows
    )
