"""Search engines find each product that is for sale, and nothing else."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from tests.catalog.makers import a_product, write
from tests.storefront.conftest import Reader, Sell
from tidegate.catalog import Status, sitemap_slugs, sitemap_starts
from tidegate.platform.database import Database

pytestmark = pytest.mark.anyio


async def addresses(reader: Reader, path: str) -> list[str]:
    response = await reader.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/xml")
    root = ET.fromstring(response.text)
    return [re.sub(r"^https?://[^/]+", "", each.text or "") for each in root.iter() if each.tag.endswith("}loc")]


async def test_the_index_leads_to_every_product(reader: Reader, sell: Sell, database: Database) -> None:
    slugs = [await sell(title) for title in ("Red Lamp", "Blue Lamp")]
    await write(database, a_product("draft-lamp", status=Status.DRAFT))
    parts = await addresses(reader, "/sitemap.xml")
    found = [path for part in parts for path in await addresses(reader, part)]
    assert "/" in found
    assert [path for path in found if path.startswith("/products/")] == [f"/products/{slug}" for slug in sorted(slugs)]


async def test_parts_meet_without_a_gap(database: Database) -> None:
    await write(database, *(a_product(f"p-{n}") for n in range(7)))
    async with database.connection() as conn:
        starts = await sitemap_starts(conn, every=3, currency="GBP")
        parts = [await sitemap_slugs(conn, start=start, limit=3, currency="GBP") for start in starts]
    assert [slug for part in parts for slug in part] == [f"p-{n}" for n in range(7)]
    assert [len(part) for part in parts] == [3, 3, 1]


async def test_an_empty_shop_has_a_short_map_and_there_are_no_empty_parts(reader: Reader) -> None:
    assert await addresses(reader, "/sitemap.xml") == ["/sitemaps/collections.xml"]
    for part in ("products.xml", "products.xml?start=No%20Slug", "products.xml?start=zzz", "orders.xml"):
        assert (await reader.get(f"/sitemaps/{part}")).status_code == 404, part


async def test_robots_are_told_where_the_map_is(reader: Reader) -> None:
    assert re.search(r"^Sitemap: https?://\S+/sitemap\.xml$", (await reader.get("/robots.txt")).text, re.MULTILINE)
