"""Reading the catalogue. Only active products are listed, found by address, or sold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from tidegate.catalog.contracts import (
    CollectionRef,
    DropTerms,
    Picture,
    Product,
    ProductPage,
    Room,
    SeoTexts,
    Shelf,
    Sort,
    Terms,
    Variant,
)
from tidegate.catalog.rules import check_query, decode_cursor, encode_cursor, is_slug, options_text, storable
from tidegate.catalog.search import SOLD_IN, Words, find_rows, words_of
from tidegate.platform.database import Connection
from tidegate.platform.ids import ProductId, VariantId
from tidegate.platform.money import Money
from tidegate.platform.problems import InvalidRequest
from tidegate.platform.texts import text as _

MAX_COLLECTIONS = 200
"""Most collections that are listed."""

_PRODUCT = "p.id, p.slug, p.title, p.description, p.vendor, p.kind, p.popularity, p.seo_title, p.seo_description"
_TERMS = (
    "SELECT v.id, v.sku, p.slug, p.title, v.options, c.amount, c.currency,"
    " d.id, d.slug, d.opens_at, d.per_buyer, d.room, p.tax_class, d.guests"
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
    description. `collection`: a collection's slug. `sort` None: by relevance when there is a query, else as the
    collection is arranged, else by popularity.
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
    arranged = bool(collection) and sort in (None, Sort.ARRANGED) and await _is_arranged(conn, collection)
    found = await find_rows(
        conn,
        columns=_PRODUCT,
        words=words,
        collection=collection,
        sort=_order(sort, words, arranged=arranged),
        place=place,
        limit=limit + 1,
        currency=currency,
    )
    page = found[:limit]
    items = await _with_variants(conn, page, currency)
    following = encode_cursor(page[-1][-1], page[-1][1]) if len(found) > limit else None
    return ProductPage(items, following, words.corrected)


def _order(sort: Sort | None, words: Words, *, arranged: bool) -> Sort:
    """The order that is asked for; relevance needs words, and only some collections are arranged."""
    possible = {Sort.RELEVANCE: bool(words.tsquery), Sort.ARRANGED: arranged}
    if sort is not None and possible.get(sort, True):
        return sort
    return next((each for each in possible if possible[each]), Sort.POPULAR)


async def _is_arranged(conn: Connection, collection: str) -> bool:
    rows = await conn.execute(
        "SELECT EXISTS (SELECT FROM catalog.product_collections AS m JOIN catalog.collections AS o"
        " ON o.id = m.collection_id WHERE o.slug = %s AND m.position IS NOT NULL)",
        (collection,),
    )
    row = await rows.fetchone()
    return bool(row and row[0])


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


async def pictures_by_slug(conn: Connection, *, slugs: Sequence[str]) -> dict[str, tuple[Picture | None, str]]:
    """Of active products: the main picture, if there is one, and the slug of the first collection, else nothing.

    Products that are not active are absent.
    """
    rows = await conn.execute(
        """
        SELECT p.slug, coalesce(o.slug, ''), i.digest, i.width, i.height, i.widths, i.alt
        FROM catalog.products AS p
        LEFT JOIN LATERAL (
            SELECT o.slug FROM catalog.product_collections AS m JOIN catalog.collections AS o ON o.id = m.collection_id
            WHERE m.product_id = p.id ORDER BY o.title, o.slug LIMIT 1
        ) AS o ON true
        LEFT JOIN LATERAL (
            SELECT i.digest, i.width, i.height, i.widths, m.alt
            FROM catalog.product_pictures AS m JOIN catalog.images AS i ON i.digest = m.digest
            WHERE m.product_id = p.id ORDER BY m.position, m.id LIMIT 1
        ) AS i ON true
        WHERE p.slug = ANY(%s) AND p.status = 'active'
        """,
        (list(slugs),),
    )
    return {
        row[0]: (Picture(row[2], row[3], row[4], tuple(row[5]), row[6]) if row[2] else None, row[1])
        for row in await rows.fetchall()
    }


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


async def find_collection(conn: Connection, *, slug: str) -> Shelf | None:
    """The collection at this address with all that its page shows, or None; also one that is empty."""
    if not is_slug(slug):
        return None
    rows = await conn.execute(
        "SELECT o.slug, o.title, o.description, o.seo_title, o.seo_description, o.alt,"
        " i.digest, i.width, i.height, i.widths, EXISTS (SELECT FROM catalog.product_collections AS m"
        " WHERE m.collection_id = o.id AND m.position IS NOT NULL)"
        " FROM catalog.collections AS o LEFT JOIN catalog.images AS i ON i.digest = o.digest WHERE o.slug = %s",
        (slug,),
    )
    row = await rows.fetchone()
    if row is None:
        return None
    picture = Picture(row[6], row[7], row[8], tuple(row[9]), row[5]) if row[6] else None
    return Shelf(row[0], row[1], row[2], SeoTexts(row[3], row[4]), picture, arranged=row[10])


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
    drop = DropTerms(row[7], row[8], row[9], row[10], Room(row[11]), row[13]) if row[7] is not None else None
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
    pictures = await _pictures(conn, ids)
    return tuple(
        Product(
            id=row[0],
            slug=row[1],
            title=row[2],
            description=row[3],
            vendor=row[4],
            kind=row[5],
            collections=tuple(collections[row[0]]),
            variants=tuple(variants[row[0]]),
            pictures=tuple(pictures[row[0]]),
            seo=SeoTexts(row[7], row[8]),
        )
        for row in rows
    )


async def _pictures(conn: Connection, ids: Sequence[ProductId]) -> dict[ProductId, list[Picture]]:
    """The pictures of products, in order."""
    pictures: defaultdict[ProductId, list[Picture]] = defaultdict(list)
    found = await conn.execute(
        "SELECT m.product_id, i.digest, i.width, i.height, i.widths, m.alt FROM catalog.product_pictures AS m"
        " JOIN catalog.images AS i ON i.digest = m.digest WHERE m.product_id = ANY(%s)"
        " ORDER BY m.product_id, m.position, m.id",
        (ids,),
    )
    for product_id, digest, width, height, widths, alt in await found.fetchall():
        pictures[product_id].append(Picture(digest, width, height, tuple(widths), alt))
    return pictures
