"""What a product's page says to machines: schema.org's Product, Offer and BreadcrumbList, and its one-line summary."""

from __future__ import annotations

from tidegate.storefront.offers import Offer, VariantOffer

LONGEST_SUMMARY = 160
"""Characters that search engines show of a description."""
MOST_OFFERS = 50
"""Variants that are listed one by one."""


def one_line(text: str) -> str:
    """The beginning of a text on one line, cut at a word."""
    flat = " ".join(text.split())
    if len(flat) <= LONGEST_SUMMARY:
        return flat
    return flat[: LONGEST_SUMMARY - 1].rsplit(" ", 1)[0] + "…"


def facts_of(offer: Offer, *, base_url: str) -> tuple[dict[str, object], ...]:
    """The product with its offers, and the way to it from the first page."""
    product = offer.product
    address = f"{base_url}/products/{product.slug}"
    about: dict[str, object] = {
        "@context": "https://schema.org",
        "@type": "Product",
        "name": product.title,
        "description": product.description or product.title,
        "image": [f"{base_url}{offer.picture}"],
        "url": address,
        "offers": [_offer(each, address) for each in offer.variants[:MOST_OFFERS]],
    }
    if len(offer.variants) == 1:
        about["sku"] = offer.variants[0].variant.sku
    if product.vendor:
        about["brand"] = {"@type": "Brand", "name": product.vendor}
    steps = [(each.title, f"{base_url}/collections/{each.slug}") for each in product.collections[:1]]
    way: dict[str, object] = {
        "@context": "https://schema.org",
        "@type": "BreadcrumbList",
        "itemListElement": [
            {"@type": "ListItem", "position": place, "name": name, "item": item}
            for place, (name, item) in enumerate([*steps, (product.title, address)], start=1)
        ],
    }
    return about, way


def _offer(each: VariantOffer, address: str) -> dict[str, object]:
    price = each.variant.price
    state = "InStock" if each.available else ("PreOrder" if each.drop is not None and each.left else "OutOfStock")
    return {
        "@type": "Offer",
        "sku": each.variant.sku,
        "price": price.plain(),
        "priceCurrency": price.currency,
        "availability": f"https://schema.org/{state}",
        "url": address,
    }
