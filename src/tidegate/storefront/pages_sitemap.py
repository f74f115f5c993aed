"""What search engines may read: an index of parts, and the products' addresses in each part."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlencode
from xml.sax.saxutils import escape

from fastapi import APIRouter, Request
from starlette.responses import Response

from tidegate import catalog
from tidegate.checkout import Shop
from tidegate.platform.problems import NotFound
from tidegate.storefront.freshness import made_from, one_state
from tidegate.web import MadeFrom, kept_answer

router = APIRouter(include_in_schema=False)

MOST_ADDRESSES = 50_000
"""Most addresses in one part: what the protocol of sitemaps allows."""

HEADERS = ((b"content-type", b"application/xml"), (b"cache-control", b"public, max-age=300"))
_SCHEMA = "http://www.sitemaps.org/schemas/sitemap/0.9"


@router.get("/sitemap.xml")
async def show_sitemap(request: Request) -> Response:
    """The index: one part for collections, and parts of products, each named by its first product.

    It counts all products, so it is kept until the catalogue changes.
    """
    shop: Shop = request.app.state.shop
    base = shop.settings.base_url

    async def make() -> tuple[bytes, MadeFrom]:
        async with one_state(shop.database) as conn:
            starts = await catalog.sitemap_starts(conn, every=MOST_ADDRESSES, currency=shop.settings.currency)
            source = await made_from(conn)
        parts = [f"{base}/sitemaps/products.xml?{urlencode({'start': slug})}" for slug in starts]
        return _xml("sitemapindex", "sitemap", [f"{base}/sitemaps/collections.xml", *parts]), source

    return await kept_answer(request, make, route="/sitemap.xml", headers=HEADERS)


@router.get("/sitemaps/{name}.xml")
async def show_sitemap_part(request: Request, name: str, start: str = "") -> Response:
    """Addresses of the first page and the collections, or of products from `start` on."""
    shop: Shop = request.app.state.shop
    base, currency = shop.settings.base_url, shop.settings.currency
    async with shop.database.connection() as conn:
        if name == "collections":
            paths = ["/", *(f"/collections/{each.slug}" for each in await catalog.list_collections(conn))]
        elif name == "products":
            slugs = await catalog.sitemap_slugs(conn, start=start, limit=MOST_ADDRESSES, currency=currency)
            paths = [f"/products/{slug}" for slug in slugs]
        else:
            paths = []
    if not paths:
        raise NotFound()
    body = _xml("urlset", "url", [base + path for path in paths])
    return Response(body, headers={name.decode(): value.decode() for name, value in HEADERS})


def _xml(root: str, item: str, addresses: Iterable[str]) -> bytes:
    items = "".join(f"<{item}><loc>{escape(address)}</loc></{item}>\n" for address in addresses)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{_SCHEMA}">\n{items}</{root}>\n'.encode()
