"""The staff's pictures: uploaded, described, ordered and taken away; the shop shows it at once."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.admin.test_pages import sign_in
from tests.pictures import a_picture
from tests.storefront.conftest import Sell, app, reading, sell
from tidegate.platform.database import Database

__all__ = ["app", "sell"]

pytestmark = pytest.mark.anyio
SHOWN = re.compile(r'<img src="(/pictures/[0-9a-f]{64}-\d+\.webp)"')


@pytest.fixture
async def client(app: Any, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(app) as client:
        await sign_in(client, database)
        yield client


def fields_of(page: httpx.Response) -> dict[str, str]:
    """What the hidden fields of a page say."""
    return dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text))


async def upload(
    client: httpx.AsyncClient, slug: str, content: bytes | None, *, name: str = "photo.jpg", **fields: str
) -> httpx.Response:
    page = await client.get(f"/admin/products/{slug}/pictures")
    data = {"form_token": fields_of(page)["form_token"]} | fields
    files = {"picture": (name, content, "image/jpeg")} if content is not None else {"picture": ("", b"")}
    return await client.post(
        f"/admin/products/{slug}/pictures/new", data=data, files=files, headers={"sec-fetch-site": "same-origin"}
    )


async def test_an_uploaded_picture_is_on_the_product_page_at_once(client: httpx.AsyncClient, sell: Sell) -> None:
    slug = await sell("Red Lamp")
    assert "/art/red-lamp.svg" in (await client.get(f"/products/{slug}")).text
    added = await upload(client, slug, a_picture(width=2000, height=1000), alt="A red lamp")
    assert (added.status_code, added.headers["location"]) == (303, f"/admin/products/{slug}/pictures?done=added")
    page = (await client.get(f"/products/{slug}")).text
    (address,) = SHOWN.findall(page)
    assert 'width="1280" height="640" alt="A red lamp"' in page
    assert re.search(r'srcset="\S+-320\.webp 320w, \S+-640\.webp 640w, \S+-1280\.webp 1280w" sizes="', page)
    file = await client.get(address)
    assert file.headers["content-type"] == "image/webp"
    assert file.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert file.headers["x-content-type-options"] == "nosniff"
    again = await client.get(address, headers={"if-none-match": file.headers["etag"]})
    assert again.status_code == 304
    assert SHOWN.findall((await client.get("/")).text) == [address]
