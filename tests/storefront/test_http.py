"""The public catalogue over HTTP."""

from __future__ import annotations

import httpx
import pytest

from tests.storefront.conftest import Open, Reader, Sell

pytestmark = pytest.mark.anyio


async def test_products_have_the_shape_that_programs_rely_on(reader: Reader, sell: Sell) -> None:
    await sell("Red Lamp", stock=2, price=1299, sizes=("S", "M"), description="A lamp.\n\nIt is red.")
    body = (await reader.get("/api/v1/products")).json()
    assert body == {
        "items": [
            {
                "slug": "red-lamp",
                "title": "Red Lamp",
                "picture": None,
                "variants": [
                    {
                        "sku": "RED-LAMP-S",
                        "options": {"Size": "S"},
                        "price": {"amount": 1299, "currency": "GBP"},
                        "available": True,
                    },
                    {
                        "sku": "RED-LAMP-M",
                        "options": {"Size": "M"},
                        "price": {"amount": 1399, "currency": "GBP"},
                        "available": True,
                    },
                ],
            }
        ],
        "next": None,
        "corrected": None,
    }
    one = (await reader.get("/api/v1/products/red-lamp")).json()
    assert one == body["items"][0] | {
        "description": "A lamp.\n\nIt is red.",
        "vendor": "",
        "collections": [{"slug": "lights", "title": "Lights"}],
        "pictures": [],
    }


async def test_pages_follow_one_another_without_gaps(reader: Reader, sell: Sell) -> None:
    for number in range(5):
        await sell(f"Lamp {number}", popularity=number)
    seen: list[str] = []
    after = ""
    while True:
        body = (await reader.client.get("/api/v1/products", params={"limit": 2, "after": after})).json()
        seen += [item["slug"] for item in body["items"]]
        if body["next"] is None:
            break
        after = body["next"]
    assert seen == ["lamp-4", "lamp-3", "lamp-2", "lamp-1", "lamp-0"]


async def test_search_and_collection_narrow_the_list(reader: Reader, sell: Sell) -> None:
    await sell("Red Lamp")
    await sell("Red Bag", kind="Bags")
    found = (await reader.get("/api/v1/products?query=RED%20lamp")).json()["items"]
    assert [item["slug"] for item in found] == ["red-lamp"]
    found = (await reader.get("/api/v1/products?collection=bags")).json()["items"]
    assert [item["slug"] for item in found] == ["red-bag"]
    assert (await reader.get("/api/v1/products?collection=nothing")).json() == {
        "items": [],
        "next": None,
        "corrected": None,
    }


async def test_what_cannot_be_meant_is_refused(reader: Reader) -> None:
    for query in ("limit=0", "limit=101", "limit=-1", "limit=many", "after=nonsense", "query=" + "x" * 600):
        response = await reader.get(f"/api/v1/products?{query}")
        assert response.status_code == 422, query
        assert is_problem(response, "invalid-request")


async def test_what_is_not_there_is_not_found(reader: Reader) -> None:
    for path in ("/api/v1/products/nothing", "/api/v1/products/N%C3%96", "/api/v1/drops/nothing"):
        response = await reader.get(path)
        assert response.status_code == 404
        assert is_problem(response, "not-found")


async def test_available_means_that_one_could_be_held_now(reader: Reader, sell: Sell, open_drop: Open) -> None:
    await sell("Gone Lamp", stock=0)
    await sell("Early Lamp")
    await sell("Open Lamp")
    await open_drop("early", "EARLY-LAMP", stock=3, in_s=60)
    await open_drop("open", "OPEN-LAMP", stock=3, in_s=-1)
    items = (await reader.get("/api/v1/products")).json()["items"]
    assert {item["slug"]: item["variants"][0]["available"] for item in items} == {
        "gone-lamp": False,
        "early-lamp": False,
        "open-lamp": True,
    }


async def test_a_drop_says_when_it_opens_and_what_is_left(reader: Reader, sell: Sell, open_drop: Open) -> None:
    await sell("Open Lamp")
    await open_drop("lamp-night", "OPEN-LAMP", stock=3, in_s=-1, per_buyer=2)
    body = (await reader.get("/api/v1/drops/lamp-night")).json()
    assert body.pop("opens_at").endswith("Z")
    assert body == {
        "slug": "lamp-night",
        "title": "Lamp Night",
        "phase": "open",
        "per_buyer": 2,
        "room": "none",
        "guests": False,
        "items": [{"sku": "OPEN-LAMP", "quantity": 3, "left": 3}],
    }


async def test_the_reference_describes_the_routes(reader: Reader) -> None:
    paths = (await reader.get("/openapi.json")).json()["paths"]
    for path in ("/api/v1/products", "/api/v1/products/{slug}", "/api/v1/drops/{slug}"):
        responses = paths[path]["get"]["responses"]
        assert "application/json" in responses["200"]["content"]
        assert "503" in responses


def is_problem(response: httpx.Response, slug: str) -> bool:
    """Whether the answer is a problem of this kind."""
    is_document = response.headers["content-type"] == "application/problem+json"
    return is_document and response.json()["type"].endswith(f"/{slug}")
