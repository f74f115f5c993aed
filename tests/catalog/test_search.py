"""Finding products by words, mistyped ones too, and in the order that the visitor chose."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.catalog.makers import a_product, write
from tidegate.catalog import ProductPage, Sort, Status, list_products
from tidegate.catalog.search import likeness
from tidegate.platform.database import Database

pytestmark = pytest.mark.anyio


async def find(database: Database, query: str, *, sort: Sort | None = None, limit: int = 100) -> ProductPage:
    async with database.connection() as conn:
        return await list_products(conn, query=query, sort=sort, limit=limit, currency="GBP")


def slugs(page: ProductPage) -> list[str]:
    return [product.slug for product in page.items]


async def test_a_title_comes_before_a_tag_before_a_description(database: Database) -> None:
    await write(
        database,
        a_product("told", title="Plain thing", popularity=900),
        a_product("tagged", title="Other thing", tags=("lantern",), popularity=5),
        a_product("named", title="Lantern", popularity=1),
    )
    async with database.transaction() as conn:
        await conn.execute("UPDATE catalog.products SET description = 'Like a lantern.' WHERE slug = 'told'")
    assert slugs(await find(database, "lantern")) == ["named", "tagged", "told"]


@pytest.mark.parametrize(
    ("typed", "corrected"),
    [("lantren", "lantern"), ("lanten", "lantern"), ("HEADPHONSE red", "headphones red"), ("cafetire", "cafetiere")],
)
async def test_a_mistyped_word_finds_what_was_meant_and_says_so(database: Database, typed: str, corrected: str) -> None:
    await write(
        database,
        a_product("lantern", title="Lantern"),
        a_product("headphones", title="Red Headphones"),
        a_product("press", title="Cafetière for two"),
        a_product("other", title="Land of headlines"),
    )
    page = await find(database, typed)
    assert len(page.items) == 1
    assert page.corrected == corrected


@pytest.mark.parametrize("typed", ["cafetiere", "CAFETIÈRE", "cafeti", "boxes", "the box", "box, cafetière!"])
async def test_accents_case_plurals_and_beginnings_find_the_same(database: Database, typed: str) -> None:
    await write(database, a_product("press", title="Cafetière in a box"))
    page = await find(database, typed)
    assert slugs(page) == ["press"]
    assert page.corrected == ""


async def test_nothing_is_near_enough_to_be_made_up(database: Database) -> None:
    await write(
        database, a_product("lantern", title="Lantern"), a_product("gone", title="Umbrella", status=Status.DRAFT)
    )
    for typed in ("zzzzzz", "unobtainium", "umbrela", "lantern zzzzzz"):
        page = await find(database, typed)
        assert (page.items, page.corrected) == ((), "")


async def test_every_order_goes_page_by_page_without_gap_or_overlap(database: Database) -> None:
    made = [
        a_product(
            f"lamp-{n:02}", *[f"L{n}-{i}" for i in range(1 + n % 3)], title="Lamp" + " lit" * (n % 2), popularity=n % 4
        )
        for n in range(17)
    ]
    await write(database, *made)
    for sort in Sort:
        seen: list[str] = []
        after: str | None = ""
        async with database.connection() as conn:
            while after is not None:
                page = await list_products(conn, query="lapm", sort=sort, after=after, limit=4, currency="GBP")
                seen += slugs(page)
                after = page.next
        assert seen == slugs(await find(database, "lamp", sort=sort))
        assert sorted(seen) == sorted(product.slug for product in made)


async def test_prices_sort_by_the_lowest(database: Database) -> None:
    await write(database, a_product("one", "A"), a_product("two", "B", "C"))
    async with database.transaction() as conn:
        await conn.execute(
            "UPDATE catalog.prices AS c SET amount = CASE v.sku WHEN 'A' THEN 500 WHEN 'B' THEN 900 ELSE 300 END"
            " FROM catalog.variants AS v WHERE v.id = c.variant_id"
        )
    assert slugs(await find(database, "", sort=Sort.PRICE)) == ["two", "one"]
    assert slugs(await find(database, "", sort=Sort.PRICE_DOWN)) == ["one", "two"]


@pytest.mark.parametrize("typed", ["'", "':*", "a & !b", "\\'", "(((", "é'x", "日本", "x" * 200, "-", "1e5", "<->"])
async def test_signs_of_the_query_language_are_only_text(database: Database, typed: str) -> None:
    await write(database, a_product("lantern", title="Lantern"))
    assert (await find(database, typed)).items == ()


@given(st.text("abcdef", min_size=4, max_size=12), st.text("abcdef", min_size=4, max_size=12))
def test_likeness_is_between_nothing_and_the_same(one: str, other: str) -> None:
    assert 0 <= likeness(one, other) <= 1
    assert likeness(one, one) == 1
