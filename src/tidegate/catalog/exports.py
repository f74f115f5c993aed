"""Exporting products as Shopify's product CSV, such that importing the file changes nothing."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TextIO

from babel.numbers import get_currency_precision

from tidegate.catalog.contracts import ExportReport, Status
from tidegate.catalog.groups import OPTIONS
from tidegate.catalog.html_text import html_text
from tidegate.catalog.rules import slugify
from tidegate.platform.database import Connection
from tidegate.platform.ids import ProductId, VariantId

COLUMNS = (
    "Handle,Title,Body (HTML),Vendor,Type,Collections,Tags,Published,Option1 Name,Option1 Value,Option2 Name,"
    "Option2 Value,Option3 Name,Option3 Value,Variant SKU,Variant Inventory Tracker,Variant Inventory Qty,"
    "Variant Inventory Policy,Variant Fulfillment Service,Variant Price,Variant Compare At Price,"
    "Variant Requires Shipping,Variant Taxable,Gift Card,Status"
).split(",")
MAX_LEFT_OUT = 1_000
"""Most products that a report lists as left out; all are counted."""

StockOf = Callable[[Sequence[VariantId]], Awaitable[Mapping[VariantId, int]]]
"""Items available of variants."""


@dataclass(frozen=True, slots=True)
class _Offer:
    id: VariantId
    sku: str
    options: tuple[tuple[str, str], ...]
    amount: int
    compare_at: int | None


@dataclass(frozen=True, slots=True)
class _Product:
    slug: str
    title: str
    description: str
    vendor: str
    kind: str
    tags: tuple[str, ...]
    status: str
    collections: tuple[str, ...]
    offers: tuple[_Offer, ...]


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
            if reason := _unfit(product):
                skipped += 1
                left_out += [(product.slug, reason)] if len(left_out) < MAX_LEFT_OUT else []
                continue
            writer.writerows(_rows(product, stock, currency))
            products += 1
            variants += len(product.offers)
    return ExportReport(products, variants, skipped, tuple(left_out))


async def _pages(conn: Connection, currency: str, batch: int) -> AsyncIterator[list[_Product]]:
    after = ""
    while True:
        found = await conn.execute(
            "SELECT id, slug, title, description, vendor, kind, tags, status FROM catalog.products"
            " WHERE slug > %s ORDER BY slug LIMIT %s",
            (after, batch),
        )
        rows = await found.fetchall()
        if not rows:
            return
        after = rows[-1][1]
        ids = [row[0] for row in rows]
        offers, collections = await _offers(conn, ids, currency), await _collections(conn, ids)
        yield [
            _Product(slug, title, text, vendor, kind, tuple(tags), status, collections.get(id, ()), tuple(offers[id]))
            for id, slug, title, text, vendor, kind, tags, status in rows
            if id in offers
        ]


async def _offers(conn: Connection, ids: Sequence[ProductId], currency: str) -> dict[ProductId, list[_Offer]]:
    found = await conn.execute(
        "SELECT v.product_id, v.id, v.sku, v.options, c.amount, c.compare_at_amount FROM catalog.variants AS v"
        " JOIN catalog.prices AS c ON c.variant_id = v.id AND c.currency = %s"
        " WHERE v.product_id = ANY(%s) ORDER BY v.product_id, v.position, v.sku",
        (currency, ids),
    )
    offers: dict[ProductId, list[_Offer]] = {}
    for product_id, variant_id, sku, options, amount, compare_at in await found.fetchall():
        pairs = tuple((name, value) for name, value in options)
        offers.setdefault(product_id, []).append(_Offer(variant_id, sku, pairs, amount, compare_at))
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


def _unfit(product: _Product) -> str:
    """Why the format cannot carry the product, empty if it can."""
    names = {tuple(name for name, _ in offer.options) for offer in product.offers}
    if len(names) > 1:
        return "its variants have different options"
    if any(len(each) > len(OPTIONS) for each in names):
        return f"its variants have more than {len(OPTIONS)} options"
    if any(often > 1 for often in Counter(offer.options for offer in product.offers).values()):
        return "two of its variants have the same options"
    if any("," in tag for tag in product.tags):
        return "one of its tags holds a comma"
    return ""


def _rows(product: _Product, stock: Mapping[VariantId, int], currency: str) -> list[dict[str, str]]:
    rows = [_offer_row(product, offer, stock.get(offer.id, 0), currency) for offer in product.offers]
    others = [title for title in product.collections if slugify(title) != slugify(product.kind)]
    rows[0] |= {
        "Title": product.title,
        "Body (HTML)": html_text(product.description),
        "Vendor": product.vendor,
        "Type": product.kind,
        "Collections": "; ".join(title.replace(";", ",") for title in others),
        "Tags": ", ".join(product.tags),
        "Published": "TRUE" if product.status == Status.ACTIVE else "FALSE",
        "Gift Card": "FALSE",
        "Status": product.status,
    }
    return rows


def _offer_row(product: _Product, offer: _Offer, available: int, currency: str) -> dict[str, str]:
    row = {
        "Handle": product.slug,
        "Variant SKU": offer.sku,
        "Variant Inventory Tracker": "shopify",
        "Variant Inventory Qty": str(available),
        "Variant Inventory Policy": "deny",
        "Variant Fulfillment Service": "manual",
        "Variant Price": _price(offer.amount, currency),
        "Variant Compare At Price": "" if offer.compare_at is None else _price(offer.compare_at, currency),
        "Variant Requires Shipping": "TRUE",
        "Variant Taxable": "TRUE",
    }
    for number, (name, value) in enumerate(offer.options or (("Title", "Default Title"),), start=1):
        row |= {f"Option{number} Name": name, f"Option{number} Value": value}
    return row


def _price(amount: int, currency: str) -> str:
    return f"{Decimal(amount).scaleb(-get_currency_precision(currency)):f}"
