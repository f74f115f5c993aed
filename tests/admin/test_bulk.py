"""Many products changed at once: a preview that tells the truth, and one change of what was seen."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.admin.test_pages import sign_in
from tests.admin.test_products import post
from tests.catalog.makers import a_product, write
from tests.storefront.conftest import app, reading, text_of
from tidegate import catalog
from tidegate.admin.pages_bulk import FIELDS, parse_change
from tidegate.catalog import Status
from tidegate.catalog.rules import check_bulk_change
from tidegate.platform.database import Database
from tidegate.platform.ids import ProductId, new_id

__all__ = ["app"]

pytestmark = pytest.mark.anyio
PATH = "/admin/products/bulk"
FORM = re.compile(r"<form method=\"post\".*?</form>", re.S)
HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)"')


@pytest.fixture
async def client(app: Any, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(app) as client:
        await sign_in(client, database)
        yield client


def hidden(page: httpx.Response) -> dict[str, Any]:
    """The hidden fields of the first form of a page; those that come more than once as lists."""
    found: dict[str, Any] = {}
    form = FORM.search(page.text)
    assert form is not None, text_of(page)
    for name, value in HIDDEN.findall(form[0]):
        found[name] = [*found[name], value] if isinstance(found.get(name), list) else value
        if name == "pick" and not isinstance(found[name], list):
            found[name] = [value]
    return found


async def preview(client: httpx.AsyncClient, chosen: str, **typed: str) -> httpx.Response:
    fields = hidden(await client.get(f"{PATH}?{chosen}"))
    return await post(client, PATH, fields | typed | {"action": "preview"})


async def apply(client: httpx.AsyncClient, page: httpx.Response) -> httpx.Response:
    return await post(client, PATH, hidden(page) | {"action": "apply"})


async def amounts(database: Database, *slugs: str) -> list[int]:
    found = []
    async with database.connection() as conn:
        for slug in slugs:
            product = await catalog.product_to_edit(conn, slug=slug)
            variants = await catalog.variants_to_edit(conn, product_id=product.id, currency="GBP")
            found += [variant.price.amount for variant in variants if variant.price]
    return found


async def test_a_thousand_that_fit_change_after_a_preview(client: httpx.AsyncClient, database: Database) -> None:
    await write(database, *(a_product(f"p-{n:04}", title=f"Lamp {n:04}", kind="Lights") for n in range(1_000)))
    await write(database, a_product("other", kind="Caps"))
    assert "Change all 1,000 that fit" in text_of(await client.get("/admin/products?query=lamp"))
    typed = {"prices": "percent_down", "by": "15", "add_to": "caps", "add_tags": "sale, new", "status_to": "draft"}
    page = await preview(client, "all=1&query=lamp", **typed)
    words = text_of(page)
    assert "Change 1,000 products?" in words
    assert "1,000 prices change." in words
    assert "halves up" in words
    assert "Lamp 0000 £1.00 £0.85 Draft Caps, Lights sale, new" in words
    assert "and 980 more" in words
    assert await amounts(database, "p-0000", "p-0999") == [100, 100], "a preview changes nothing"
    done = await apply(client, page)
    assert done.headers["location"] == "/admin/products?done=changed"
    assert await amounts(database, "p-0000", "p-0999", "other") == [85, 85, 100]
    async with database.connection() as conn:
        changed = await catalog.product_to_edit(conn, slug="p-0500")
    assert (changed.tags, changed.status) == (("sale", "new"), Status.DRAFT)


async def test_a_change_that_is_sent_twice_is_made_once(client: httpx.AsyncClient, database: Database) -> None:
    await write(database, a_product("tee", "S", "M"), a_product("cap", "C"))
    page = await preview(client, "all=1", prices="amount_down", by="0.30")
    assert (await apply(client, page)).status_code == 303
    again = await apply(client, page)
    assert again.status_code == 409
    assert "changed in the meantime: nothing was saved" in text_of(again)
    assert await amounts(database, "tee", "cap") == [70, 170, 70]


async def test_what_came_after_the_preview_is_not_changed(client: httpx.AsyncClient, database: Database) -> None:
    await write(database, a_product("tee"))
    page = await preview(client, "all=1", prices="percent_up", by="10")
    await write(database, a_product("cap"))
    assert (await apply(client, page)).status_code == 409
    assert await amounts(database, "tee", "cap") == [100, 100]
    shown_again = await apply(client, page)
    assert "Change 2 products?" in text_of(shown_again)
    assert (await apply(client, shown_again)).status_code == 303
    assert await amounts(database, "tee", "cap") == [110, 110]


async def test_only_the_picked_ones_change(client: httpx.AsyncClient, database: Database) -> None:
    await write(database, a_product("tee"), a_product("cap"), a_product("mug"))
    async with database.connection() as conn:
        ids = [str((await catalog.product_to_edit(conn, slug=slug)).id) for slug in ("tee", "cap")]
    chosen = "&".join(f"pick={each}" for each in [*ids, "nonsense", str(new_id())])
    assert "2 products are chosen." in text_of(await client.get(f"{PATH}?{chosen}"))
    page = await preview(client, chosen, prices="amount_up", by="1.50")
    assert (await apply(client, page)).status_code == 303
    assert await amounts(database, "tee", "cap", "mug") == [250, 250, 100]


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ({}, "Say what shall change"),
        ({"by": "5"}, "Choose whether prices go up or down"),
        ({"prices": "percent_down", "by": "100"}, "whole number of percent"),
        ({"prices": "percent_up", "by": "1.5"}, "whole number of percent"),
        ({"prices": "amount_up", "by": "1,5"}, "as a number such as 12.50"),
        ({"prices": "amount_down", "by": "5.00"}, "prices would end below nothing"),
        ({"add_to": "nowhere"}, "no collection"),
        ({"add_to": "tees", "remove_from": "tees"}, "Choose another collection"),
        ({"add_tags": "x" * 300}, "tags"),
    ],
)
async def test_a_change_that_cannot_be_is_told_and_kept(
    client: httpx.AsyncClient, database: Database, typed: dict[str, str], told: str
) -> None:
    await write(database, a_product("tee", kind="Tees"))
    page = await preview(client, "all=1", **({"remove_tags": "kept, too"} if typed else {}), **typed)
    assert page.status_code == 422
    assert told in text_of(page)
    assert not typed or 'value="kept, too"' in page.text
    assert await amounts(database, "tee") == [100]


async def test_nothing_is_chosen(client: httpx.AsyncClient) -> None:
    page = await client.get(PATH)
    assert page.status_code == 200
    assert "Pick products in the list first" in text_of(page)
    too_long = await client.get(f"{PATH}?all=1&query={'a' * 250}")
    assert too_long.status_code == 422
    assert "may have up to 200 characters" in text_of(too_long)


@given(way=st.sampled_from(["", "percent_up", "percent_down", "amount_up", "amount_down"]), by=st.text(max_size=6))
def test_whatever_is_typed_is_a_change_that_can_be_or_is_told(way: str, by: str) -> None:
    typed = dict.fromkeys(FIELDS, "") | {"prices": way, "by": by, "status_to": "draft"}
    change, errors = parse_change(typed, currency="GBP")
    if not errors:
        check_bulk_change(replace(change, product_ids=(ProductId(new_id()),)))
        assert bool(change.percent or change.amount) == bool(way)
