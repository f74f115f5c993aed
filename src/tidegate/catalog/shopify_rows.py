"""Products as rows of Shopify's product CSV. What is read of such rows is in `shopify` and `groups`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from babel.numbers import get_currency_precision

from tidegate.catalog.contracts import SeoTexts, Status
from tidegate.catalog.groups import OPTIONS
from tidegate.catalog.html_text import html_text
from tidegate.catalog.rules import slugify
from tidegate.platform.ids import VariantId

COLUMNS = (
    "Handle,Title,Body (HTML),Vendor,Type,Collections,Tags,Published,Option1 Name,Option1 Value,Option2 Name,"
    "Option2 Value,Option3 Name,Option3 Value,Variant SKU,Variant Inventory Tracker,Variant Inventory Qty,"
    "Variant Inventory Policy,Variant Fulfillment Service,Variant Price,Variant Compare At Price,"
    "Variant Requires Shipping,Variant Taxable,Gift Card,SEO Title,SEO Description,Status"
).split(",")


@dataclass(frozen=True, slots=True)
class Offer:
    """A variant with its price; amounts are in minor units."""

    id: VariantId
    sku: str
    options: tuple[tuple[str, str], ...]
    amount: int
    compare_at: int | None


@dataclass(frozen=True, slots=True)
class Exported:
    """A product with its variants that have a price."""

    slug: str
    title: str
    description: str
    vendor: str
    kind: str
    tags: tuple[str, ...]
    status: str
    collections: tuple[str, ...]
    offers: tuple[Offer, ...]
    seo: SeoTexts


def unfit(product: Exported) -> str:
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


def product_rows(product: Exported, stock: Mapping[VariantId, int], currency: str) -> list[dict[str, str]]:
    """One row a variant, the product's own cells on the first. `stock`: items available of each variant."""
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
        "SEO Title": product.seo.title,
        "SEO Description": product.seo.description,
        "Status": product.status,
    }
    return rows


def _offer_row(product: Exported, offer: Offer, available: int, currency: str) -> dict[str, str]:
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
