"""What a product's page says to machines: schema.org's Product, Offer and BreadcrumbList, and its one-line summary."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tidegate.catalog.contracts import Picture, Shelf
from tidegate.platform.money import Money
from tidegate.storefront.offers import DropOffer, Offer, VariantOffer

LONGEST_SUMMARY = 160
"""Characters that search engines show of a description."""
SHARED_WIDTH = 1280
MOST_SHOWN = 5
"""Pictures of a product that machines are told of."""
MOST_OFFERS = 50
"""Variants that are listed one by one."""


def one_line(text: str) -> str:
    """The beginning of a text on one line, cut at a word."""
    flat = " ".join(text.split())
    if len(flat) <= LONGEST_SUMMARY:
        return flat
    return flat[: LONGEST_SUMMARY - 1].rsplit(" ", 1)[0] + "…"


@dataclass(frozen=True, slots=True)
class Seen:
    """How a page looks from outside: to search engines, and where a link to it is shared (Open Graph)."""

    title: str
    description: str
    address: str
    """The whole address under which it should be known."""
    kind: str = "website"
    image: str = ""
    """The whole address of a picture that others can show; empty for none."""
    picture: Picture | None = None
    price: Money | None = None


def seen_product(offer: Offer, *, base_url: str) -> Seen:
    """A product's page from outside."""
    product, photo = offer.product, offer.photo
    return Seen(
        title=product.seo.title or product.title,
        description=product.seo.description or one_line(product.description) or product.title,
        address=f"{base_url}/products/{product.slug}",
        kind="product",
        image=f"{base_url}{photo.address(SHARED_WIDTH)}" if photo else "",
        picture=photo,
        price=offer.price,
    )


def seen_collection(shelf: Shelf, *, base_url: str) -> Seen:
    """A collection's page from outside."""
    return Seen(
        title=shelf.seo.title or shelf.title,
        description=shelf.seo.description or one_line(shelf.description) or shelf.title,
        address=f"{base_url}/collections/{shelf.slug}",
        image=f"{base_url}{shelf.picture.address(SHARED_WIDTH)}" if shelf.picture else "",
        picture=shelf.picture,
    )


def seen_drop(drop: DropOffer, *, base_url: str) -> Seen:
    """A drop's page from outside: under its own name and address, else as the product that it sells."""
    address = f"{base_url}/drops/{drop.drop.slug}"
    if drop.offer is None:
        return Seen(title=drop.drop.title, description="", address=address)
    product = seen_product(drop.offer, base_url=base_url)
    return replace(product, title=drop.drop.title, address=address)


def facts_of(offer: Offer, *, base_url: str) -> tuple[dict[str, object], ...]:
    """The product with its offers, and the way to it from the first page."""
    product = offer.product
    address = f"{base_url}/products/{product.slug}"
    about: dict[str, object] = {
        "@context": "https://schema.org",
        "@type": "Product",
        "name": product.title,
        "description": product.description or product.title,
        "image": [f"{base_url}{each.address(SHARED_WIDTH)}" for each in product.pictures[:MOST_SHOWN]]
        or [f"{base_url}{offer.picture}"],
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
