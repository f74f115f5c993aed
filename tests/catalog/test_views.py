"""Listing, finding and pricing products."""

from __future__ import annotations

import pytest

from tests.catalog.makers import a_product, write
from tidegate.catalog import (
    Status,
    find_product,
    list_collections,
    list_products,
    purchase_terms,
    variant_terms,
)
from tidegate.platform.database import Database
from tidegate.platform.money import Money
from tidegate.platform.problems import InvalidRequest


async def slugs(database: Database, *, query: str = "", collection: str = "") -> list[str]:
    async with database.connection() as conn:
        page = await list_products(conn, query=query, collection=collection, limit=100, currency="GBP")
        return [product.slug for product in page.items]


async def test_pages_follow_each_other_without_gap_or_overlap(database: Database) -> None:
    made = [a_product(f"p-{n:02}", popularity=n % 4) for n in range(23)]
    await write(database, *made)
    seen: list[str] = []
    after: str | None = ""
    async with database.connection() as conn:
        while after is not None:
            page = await list_products(conn, after=after, limit=5, currency="GBP")
            seen += [product.slug for product in page.items]
            after = page.next
    assert seen == [p.slug for p in sorted(made, key=lambda p: (-(p.popularity or 0), p.slug))]


async def test_the_last_page_that_is_full_has_no_next(database: Database) -> None:
    await write(database, a_product("a"), a_product("b"))
    async with database.connection() as conn:
        assert (await list_products(conn, limit=2, currency="GBP")).next is None


async def test_search_looks_at_titles_and_tags_word_by_word(database: Database) -> None:
    await write(
        database,
        a_product("cup", title="Green Teacup", tags=("Kitchen",)),
        a_product("bag", title="Bag 100% jute", tags=("retro_spot",)),
    )
    assert await slugs(database, query="tea") == ["cup"]
    assert await slugs(database, query="KITCHEN green") == ["cup"]
    assert await slugs(database, query="kitchen jute") == []
    assert await slugs(database, query="100%") == ["bag"]
    assert await slugs(database, query="%") == []
    assert await slugs(database, query="spot retro") == ["bag"]
    assert await slugs(database, query="\\") == []
    assert await slugs(database, query=" \x00\ud800 ") == ["bag", "cup"]


async def test_collections(database: Database) -> None:
    await write(
        database,
        a_product("cup", kind="Kitchen"),
        a_product("flag", kind="Paper & Party"),
        a_product("old", kind="Attic", status=Status.ARCHIVED),
    )
    async with database.connection() as conn:
        found = await list_collections(conn)
    assert [(c.slug, c.title) for c in found] == [("kitchen", "Kitchen"), ("paper-party", "Paper & Party")]
    assert await slugs(database, collection="paper-party") == ["flag"]
    assert await slugs(database, collection="none") == []
    assert await slugs(database, collection="no\x00pe") == []


@pytest.mark.parametrize("asked", [{"after": "x"}, {"after": "\x00"}, {"query": "x" * 300}, {"limit": 0}])
async def test_bad_questions_are_refused(database: Database, asked: dict[str, object]) -> None:
    async with database.connection() as conn:
        with pytest.raises(InvalidRequest):
            await list_products(conn, **({"limit": 5, "currency": "GBP"} | asked))  # type: ignore[arg-type]


async def test_a_product_in_full(database: Database) -> None:
    await write(database, a_product("tee", "TEE-S", "TEE-M", kind="Tops"), a_product("euro", currency="EUR"))
    async with database.connection() as conn:
        tee = await find_product(conn, slug="tee", currency="GBP")
        assert await find_product(conn, slug="euro", currency="GBP") is None
        assert await find_product(conn, slug="no\x00pe", currency="GBP") is None
    assert tee is not None
    assert (tee.title, tee.description, tee.vendor, tee.kind) == ("Tee", "About it.", "Maker", "Tops")
    assert [(v.sku, v.options, v.price, v.compare_at) for v in tee.variants] == [
        ("TEE-S", (("Size", "TEE-S"),), Money(100, "GBP"), None),
        ("TEE-M", (("Size", "TEE-M"),), Money(200, "GBP"), None),
    ]


async def test_terms_are_those_of_products_for_sale(database: Database) -> None:
    await write(database, a_product("tee", "S", "M"), a_product("draft", status=Status.DRAFT))
    async with database.connection() as conn:
        terms = await purchase_terms(conn, skus=["S", "S", "M", "DRAFT", "nope", "\x00", "\ud800"], currency="GBP")
        assert set(terms) == {"S", "M"}
        one = terms["S"]
        assert (one.product_slug, one.title, one.options_text) == ("tee", "Tee", "Size: S")
        assert (one.price, one.drop) == (Money(100, "GBP"), None)
        assert await purchase_terms(conn, skus=["S"], currency="EUR") == {}
        assert await purchase_terms(conn, skus=[], currency="GBP") == {}
    await write(database, a_product("tee", "S", "M", status=Status.ARCHIVED))
    async with database.connection() as conn:
        assert await purchase_terms(conn, skus=["S"], currency="GBP") == {}
        held = await variant_terms(conn, variant_ids=[one.variant_id], currency="GBP")
    assert held == {one.variant_id: one}
