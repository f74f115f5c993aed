"""Exporting products as Shopify's product CSV, such that importing the file changes nothing."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TextIO

from tidegate.catalog.contracts import ExportReport, SeoTexts
from tidegate.catalog.shopify_rows import COLUMNS, Exported, Offer, product_rows, unfit
from tidegate.platform.database import Connection
from tidegate.platform.ids import ProductId, VariantId

MAX_LEFT_OUT = 1_000
"""Most products that a report lists as left out; all are counted."""

StockOf = Callable[[Sequence[VariantId]], Awaitable[Mapping[VariantId, int]]]
"""Items available of variants."""


async def export_products(
    conn: Connection, *, target: TextIO, currency: str, batch: int, stock_of: StockOf
) -> ExportReport:
    """Write all products with a price in `currency`, by slug; `target` is opened with `newline=""`.

    To be called in one REPEATABLE READ transaction, so that the file is of one moment. Memory: `batch` products.
    """
    writer = csv.DictWriter(target, COLUMNS, lineterminator="\n")
    writer.writeheader()
    products = variants = 0
    left_out: list[tuple[str, str]] = []
    skipped = 0
    async for page in _pages(conn, currency, batch):
        stock = await stock_of([offer.id for product in page for offer in product.offers])
        for product in page:
            if reason := unfit(product):
                skipped += 1
                left_out += [(product.slug, reason)] if len(left_out) < MAX_LEFT_OUT else []
                continue
            writer.writerows(product_rows(product, stock, currency))
            products += 1
            variants += len(product.offers)
    return ExportReport(products, variants, skipped, tuple(left_out))


async def _pages(conn: Connection, currency: str, batch: int) -> AsyncIterator[list[Exported]]:
    after = ""
    while True:
        found = await conn.execute(
            "SELECT id, slug, title, description, vendor, kind, tags, status, seo_title, seo_description"
            " FROM catalog.products WHERE slug > %s ORDER BY slug LIMIT %s",
            (after, batch),
        )
        rows = await found.fetchall()
        if not rows:
            return
        after = rows[-1][1]
        ids = [row[0] for row in rows]
        offers, collections = await _offers(conn, ids, currency), await _collections(conn, ids)
        yield [
            Exported(
                slug,
                title,
                text,
                vendor,
                kind,
                tuple(tags),
                status,
                collections.get(id, ()),
                tuple(offers[id]),
                SeoTexts(*seo),
            )
            for id, slug, title, text, vendor, kind, tags, status, *seo in rows
            if id in offers
        ]


async def _offers(conn: Connection, ids: Sequence[ProductId], currency: str) -> dict[ProductId, list[Offer]]:
    found = await conn.execute(
        "SELECT v.product_id, v.id, v.sku, v.options, c.amount, c.compare_at_amount FROM catalog.variants AS v"
        " JOIN catalog.prices AS c ON c.variant_id = v.id AND c.currency = %s"
        " WHERE v.product_id = ANY(%s) ORDER BY v.product_id, v.position, v.sku",
        (currency, ids),
    )
    offers: dict[ProductId, list[Offer]] = {}
    for product_id, variant_id, sku, options, amount, compare_at in await found.fetchall():
        pairs = tuple((name, value) for name, value in options)
        offers.setdefault(product_id, []).append(Offer(variant_id, sku, pairs, amount, compare_at))
    return offers


async def _collections(conn: Connection, ids: Sequence[ProductId]) -> dict[ProductId, tuple[str, ...]]:
    found = await conn.execute(
        "SELECT m.product_id, o.title FROM catalog.product_collections AS m"
        " JOIN catalog.collections AS o ON o.id = m.collection_id WHERE m.product_id = ANY(%s) ORDER BY o.slug",
        (ids,),
    )
    collections: dict[ProductId, list[str]] = {}
    for product_id, title in await found.fetchall():
        collections.setdefault(product_id, []).append(title)
    return {id: tuple(titles) for id, titles in collections.items()}
