"""Whether products are as a file says, whoever made them so: an export that comes back must write nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from tidegate.catalog.addresses import all_moved
from tidegate.catalog.contracts import NewProduct, NewVariant
from tidegate.catalog.html_text import html_text
from tidegate.catalog.plain_text import plain_text
from tidegate.catalog.rules import slugify
from tidegate.platform.database import Connection

_Offer = tuple[tuple[tuple[str, str], ...], int, int | None]
"""Options, price, and former price of a variant, in minor units."""


async def find_alike(conn: Connection, products: Mapping[UUID, NewProduct]) -> set[UUID]:
    """The products of these ids that differ from what is asked in nothing that a file can say."""
    if not products:
        return set()
    alike = await _alike_in_words(conn, products)
    alike &= await _alike_in_collections(conn, {id: products[id] for id in alike})
    return alike & await _alike_in_variants(conn, {id: products[id] for id in alike})


async def _alike_in_words(conn: Connection, products: Mapping[UUID, NewProduct]) -> set[UUID]:
    rows = await conn.execute(
        "SELECT id, title, vendor, kind, tags, status, description, popularity, seo_title, seo_description"
        " FROM catalog.products WHERE id = ANY(%s)",
        (list(products),),
    )
    return {row[0] for row in await rows.fetchall() if _same_words(row, products[row[0]])}


def _same_words(row: tuple[Any, ...], asked: NewProduct) -> bool:
    _, title, vendor, kind, tags, status, description, popularity, seo_title, seo_description = row
    wanted = (asked.title, asked.vendor, asked.kind, asked.tags, asked.status.value)
    if (title, vendor, kind, tuple(tags), status) != wanted:
        return False
    if asked.popularity is not None and asked.popularity != popularity:
        return False
    if asked.seo_title not in (None, seo_title) or asked.seo_description not in (None, seo_description):
        return False
    return bool(description == asked.description or plain_text(html_text(description)) == asked.description)


async def _alike_in_collections(conn: Connection, products: Mapping[UUID, NewProduct]) -> set[UUID]:
    """Those that are in all collections that they name; they may be in others too."""
    rows = await conn.execute(
        "SELECT m.product_id, c.slug FROM catalog.product_collections AS m"
        " JOIN catalog.collections AS c ON c.id = m.collection_id WHERE m.product_id = ANY(%s)",
        (list(products),),
    )
    found: defaultdict[UUID, set[str]] = defaultdict(set)
    for product_id, slug in await rows.fetchall():
        found[product_id].add(slug)
    named = {
        id: {slug for title in (product.kind, *product.collections) if (slug := slugify(title))}
        for id, product in products.items()
    }
    moved = await all_moved(conn, kind="collection", slugs=sorted(set().union(*named.values())))
    return {id for id, slugs in named.items() if {moved.get(slug, slug) for slug in slugs} <= found[id]}


async def _alike_in_variants(conn: Connection, products: Mapping[UUID, NewProduct]) -> set[UUID]:
    currencies = {variant.price.currency for product in products.values() for variant in product.variants}
    rows = await conn.execute(
        "SELECT v.product_id, v.sku, v.options, p.amount, p.compare_at_amount FROM catalog.variants AS v"
        " JOIN catalog.prices AS p ON p.variant_id = v.id AND p.currency = ANY(%s)"
        " WHERE v.product_id = ANY(%s) ORDER BY v.product_id, v.position, v.sku",
        (list(currencies), list(products)),
    )
    found: defaultdict[UUID, dict[str, _Offer]] = defaultdict(dict)
    for product_id, sku, options, amount, compare_at in await rows.fetchall():
        former = compare_at if compare_at is not None and compare_at > amount else None
        found[product_id][sku] = (tuple((name, value) for name, value in options), amount, former)
    return {id for id, product in products.items() if _same_variants(found[id], product)}


def _same_variants(found: Mapping[str, _Offer], asked: NewProduct) -> bool:
    """The same offers in the same order, whatever other variants there are."""
    named = {variant.sku for variant in asked.variants}
    here = [(sku, offer) for sku, offer in found.items() if sku in named]
    return here == [(variant.sku, _offer(variant)) for variant in asked.variants]


def _offer(variant: NewVariant) -> _Offer:
    return variant.options, variant.price.amount, variant.compare_at.amount if variant.compare_at else None
