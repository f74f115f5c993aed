"""The demo catalogue: real names, prices and sales of the Online Retail set (CC0), with texts of our own.

Facts: D. Chen, S. L. Sain, K. Guo (2012), doi:10.1057/dbm.2012.17; UCI "Online Retail".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from tidegate.catalog.contracts import NewProduct, NewVariant, Status
from tidegate.platform.money import Money, parse_amount


@dataclass(frozen=True, slots=True)
class DemoDrop:
    """The drop that a demo shop runs: `quantity` items of one SKU, `per_buyer` each."""

    slug: str
    title: str
    sku: str
    quantity: int
    per_buyer: int


@dataclass(frozen=True, slots=True)
class DemoCatalogue:
    """Products with their first stock, and the drop."""

    products: tuple[NewProduct, ...]
    drop: DemoDrop


def demo_catalogue(*, currency: str) -> DemoCatalogue:
    """The demo catalogue; its figures (pounds in the source) are taken as amounts of `currency`."""
    found = json.loads((files(__package__) / "catalogue.json").read_text("utf-8"))
    return DemoCatalogue(
        products=tuple(_product(entry, currency) for entry in found["products"]),
        drop=DemoDrop(**found["drop"]),
    )


def _product(entry: dict[str, Any], currency: str) -> NewProduct:
    names = entry.get("options", [])
    return NewProduct(
        slug=entry["slug"],
        title=entry["title"],
        description=entry["description"],
        vendor="",
        kind=entry["collection"],
        tags=tuple(entry["tags"]),
        status=Status.ACTIVE,
        variants=tuple(
            NewVariant(
                sku=variant["sku"],
                options=tuple(zip(names, variant.get("values", []), strict=True)),
                price=Money(parse_amount(variant["price"], currency), currency),
                quantity=variant["stock"],
            )
            for variant in entry["variants"]
        ),
        popularity=sum(variant["units_sold"] for variant in entry["variants"]),
    )
