"""Former addresses: they lead on, sources still know their products by them, and who comes later may have them."""

from __future__ import annotations

import pytest

from tests.catalog.makers import a_product, write
from tidegate import catalog
from tidegate.catalog import NewProduct, ProductExists, SeoTexts
from tidegate.catalog.addresses import MOST_FORMER
from tidegate.platform.database import Database
from tidegate.platform.problems import InvalidRequest

pytestmark = pytest.mark.anyio


async def move(database: Database, old: str, new: str) -> None:
    async with database.transaction() as conn:
        product = await catalog.product_to_edit(conn, slug=old)
        await catalog.move_product(conn, product_id=product.id, seen=product.updated_at, slug=new)


async def move_collection(database: Database, old: str, new: str) -> None:
    async with database.transaction() as conn:
        seen = await catalog.collection_to_edit(conn, slug=old)
        await catalog.edit_collection(
            conn, slug=old, seen=seen.seen, title=seen.title, description="", seo=SeoTexts(), new_slug=new
        )


async def slugs(database: Database) -> list[str]:
    async with database.connection() as conn:
        page = await catalog.list_products(conn, limit=50, currency="GBP")
    return sorted(each.slug for each in page.items)


async def moved_to(database: Database, slug: str) -> str | None:
    async with database.connection() as conn:
        return await catalog.moved_to(conn, kind="product", slug=slug)


async def test_every_address_that_was_left_leads_to_the_last_one(database: Database) -> None:
    await write(database, a_product("one"))
    await move(database, "one", "two")
    await move(database, "two", "three")
    assert [await moved_to(database, slug) for slug in ("one", "two", "three", "four", "No slug")] == [
        "three", "three", None, None, None,
    ]  # fmt: skip
    await move(database, "three", "one")
    assert [await moved_to(database, slug) for slug in ("one", "two", "three")] == [None, "one", "one"]


async def test_a_source_still_knows_what_moved(database: Database) -> None:
    first = await write(database, a_product("tee", "TEE-S", kind="Wear"))
    await move(database, "tee", "shirt")
    await move_collection(database, "wear", "clothes")
    same = await write(database, a_product("tee", "TEE-S", kind="Wear"))
    assert (first.created, same.created, same.unchanged) == (1, 0, 1)
    changed = await write(database, a_product("tee", "TEE-S", kind="Wear", title="New words"))
    assert (changed.created, changed.changed, changed.refused) == (0, 1, ())
    assert await slugs(database) == ["shirt"]
    async with database.connection() as conn:
        assert [each.slug for each in await catalog.list_all_collections(conn)] == ["clothes"]
    both = await write(database, a_product("shirt", "TEE-S"), a_product("tee", "OTHER"))
    assert both.created == 1, "a source that names both means two"
    assert await slugs(database) == ["shirt", "tee"]


async def test_who_comes_later_may_have_an_address_that_was_left(database: Database) -> None:
    await write(database, a_product("tee", "TEE-S"))
    await move(database, "tee", "shirt")
    new: NewProduct = a_product("tee", "TEE-2")
    async with database.transaction() as conn:
        await catalog.create_product(conn, product=new)
    assert await slugs(database) == ["shirt", "tee"]
    assert await moved_to(database, "tee") is None


async def test_what_an_address_cannot_be(database: Database) -> None:
    await write(database, a_product("tee"), a_product("cap"))
    with pytest.raises(ProductExists):
        await move(database, "tee", "cap")
    for wrong in ("", "Tee", "a b", "a--b", "x" * 201):
        with pytest.raises(InvalidRequest):
            await move(database, "tee", wrong)
    assert await slugs(database) == ["cap", "tee"]


async def test_only_so_many_are_remembered(database: Database) -> None:
    await write(database, a_product("tee-0"))
    for number in range(MOST_FORMER + 3):
        await move(database, f"tee-{number}", f"tee-{number + 1}")
    led = [await moved_to(database, f"tee-{number}") for number in range(MOST_FORMER + 3)]
    assert led == [None] * 3 + [f"tee-{MOST_FORMER + 3}"] * MOST_FORMER
