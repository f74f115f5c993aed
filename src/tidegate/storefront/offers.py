"""What can be bought right now: the catalogue's products with the stock that is left and the drops that sell them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from math import ceil

from tidegate import catalog, inventory
from tidegate.catalog.contracts import Drop, DropTerms, Picture, Product, Variant
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection
from tidegate.platform.money import Money
from tidegate.storefront.art import picture_address

PAGE_WIDTH = 640
SMALL_WIDTH = 128
"""Pixels of the pictures beside a line: 64 on a dense screen."""
FEW_LEFT = 5
"""From so many items down, shoppers are told how many there are."""
MOST_PICTURES = 10
"""Lines of a cart or hold that get a picture."""


@dataclass(frozen=True, slots=True)
class VariantOffer:
    """A variant as it stands: `left` items, sold by `drop` where that is not None; `open` says whether it has begun."""

    variant: Variant
    left: int
    drop: DropTerms | None
    open: bool

    @property
    def available(self) -> bool:
        """Whether a hold of one would be granted at this moment."""
        return self.open and self.left > 0

    @property
    def few(self) -> bool:
        """Whether what is left is counted for shoppers; none is not few."""
        return 0 < self.left <= FEW_LEFT


@dataclass(frozen=True, slots=True)
class Offer:
    """A product with its variants as they stand."""

    product: Product
    variants: tuple[VariantOffer, ...]

    @property
    def collection(self) -> str:
        """Slug of the collection that its picture belongs to, empty for none."""
        return self.product.collections[0].slug if self.product.collections else ""

    @property
    def photo(self) -> Picture | None:
        """Its main picture, None where only a drawn one can be shown."""
        return next(iter(self.product.pictures), None)

    @property
    def picture(self) -> str:
        """Address of its picture, as large as a page shows it: its main one, or the one that is drawn for it."""
        return self.picture_of(PAGE_WIDTH)

    def picture_of(self, at_least: int) -> str:
        """Address of its picture with at least so many pixels across, if there is one of that."""
        if self.photo is not None:
            return self.photo.address(at_least)
        return picture_address(self.product.slug, self.collection)

    @property
    def price(self) -> Money:
        """The lowest price."""
        return min((each.variant.price for each in self.variants), key=lambda price: price.amount)

    @property
    def one_price(self) -> bool:
        """Whether all variants cost the same."""
        return len({each.variant.price for each in self.variants}) == 1

    @property
    def left(self) -> int:
        """Items of all variants."""
        return sum(each.left for each in self.variants)

    @property
    def few(self) -> bool:
        """Whether what is left is counted for shoppers; none is not few."""
        return 0 < self.left <= FEW_LEFT

    @property
    def loose(self) -> Offer:
        """The same product with what is sold outside of drops only."""
        return Offer(self.product, tuple(each for each in self.variants if each.drop is None))

    @property
    def drop(self) -> DropTerms | None:
        """The drop that sells all of it, or None."""
        drops = {each.drop for each in self.variants}
        return next(iter(drops)) if len(drops) == 1 else None

    @property
    def available(self) -> bool:
        """Whether any variant can be bought now."""
        return any(each.available for each in self.variants)


class DropPhase(StrEnum):
    """Where a drop stands, by the database's clock and stock."""

    SCHEDULED = "scheduled"
    OPEN = "open"
    SOLD_OUT = "sold_out"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class DropOffer:
    """A drop as it stands: of `quantity` items `left` are free and `held` are kept for people who are paying.

    `offer` is the product that it sells, with the drop's variants only; None when it is not for sale any more.
    """

    drop: Drop
    phase: DropPhase
    seconds_to_open: int
    quantity: int
    left: int
    held: int
    offer: Offer | None


async def offers_of(conn: Connection, products: Sequence[Product], *, currency: str) -> tuple[Offer, ...]:
    """The products as they stand, in their order: three queries, however many."""
    variants = [variant for product in products for variant in product.variants]
    left = await inventory.available(conn, variant_ids=[variant.id for variant in variants])
    terms = await catalog.purchase_terms(conn, skus=[variant.sku for variant in variants], currency=currency)
    now = await database_now(conn)

    def offered(variant: Variant) -> VariantOffer:
        drop = terms[variant.sku].drop if variant.sku in terms else None
        return VariantOffer(variant, left.get(variant.id, 0), drop, drop is None or drop.opens_at <= now)

    return tuple(Offer(product, tuple(offered(variant) for variant in product.variants)) for product in products)


async def find_offer(conn: Connection, *, slug: str, currency: str) -> Offer | None:
    """The product at this address as it stands, or None."""
    product = await catalog.find_product(conn, slug=slug, currency=currency)
    return (await offers_of(conn, [product], currency=currency))[0] if product else None


async def pictures_of(conn: Connection, slugs: Sequence[str]) -> dict[str, str]:
    """Addresses of small pictures of products, by slug, as their pages show them; the first few of them."""
    wanted = list(dict.fromkeys(slugs))[:MOST_PICTURES]
    found = await catalog.pictures_by_slug(conn, slugs=wanted)
    addresses = {}
    for slug in wanted:
        photo, collection = found.get(slug, (None, ""))
        addresses[slug] = picture_address(slug, collection) if photo is None else photo.address(SMALL_WIDTH)
    return addresses


async def find_drop_offer(conn: Connection, *, slug: str, currency: str) -> DropOffer | None:
    """The drop at this address as it stands, or None."""
    drop = await catalog.find_drop(conn, slug=slug)
    return await _drop_offer(conn, drop, currency) if drop else None


async def leading_drop(conn: Connection, *, currency: str, look_at: int = 10) -> DropOffer | None:
    """The drop to lead the shop's first page: one that is running, else the next to open, else the latest sold out.

    Closed drops do not count; of the live ones the `look_at` that open last are looked at.
    """
    live = [drop for drop in await catalog.list_drops(conn, limit=look_at) if drop.closed_at is None]
    offers = [await _drop_offer(conn, drop, currency) for drop in live]
    return min(offers, key=_urgency, default=None)


def phase_of(drop: Drop, *, left: int, now: datetime) -> DropPhase:
    """Where a drop stands."""
    if drop.closed_at is not None:
        return DropPhase.CLOSED
    if now < drop.opens_at:
        return DropPhase.SCHEDULED
    return DropPhase.OPEN if left > 0 else DropPhase.SOLD_OUT


def _urgency(offer: DropOffer) -> tuple[int, float]:
    """Running drops first, the newest of them; then scheduled ones, the soonest; then the rest, the newest."""
    rank = {DropPhase.OPEN: 0, DropPhase.SCHEDULED: 1}.get(offer.phase, 2)
    opens_at = offer.drop.opens_at.timestamp()
    return (rank, opens_at if offer.phase == DropPhase.SCHEDULED else -opens_at)


async def _drop_offer(conn: Connection, drop: Drop, currency: str) -> DropOffer:
    ids = [item.variant_id for item in drop.items]
    levels = await inventory.stock_levels(conn, variant_ids=ids)
    terms = await catalog.variant_terms(conn, variant_ids=ids, currency=currency)
    slugs = {each.product_slug for each in terms.values()}
    offer = await find_offer(conn, slug=slugs.pop(), currency=currency) if len(slugs) == 1 else None
    if offer is not None:
        offer = Offer(offer.product, tuple(each for each in offer.variants if each.variant.id in set(ids)))
    now = await database_now(conn)
    left = sum(levels[each].available for each in ids if each in levels)
    return DropOffer(
        drop=drop,
        phase=phase_of(drop, left=left, now=now),
        seconds_to_open=max(0, ceil((drop.opens_at - now).total_seconds())),
        quantity=sum(item.quantity for item in drop.items),
        left=left,
        held=sum(levels[each].held for each in ids if each in levels),
        offer=offer if offer is not None and offer.variants else None,
    )
