"""Shopify's product CSV: one row per variant, the product's own cells on the first of its rows.

Both headers are understood: that of exports (`Handle`, `Variant SKU`, ...) and that of the newer template
(`URL handle`, `SKU`, ...). `Collections` is a column of our own exports.
"""

from __future__ import annotations

from collections.abc import Mapping

_HEADERS = {
    "handle": ("Handle", "URL handle"),
    "title": ("Title",),
    "description": ("Body (HTML)", "Description"),
    "vendor": ("Vendor",),
    "kind": ("Type",),
    "collections": ("Collections",),
    "tags": ("Tags",),
    "published": ("Published", "Published on online store"),
    "status": ("Status",),
    "gift": ("Gift Card",),
    "seo_title": ("SEO Title",),
    "seo_description": ("SEO Description",),
    "picture": ("Image Src", "Product image URL"),
    "variant_picture": ("Variant Image", "Variant image URL"),
    "option1_name": ("Option1 Name",),
    "option1": ("Option1 Value",),
    "option2_name": ("Option2 Name",),
    "option2": ("Option2 Value",),
    "option3_name": ("Option3 Name",),
    "option3": ("Option3 Value",),
    "sku": ("Variant SKU", "SKU"),
    "quantity": ("Variant Inventory Qty", "Inventory quantity"),
    "price": ("Variant Price", "Price"),
    "compare_at": ("Variant Compare At Price", "Compare-at price"),
}
_REQUIRED = ("handle", "title", "price")
NAMES: Mapping[str, str] = {name: headers[0] for name, headers in _HEADERS.items()}


def shopify_columns(found: Mapping[str, int]) -> tuple[dict[str, int], list[str]]:
    """(field -> column, names of the columns that a Shopify product CSV must have and this header has not)."""
    places = {
        name: found[header.lower()]
        for name, headers in _HEADERS.items()
        for header in reversed(headers)
        if header.lower() in found
    }
    return places, [_HEADERS[name][0] for name in _REQUIRED if name not in places]
