"""Pages for looking around: the first page, collections, products, drops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from markupsafe import Markup
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from tidegate import catalog
from tidegate.catalog import CollectionRef, Shelf, Sort
from tidegate.checkout import Shop, live_hold_in, takes_guests
from tidegate.platform.database import Connection
from tidegate.platform.problems import NotFound
from tidegate.storefront.contexts import (
    AS_ARRANGED,
    BY_RELEVANCE,
    SORTS,
    DropContext,
    ListingContext,
    ProductContext,
    whole_minutes,
)
from tidegate.storefront.facts import Seen, facts_of, seen_collection, seen_drop, seen_product
from tidegate.storefront.freshness import made_from, one_state
from tidegate.storefront.offers import (
    FEW_LEFT,
    DropOffer,
    DropPhase,
    Offer,
    find_drop_offer,
    find_offer,
    leading_drop,
    offers_of,
)
from tidegate.storefront.options import asked_options, choose, option_names
from tidegate.web import MARKS, Gap, MadeFrom, current_person, kept_page, see_other

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A listing's address and what was asked of it."""

    address: str
    query: str = ""
    after: str = ""
    sort: str = ""

    def page_after(self, cursor: str, sort: Sort | None) -> str:
        """The address of the page that starts at a cursor."""
        words = {"query": self.query} if self.query else {}
        order = {"sort": sort.value} if sort else {}
        return f"{self.address}?{urlencode(words | order | {'after': cursor})}"


MOST_TO_CHOOSE = 10
"""Largest quantity that a product's page offers; the API takes more."""

RELOAD_WITHIN_S = 1_800
"""A browser without JavaScript looks again by itself when a drop opens within this time."""

LOOK_AT: Final = 10
"""Of how many drops, the latest to open, the one that leads is chosen."""

KEEPING_GAP: Final = Markup(MARKS[Gap.KEEPING])  # noqa: S704 - a mark of our own
LEFT_GAP: Final = Markup(MARKS[Gap.LEFT])  # noqa: S704 - the same
STRANGERS_GAP: Final = Markup(MARKS[Gap.STRANGERS])  # noqa: S704 - the same
ACCOUNTS_GAP: Final = Markup(MARKS[Gap.ACCOUNTS])  # noqa: S704 - the same
BUYERS_GAP: Final = Markup(MARKS[Gap.BUYERS])  # noqa: S704 - the same

KEPT_OUT = ("/cart", "/checkout/", "/orders/", "/holds", "/sandbox/", "/inbox", "/admin", "/dev/", "/api/")
"""What search engines should leave alone."""


@router.get("/")
async def show_home(request: Request, query: str = "", after: str = "", sort: str = "") -> Response:
    """The first page: the drop that leads, the collections, all products by popularity; or what a search found."""
    if query.strip():
        return see_other(request, f"/search?{urlencode({'query': ' '.join(query.split())})}")
    shop = _shop(request)
    asked = _Asked("/", after=after, sort=sort)

    async def make() -> tuple[ListingContext, MadeFrom]:
        async with one_state(shop.database) as conn:
            leads = not after and not sort
            drops = await catalog.list_drops(conn, limit=LOOK_AT) if leads else ()
            drop = await leading_drop(conn, currency=shop.settings.currency, look_at=LOOK_AT) if leads else None
            context = await _listing(shop, conn, CollectionRef("", ""), asked, drop=drop)
            return context, await made_from(conn, offers=context.offers, drops=drops, leading=drop)

    return await kept_page(request, "storefront/home.html", make, route="/")


@router.get("/search")
async def show_search(request: Request, query: str = "", after: str = "", sort: str = "") -> Response:
    """What a search found, mistyped words replaced by what was meant; without words, everything."""
    shop = _shop(request)
    asked = _Asked("/search", query=" ".join(query.split()), after=after, sort=sort)

    async def make() -> tuple[ListingContext, MadeFrom]:
        async with one_state(shop.database) as conn:
            context = await _listing(shop, conn, CollectionRef("", ""), asked)
            return context, await made_from(conn, offers=context.offers)

    return await kept_page(request, "storefront/search.html", make, route="/search")


@router.get("/collections/{slug}")
async def show_collection(request: Request, slug: str, query: str = "", after: str = "", sort: str = "") -> Response:
    """The products of one collection, or what a search in it found."""
    shop = _shop(request)
    asked = _Asked(f"/collections/{slug}", query=" ".join(query.split()), after=after, sort=sort)

    async def make() -> tuple[ListingContext, MadeFrom]:
        async with one_state(shop.database) as conn:
            known = {each.slug: each for each in await catalog.list_collections(conn)}
            if slug not in known:
                raise NotFound()
            shelf = await catalog.find_collection(conn, slug=slug)
            context = await _listing(shop, conn, known[slug], asked, shelf=shelf)
            return context, await made_from(conn, offers=context.offers)

    try:
        return await kept_page(request, "storefront/collection.html", make, route="/collections/{slug}")
    except NotFound:
        return await _moved(request, "collection", slug)


@router.get("/products/{slug}")
async def show_product(request: Request, slug: str, quantity: str = "1") -> Response:
    """A product with what can be bought of it. `option-1` and so on choose one of its variants."""
    shop = _shop(request)

    async def make() -> tuple[ProductContext, MadeFrom]:
        async with one_state(shop.database) as conn:
            offer = await find_offer(conn, slug=slug, currency=shop.settings.currency)
            if offer is None:
                raise NotFound()
            loose = offer.loose
            sku, most = choice(loose, at_most=min(MOST_TO_CHOOSE, shop.settings.holds.max_quantity))
            minutes = whole_minutes(shop.settings.holds.ttl_s)
            names = option_names(loose.variants)
            asked = asked_options(lambda name: request.query_params.get(name, ""), names)
            context = ProductContext(
                offer=offer,
                sku=sku,
                most=most,
                hold_minutes=minutes,
                keeping=KEEPING_GAP,
                choice=choose(loose.variants, names, asked) if names else None,
                quantity=quantity,
                seen=seen_product(offer, base_url=shop.settings.base_url),
                facts=facts_of(offer, base_url=shop.settings.base_url),
            )
            return context, await made_from(conn, offers=[offer], up_to=MOST_TO_CHOOSE)

    try:
        return await kept_page(request, "storefront/product.html", make, route="/products/{slug}")
    except NotFound:
        return await _moved(request, "product", slug)


@router.get("/drops/{slug}")
async def show_drop(request: Request, slug: str) -> Response:
    """A drop: waiting for its moment, running, sold out or over. Who holds something of it is led to it."""
    shop = _shop(request)
    person = await current_person(request)
    held = await live_hold_in(shop, buyer_id=person.id, drop=slug) if person else None
    if held is not None and held.seconds_left > 0:
        return see_other(request, f"/orders/{held.order_id}" if held.order_id else f"/checkout/{held.id}")

    async def make() -> tuple[DropContext, MadeFrom]:
        async with one_state(shop.database) as conn:
            drop = await find_drop_offer(conn, slug=slug, currency=shop.settings.currency)
            if drop is None:
                raise NotFound()
            source = await made_from(
                conn,
                shown=drop,
                up_to=max(_most_of(shop, drop), FEW_LEFT + 1),
                soon_s=RELOAD_WITHIN_S,
            )
            return _drop_context(shop, drop, for_accounts_only=not await takes_guests(conn, drop.drop)), source

    return await kept_page(request, "storefront/drop.html", make, route="/drops/{slug}")


@router.get("/robots.txt")
async def show_robots(request: Request) -> Response:
    """What search engines should leave alone, and where the map of the rest is."""
    lines = ["User-agent: *", *(f"Disallow: {path}" for path in KEPT_OUT)]
    return PlainTextResponse("\n".join([*lines, f"Sitemap: {_shop(request).settings.base_url}/sitemap.xml", ""]))


def choice(offer: Offer, *, at_most: int) -> tuple[str, int]:
    """The variant to choose at first and the largest quantity to choose from: ("", 0) when all is gone.

    Whether a drop has begun does not matter here: its form is made before it opens.
    """
    left = [each for each in offer.variants if each.left > 0]
    if not left:
        return "", 0
    return left[0].variant.sku, min(at_most, max(each.left for each in left))


def _most_of(shop: Shop, drop: DropOffer) -> int:
    """Largest quantity that a drop's page offers while there is enough."""
    return min(drop.drop.per_buyer, shop.settings.holds.max_quantity)


def _drop_context(shop: Shop, drop: DropOffer, *, for_accounts_only: bool) -> DropContext:
    sku, most = "", 0
    if drop.offer is not None and drop.phase in (DropPhase.SCHEDULED, DropPhase.OPEN):
        sku, most = choice(drop.offer, at_most=_most_of(shop, drop))
    soon = drop.phase == DropPhase.SCHEDULED and drop.seconds_to_open <= RELOAD_WITHIN_S
    return DropContext(
        drop=drop,
        left=LEFT_GAP,
        sku=sku,
        most=most,
        hold_minutes=whole_minutes(shop.settings.holds.ttl_s),
        seen=seen_drop(drop, base_url=shop.settings.base_url),
        reload_in_s=MARKS[Gap.RELOAD] if soon else None,
        for_accounts_only=for_accounts_only,
        to_strangers=STRANGERS_GAP,
        to_accounts=ACCOUNTS_GAP,
        to_buyers=BUYERS_GAP,
    )


async def _moved(request: Request, kind: Literal["product", "collection"], slug: str) -> Response:
    """Lead on from an address that something left. Raises: NotFound when nothing did."""
    async with _shop(request).database.connection() as conn:
        now = await catalog.moved_to(conn, kind=kind, slug=slug)
    if now is None:
        raise NotFound()
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"/{kind}s/{now}{query}", status_code=301)


async def _listing(
    shop: Shop,
    conn: Connection,
    of: CollectionRef,
    asked: _Asked,
    *,
    drop: DropOffer | None = None,
    shelf: Shelf | None = None,
) -> ListingContext:
    settings = shop.settings
    sorts: tuple[tuple[Sort, str], ...] = SORTS
    if asked.query:
        sorts = (BY_RELEVANCE, *SORTS[1:])
    elif shelf is not None and shelf.arranged:
        sorts = (AS_ARRANGED, *SORTS)
    first = sorts[0]
    sort = next((each for each, _ in sorts if each == asked.sort), first[0])
    page = await catalog.list_products(
        conn,
        query=asked.query,
        collection=of.slug,
        sort=sort,
        after=asked.after,
        limit=settings.catalog.page_default,
        currency=settings.currency,
    )
    return ListingContext(
        title=of.title,
        address=asked.address,
        query=asked.query,
        corrected=page.corrected,
        sort=sort.value,
        sorts=tuple((each.value, name) for each, name in sorts),
        seen=seen_collection(shelf, base_url=settings.base_url)
        if shelf
        else Seen(settings.shop_name, "", f"{settings.base_url}{asked.address}"),
        shelf=shelf,
        offers=await offers_of(conn, page.items, currency=settings.currency),
        next=asked.page_after(page.next, sort if sort != first[0] else None) if page.next else None,
        first=not asked.after,
        collections=await catalog.list_collections(conn),
        drop=drop,
        left=LEFT_GAP,
        keeping=KEEPING_GAP,
    )


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop
