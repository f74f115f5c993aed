"""The staff's products: found, made and edited by hand; the shop shows it at once."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.admin.test_pages import sign_in
from tests.catalog.makers import a_product, write
from tests.storefront.conftest import Sell, app, reading, sell, text_of
from tidegate import catalog
from tidegate.catalog import Status
from tidegate.platform.database import Database

__all__ = ["app", "sell"]

pytestmark = pytest.mark.anyio
FIELD = re.compile(r'<input (?:id="[^"]*" |type="hidden" )?name="([^"]+)"[^>]*? value="([^"]*)"')
ROW = re.compile(r'href="/admin/products/([a-z0-9-]+)/edit"')
NEW = {"title": "Sea Lamp", "status": "active", "sku-new": "SEA", "price-new": "12.50", "stock-new": "7"}


@pytest.fixture
async def client(app: Any, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(app) as client:
        await sign_in(client, database)
        yield client


async def form_of(client: httpx.AsyncClient, path: str) -> dict[str, str]:
    """What the form at an address sends when nothing is changed."""
    page = await client.get(path)
    assert page.status_code == 200, page.text
    form = page.text.split('<form method="post"', 1)[1]
    fields = {name: html.unescape(value) for name, value in FIELD.findall(form) if name != "collection"}
    described = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", form, re.S)
    fields["description"] = html.unescape(described[1]) if described else ""
    chosen = re.search(r'<select id="field-status".*?<option value="(\w+)" selected', form, re.S)
    fields["status"] = chosen[1] if chosen else ""
    return fields


async def post(client: httpx.AsyncClient, path: str, data: dict[str, Any]) -> httpx.Response:
    return await client.post(path, data=data, headers={"sec-fetch-site": "same-origin"})


async def save(client: httpx.AsyncClient, path: str, **typed: Any) -> httpx.Response:
    return await post(client, path, await form_of(client, path) | typed)


async def slugs(client: httpx.AsyncClient, query: str = "") -> list[str]:
    return ROW.findall((await client.get(f"/admin/products?{query}")).text)


async def ids_of(database: Database, slug: str) -> list[str]:
    async with database.connection() as conn:
        product = await catalog.product_to_edit(conn, slug=slug)
        variants = await catalog.variants_to_edit(conn, product_id=product.id, currency="GBP")
    return [str(variant.id) for variant in variants]


async def test_a_changed_price_is_seen_on_the_product_page_at_once(
    client: httpx.AsyncClient, database: Database, sell: Sell
) -> None:
    slug = await sell("Red Lamp", price=250)
    (variant,) = await ids_of(database, slug)
    assert "£2.50" in text_of(await client.get(f"/products/{slug}"))
    saved = await save(client, f"/admin/products/{slug}/edit", **{f"price-{variant}": "1.95", f"was-{variant}": "2.50"})
    assert (saved.status_code, saved.headers["location"]) == (303, f"/admin/products/{slug}/edit?done=saved")
    shown = text_of(await client.get(f"/products/{slug}"))
    assert "£1.95" in shown
    assert "£2.50" in shown, "the price before"
    assert "Saved. The shop shows it now." in text_of(await client.get(saved.headers["location"]))
    assert "£1.95" in text_of(await client.get("/"))


async def test_a_product_is_made_with_its_stock_and_collection(client: httpx.AsyncClient, database: Database) -> None:
    await write(database, a_product("tee", kind="Tees"))
    made = await save(client, "/admin/products/new", **NEW, collection="tees")
    assert made.headers["location"] == "/admin/products/sea-lamp/edit?done=made"
    assert "The product is made." in text_of(await client.get(made.headers["location"]))
    shop = text_of(await client.get("/products/sea-lamp"))
    assert "£12.50" in shop
    assert "Sea Lamp" in text_of(await client.get("/collections/tees"))
    assert "7" in text_of(await client.get("/admin/products?query=sea"))
    again = await save(client, "/admin/products/new", **NEW | {"sku-new": "SEA-2"})
    assert again.status_code == 409
    assert "There is a product at this address already" in text_of(again)
    assert 'value="SEA-2"' in again.text
    taken = await save(client, "/admin/products/new", **NEW | {"title": "Other"})
    assert taken.status_code == 422
    assert "used by the product sea-lamp already" in text_of(taken)


async def test_a_draft_is_not_in_the_shop(client: httpx.AsyncClient) -> None:
    made = await save(client, "/admin/products/new", **NEW | {"status": "draft"})
    assert made.status_code == 303
    assert (await client.get("/products/sea-lamp")).status_code == 404
    await save(client, "/admin/products/sea-lamp/edit", status="active")
    assert (await client.get("/products/sea-lamp")).status_code == 200


async def test_variants_get_options_and_one_more(client: httpx.AsyncClient, database: Database, sell: Sell) -> None:
    slug = await sell("Tee", sizes=("S", "M"))
    small, _medium = await ids_of(database, slug)
    path = f"/admin/products/{slug}/edit"
    saved = await save(
        client,
        path,
        **{
            "name-0": "Fit",
            "name-1": "Colour",
            f"option-1-{small}": "Red",
            f"sku-{small}": "TEE-RED",
            "tags": "a, b ,a",
        },
        **{"sku-new": "TEE-L", "option-0-new": "L", "price-new": "9", "stock-new": "3"},
    )
    assert saved.status_code == 303, text_of(saved)
    async with database.connection() as conn:
        product = await catalog.find_product(conn, slug=slug, currency="GBP")
        kept = await catalog.product_to_edit(conn, slug=slug)
    assert product is not None
    assert [(each.sku, each.options, each.price.amount) for each in product.variants] == [
        ("TEE-RED", (("Fit", "S"), ("Colour", "Red")), 250),
        ("TEE-M", (("Fit", "M"),), 350),
        ("TEE-L", (("Fit", "L"),), 900),
    ]
    assert kept.tags == ("a", "b")
    assert "TEE-L" in (await client.get(path)).text


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"title": ""}, "Write a title"),
        ({"price-ID": "1,5"}, "Write the price as a number such as 12.50."),
        ({"price-ID": ""}, "Write the price."),
        ({"was-ID": "1.00"}, "The price before is higher than the price"),
        ({"sku-ID": ""}, "Write a SKU"),
        ({"option-1-ID": "Red"}, "Name this option"),
        ({"name-1": "size"}, "a name of its own"),
        ({"status": "sold"}, "Choose a status."),
        ({"price-new": "5"}, "Write a SKU"),
        ({"sku-new": "X", "price-new": "5", "stock-new": "-1"}, "as a whole number"),
        ({"sku-ID": "TEE-M"}, "Another variant has this SKU already"),
        ({"collection": "nowhere"}, "One of these collections is gone"),
        ({"tags": ",".join(map(str, range(101)))}, "at most 100 tags"),
    ],
)
async def test_what_cannot_be_is_told_and_kept(
    client: httpx.AsyncClient, database: Database, sell: Sell, wrong: dict[str, str], told: str
) -> None:
    slug = await sell("Tee", sizes=("S", "M"))
    small = (await ids_of(database, slug))[0]
    typed = {"vendor": "Kept & safe"} | {name.replace("ID", small): value for name, value in wrong.items()}
    answer = await save(client, f"/admin/products/{slug}/edit", **typed)
    assert answer.status_code in (404, 422)
    assert told in text_of(answer)
    assert "Kept &amp; safe" in answer.text
    assert all(
        f'value="{value}"' in answer.text
        for value in typed.values()
        if value.isalnum() and value not in ("nowhere", "sold")
    )
    async with database.connection() as conn:
        product = await catalog.find_product(conn, slug=slug, currency="GBP")
    assert product is not None
    assert [(each.sku, each.price.amount) for each in product.variants] == [("TEE-S", 250), ("TEE-M", 350)]
    assert product.vendor == "", "nothing was saved"


async def test_of_two_who_edit_one_is_asked_again(client: httpx.AsyncClient, sell: Sell) -> None:
    path = f"/admin/products/{await sell('Red Lamp')}/edit"
    mine, theirs = await form_of(client, path), await form_of(client, path)
    assert (await post(client, path, theirs | {"title": "Theirs"})).status_code == 303
    late = await post(client, path, mine | {"title": "Mine"})
    assert late.status_code == 409
    assert "Somebody else changed this product meanwhile" in text_of(late)
    assert 'value="Mine"' in late.text
    seen = re.search(r'name="seen" value="([^"]+)"', late.text)
    assert seen is not None
    assert (await post(client, path, mine | {"title": "Mine", "seen": html.unescape(seen[1])})).status_code == 303
    assert "Mine" in text_of(await client.get(path))


@pytest.mark.parametrize("seen", ["", "yesterday", "2026-01-01T00:00:00"])
async def test_a_form_without_what_was_seen_is_refused(client: httpx.AsyncClient, sell: Sell, seen: str) -> None:
    slug = await sell("Red Lamp")
    answer = await save(client, f"/admin/products/{slug}/edit", seen=seen)
    assert answer.status_code == 422
    assert "Open the product again" in answer.text


async def test_the_list_finds_filters_and_sorts(client: httpx.AsyncClient, database: Database, sell: Sell) -> None:
    await sell("Red Lamp", price=300, stock=0)
    await sell("Blue Lamp", price=200, stock=3)
    await sell("Green Lamp", price=100, stock=50, kind="Outside")
    await write(database, a_product("tee", "TEE-S", tags=("summer",), status=Status.DRAFT))
    assert await slugs(client) == ["tee", "green-lamp", "blue-lamp", "red-lamp"], "the newest change first"
    assert await slugs(client, "sort=title") == ["blue-lamp", "green-lamp", "red-lamp", "tee"]
    assert await slugs(client, "sort=-price&query=lamp&stock=low") == ["red-lamp", "blue-lamp"]
    assert await slugs(client, "query=tee-s") == ["tee"]
    assert await slugs(client, "query=summer") == ["tee"]
    assert await slugs(client, "status=draft") == ["tee"]
    assert await slugs(client, "collection=outside") == ["green-lamp"]
    assert await slugs(client, "collection=-") == ["tee"]
    assert await slugs(client, "stock=out") == ["red-lamp"]
    assert await slugs(client, "stock=low&sort=title") == ["blue-lamp", "red-lamp"]
    assert "No product fits." in text_of(await client.get("/admin/products?query=nothing"))


@pytest.mark.parametrize("sort", ["title", "-title", "updated", "-updated", "price", "-price"])
async def test_every_product_is_on_one_page_of_the_list(
    client: httpx.AsyncClient, database: Database, sort: str
) -> None:
    await write(database, *(a_product(f"p-{n}", title=f"Same {n % 3}") for n in range(101)))
    found: list[str] = []
    address: str | None = f"/admin/products?sort={sort}&status=active"
    while address:
        page = await client.get(address)
        found += ROW.findall(page.text)
        following = re.search(r'href="([^"]*after=[^"]*)"', page.text)
        address = html.unescape(following[1]) if following else None
    assert len(found) == len(set(found)) == 101


@pytest.mark.parametrize("query", ["after=x", "after=WyJ0aXRsZSJd", "query=" + "a" * 250, "sort=color&after=e30"])
async def test_a_list_that_cannot_be_asked_for_says_so(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/admin/products?{query}")
    assert answer.status_code == 422
    assert "notice-error" in answer.text


async def test_what_is_not_there(client: httpx.AsyncClient) -> None:
    assert (await client.get("/admin/products/nothing/edit")).status_code == 404
    assert "There is no product yet." in text_of(await client.get("/admin/products"))
