"""JSON routes for looking around: products with what is available of them, and drops."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from tidegate import catalog
from tidegate.catalog import Picture, Sort
from tidegate.checkout import Shop, takes_guests
from tidegate.platform.edge.errors import invalid_fields
from tidegate.platform.edge.hot import Link
from tidegate.platform.edge.openapi import problems_by_status
from tidegate.platform.money import Money
from tidegate.platform.problems import NotFound
from tidegate.platform.texts import text as _
from tidegate.storefront.freshness import made_from, one_state
from tidegate.storefront.offers import DropOffer, Offer, VariantOffer, find_drop_offer, find_offer, offers_of
from tidegate.web import MadeFrom, kept_answer

router = APIRouter(prefix="/api/v1", tags=["catalog"])

MAX_TEXT = 512
"""Longest search text, collection or cursor that is looked at; the catalogue's own bounds are narrower."""


TO_PRODUCT = Link("get_product", "A product with all that its page shows.", {"slug": "$response.body#/items/0/slug"})
FIRST_LINE = {"lines": [{"sku": "$response.body#/items/0/variants/0/sku", "quantity": 1}]}
FROM_PRODUCTS = (
    TO_PRODUCT,
    Link("post_hold", "Hold one of them.", body=FIRST_LINE),
    Link("post_purchase", "Buy one of them at once.", body=FIRST_LINE),
)


class PriceAnswer(BaseModel):
    """Money in minor units (pence, cents)."""

    amount: int
    currency: str

    @classmethod
    def of(cls, money: Money) -> PriceAnswer:
        """The shape of `money`."""
        return cls(amount=money.amount, currency=money.currency)


class PictureAnswer(BaseModel):
    """An uploaded picture in all its widths."""

    alt: str = Field(description="What it shows; empty for decoration.")
    width: int = Field(description="Pixels of the widest file.")
    height: int
    files: dict[int, str] = Field(
        description="Paths of its files by their widths in pixels. What one shows never changes."
    )

    @classmethod
    def of(cls, picture: Picture) -> PictureAnswer:
        """The shape of `picture`."""
        files = {width: picture.address(width) for width in picture.widths}
        return cls(alt=picture.alt, width=picture.width, height=picture.height, files=files)


class VariantAnswer(BaseModel):
    """One thing that can be bought."""

    sku: str
    options: dict[str, str]
    price: PriceAnswer
    available: bool = Field(description="Whether one could be held at this moment.")

    @classmethod
    def of(cls, offer: VariantOffer) -> VariantAnswer:
        """The shape of a variant."""
        variant = offer.variant
        return cls(
            sku=variant.sku,
            options=dict(variant.options),
            price=PriceAnswer.of(variant.price),
            available=offer.available,
        )


class ProductAnswer(BaseModel):
    """A product in a list."""

    slug: str
    title: str
    picture: PictureAnswer | None = Field(description="The main one; null where none was uploaded.")
    variants: list[VariantAnswer]


class ProductsAnswer(BaseModel):
    """A page of products in the asked order."""

    items: list[ProductAnswer]
    next: str | None = Field(description="Value of `after` for the next page; null at the end.")
    corrected: str | None = Field(
        description="Words that were looked for in place of mistyped ones; null if none were."
    )


class CollectionAnswer(BaseModel):
    """A collection of products."""

    slug: str
    title: str


class ProductDetailAnswer(ProductAnswer):
    """A product with all that its page shows."""

    description: str
    vendor: str
    collections: list[CollectionAnswer]
    pictures: list[PictureAnswer] = Field(description="In the merchant's order, the main one first.")


class DropItemAnswer(BaseModel):
    """What a drop sells."""

    sku: str
    quantity: int = Field(description="Items that the drop offers in all.")
    left: int = Field(description="Items that nobody holds or has bought at this moment.")


class DropAnswer(BaseModel):
    """A drop as it stands."""

    slug: str
    title: str
    opens_at: datetime
    phase: str = Field(description="scheduled, open, sold_out or closed")
    per_buyer: int
    room: str
    guests: bool = Field(description="Whether people without an account may wait and buy.")
    items: list[DropItemAnswer]


@router.get(
    "/products",
    response_model=ProductsAnswer,
    responses={200: {"links": {link.operation: link.document() for link in FROM_PRODUCTS}}},
)
async def get_products(
    request: Request,
    query: Annotated[
        str, Query(max_length=MAX_TEXT, description="Words that a product must all have; slips are forgiven.")
    ] = "",
    collection: Annotated[str, Query(max_length=MAX_TEXT, description="Slug of a collection.")] = "",
    sort: Annotated[
        Sort | None,
        Query(description="Without it: relevance for a search, else as a collection is arranged, else popularity."),
    ] = None,
    after: Annotated[str, Query(max_length=MAX_TEXT, description="`next` of the page before.")] = "",
    limit: Annotated[int | None, Query(description="Products per page; the shop's settings bound it.")] = None,
) -> Response:
    """Products that are for sale, page by page."""
    shop = _shop(request)
    most = shop.settings.catalog.page_max
    limit = shop.settings.catalog.page_default if limit is None else limit
    if not 1 <= limit <= most:
        raise invalid_fields([("limit", f"This must be a whole number from 1 to {most}.")])
    currency = shop.settings.currency

    async def make() -> tuple[bytes, MadeFrom]:
        async with one_state(shop.database) as conn:
            page = await catalog.list_products(
                conn, query=query, collection=collection, sort=sort, after=after, limit=limit, currency=currency
            )
            offers = await offers_of(conn, page.items, currency=currency)
            source = await made_from(conn, offers=offers, up_to=1)
        items = [ProductAnswer(**_product(offer)) for offer in offers]
        answer = ProductsAnswer(items=items, next=page.next, corrected=page.corrected or None)
        return answer.model_dump_json().encode(), source

    return await kept_answer(request, make, route="/api/v1/products")


@router.get("/products/{slug}", response_model=ProductDetailAnswer, responses=problems_by_status((NotFound,)))
async def get_product(request: Request, slug: str) -> Response:
    """A product that is for sale."""
    shop = _shop(request)

    async def make() -> tuple[bytes, MadeFrom]:
        async with one_state(shop.database) as conn:
            offer = await find_offer(conn, slug=slug, currency=shop.settings.currency)
            if offer is None:
                raise NotFound(_("There is no such product."))
            source = await made_from(conn, offers=[offer], up_to=1)
        product = offer.product
        answer = ProductDetailAnswer(
            **_product(offer),
            description=product.description,
            vendor=product.vendor,
            collections=[CollectionAnswer(slug=each.slug, title=each.title) for each in product.collections],
            pictures=[PictureAnswer.of(each) for each in product.pictures],
        )
        return answer.model_dump_json().encode(), source

    return await kept_answer(request, make, route="/api/v1/products/{slug}")


@router.get("/drops/{slug}", response_model=DropAnswer, responses=problems_by_status((NotFound,)))
async def get_drop(request: Request, slug: str) -> Response:
    """A drop: when it opens and what is left."""
    shop = _shop(request)

    async def make() -> tuple[bytes, MadeFrom]:
        async with one_state(shop.database) as conn:
            found = await find_drop_offer(conn, slug=slug, currency=shop.settings.currency)
            if found is None:
                raise NotFound(_("There is no such drop."))
            source = await made_from(conn, drops=[found.drop], up_to=None)
            guests = await takes_guests(conn, found.drop)
        return _drop_answer(found, guests=guests).model_dump_json().encode(), source

    return await kept_answer(request, make, route="/api/v1/drops/{slug}")


def _drop_answer(found: DropOffer, *, guests: bool) -> DropAnswer:
    left = {each.variant.id: each.left for each in found.offer.variants} if found.offer else {}
    drop = found.drop
    return DropAnswer(
        slug=drop.slug,
        title=drop.title,
        opens_at=drop.opens_at,
        phase=found.phase.value,
        per_buyer=drop.per_buyer,
        room=drop.room.value,
        guests=guests,
        items=[
            DropItemAnswer(sku=item.sku, quantity=item.quantity, left=left.get(item.variant_id, 0))
            for item in drop.items
        ],
    )


def _product(offer: Offer) -> dict[str, Any]:
    return {
        "slug": offer.product.slug,
        "title": offer.product.title,
        "picture": PictureAnswer.of(offer.photo) if offer.photo else None,
        "variants": [VariantAnswer.of(each) for each in offer.variants],
    }


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop
