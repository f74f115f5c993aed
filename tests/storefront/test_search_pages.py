"""Searching, sorting, and what a product's page says to search engines."""

from __future__ import annotations

import json
import re

import pytest

from tests.storefront.conftest import Reader, Sell, text_of

pytestmark = pytest.mark.anyio

LD = re.compile(r'<script type="application/ld\+json">(.*?)</script>', re.DOTALL)


async def test_a_mistyped_search_says_what_it_looked_for(reader: Reader, sell: Sell) -> None:
    await sell("Red Lantern")
    response = await reader.get("/search?query=lantren")
    assert "Nothing here is called “lantren”. Did you mean lantern ?" in text_of(response)
    assert 'href="/products/red-lantern"' in response.text
    assert 'href="/search?query=lantern"' in response.text
    answer = (await reader.get("/api/v1/products?query=lantren")).json()
    assert (answer["corrected"], [each["slug"] for each in answer["items"]]) == ("lantern", ["red-lantern"])


async def test_an_empty_search_leads_on(reader: Reader, sell: Sell) -> None:
    await sell("Red Lantern", kind="Lights")
    response = await reader.get("/search?query=zzzzzz")
    assert "Nothing fits these words." in text_of(response)
    assert 'href="/collections/lights"' in response.text
    assert 'name="query" value="zzzzzz"' in response.text, "what was typed stays"


async def test_listings_sort_and_keep_the_order_on_the_next_page(reader: Reader, sell: Sell) -> None:
    for number in range(25):
        await sell(f"Lamp {number:02}", price=100 + number, popularity=number)
    for address in ("/?", "/search?query=lamp&", "/collections/lights?"):
        first = await reader.get(f"{address}sort=price")
        assert 'value="price" selected' in first.text, address
        more = re.search(r'rel="next" href="([^"]+)"', first.text)
        assert more is not None
        last = await reader.get(more[1].replace("&amp;", "&"))
        titles = re.findall(r'href="/products/(lamp-\d+)"', first.text + last.text)
        assert titles == [f"lamp-{number:02}" for number in range(25)], address
    assert (await reader.get("/?sort=none-of-these")).status_code == 200
    assert (await reader.get("/api/v1/products?sort=none-of-these")).status_code == 422


async def test_the_old_address_of_a_search_leads_to_the_new_one(reader: Reader) -> None:
    response = await reader.get("/?query=red+%26+lamp")
    assert (response.url.path, response.url.params["query"]) == ("/search", "red & lamp")


async def test_a_product_says_its_facts_to_search_engines(reader: Reader, sell: Sell) -> None:
    await sell("Red Lamp", price=1299, description="Bright. </script><b>")
    page = (await reader.get("/products/red-lamp")).text
    product, way = (json.loads(each) for each in LD.findall(page))
    assert (product["name"], product["description"]) == ("Red Lamp", "Bright. </script><b>")
    offer = product["offers"][0]
    assert (offer["price"], offer["priceCurrency"]) == ("12.99", "GBP")
    assert offer["availability"] == "https://schema.org/InStock"
    assert way["itemListElement"][-1]["item"] == product["url"]
    assert f'<link rel="canonical" href="{product["url"]}">' in page
    assert '<meta name="description" content="' in page
