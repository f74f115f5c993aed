"""Staff change products: against what they saw, all or none, and seen by buyers at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.catalog.makers import a_product, write
from tidegate.catalog import (
    BulkChange,
    BulkEdited,
    EditableProduct,
    NewPrice,
    ProductChanged,
    ProductExists,
    Snapshot,
    Status,
    UnknownProduct,
    UnknownVariant,
    bulk_edit,
    create_product,
    edit_product,
    edit_variant,
    find_product,
    list_products,
    product_to_edit,
    set_prices,
)
from tidegate.catalog.rules import check_bulk_change
from tidegate.platform.database import Database
from tidegate.platform.ids import ProductId, new_id
from tidegate.platform.money import Money
from tidegate.platform.problems import InvalidRequest


async def seen(database: Database, slug: str) -> EditableProduct:
    async with database.connection() as conn:
        return await product_to_edit(conn, slug=slug)


async def retitle(database: Database, product: EditableProduct, title: str) -> EditableProduct:
    async with database.transaction() as conn:
        return await edit_product(
            conn,
            product_id=product.id,
            seen=product.updated_at,
            title=title,
            description="New.",
            vendor="Other",
            tags=("a", "b"),
            status=Status.ACTIVE,
        )


async def bulk(database: Database, change: BulkChange) -> BulkEdited:
    async with database.transaction() as conn:
        return await bulk_edit(conn, change=change)


async def amounts(database: Database, slug: str) -> list[int]:
    async with database.connection() as conn:
        product = await find_product(conn, slug=slug, currency="GBP")
    assert product is not None
    return [variant.price.amount for variant in product.variants]


async def test_a_product_is_made_once(database: Database) -> None:
    async with database.transaction() as conn:
        made = await create_product(conn, product=a_product("tee", "TEE-S", "TEE-M", kind="Tees"))
    assert (made.slug, made.status) == ("tee", Status.ACTIVE)
    assert await amounts(database, "tee") == [100, 200]
    async with database.transaction() as conn:
        with pytest.raises(ProductExists):
            await create_product(conn, product=a_product("tee", "OTHER"))
        with pytest.raises(InvalidRequest):
            await create_product(conn, product=a_product("cap", "TEE-S"))
    assert await seen(database, "tee") == made


async def test_an_edit_is_kept(database: Database) -> None:
    await write(database, a_product("tee"))
    after = await retitle(database, await seen(database, "tee"), "Long tee")
    assert (after.title, after.description, after.vendor, after.tags) == ("Long tee", "New.", "Other", ("a", "b"))
    assert await seen(database, "tee") == after


async def test_of_two_edits_of_what_both_saw_one_is_refused(database: Database) -> None:
    await write(database, a_product("tee"))
    before = await seen(database, "tee")
    ended = await asyncio.gather(*(retitle(database, before, title) for title in "AB"), return_exceptions=True)
    saved = [each for each in ended if isinstance(each, EditableProduct)]
    refused = [each for each in ended if isinstance(each, ProductChanged)]
    assert (len(saved), len(refused)) == (1, 1)
    assert await seen(database, "tee") == saved[0]


async def test_what_is_not_there_cannot_be_edited(database: Database) -> None:
    await write(database, a_product("tee"))
    before = await seen(database, "tee")
    gone = replace(before, id=ProductId(new_id()))
    with pytest.raises(UnknownProduct):
        await retitle(database, gone, "X")
    with pytest.raises(UnknownProduct):
        await seen(database, "cap")


async def test_prices_are_set_together_and_a_buyer_meets_them_at_once(database: Database) -> None:
    await write(database, a_product("tee", "TEE-S", "TEE-M"), a_product("cap", "CAP"))
    snapshot = Snapshot(currency="GBP", max_entries=10)
    async with database.transaction() as conn:
        assert (await snapshot.answer_with_rates(conn, await snapshot.ask(conn), ["TEE-S"]))[0][
            "TEE-S"
        ].price.amount == 100
    before = await seen(database, "tee")
    new = [NewPrice("TEE-S", Money(150, "GBP"), Money(200, "GBP")), NewPrice("TEE-M", Money(250, "GBP"))]
    async with database.transaction() as conn:
        after = await set_prices(conn, product_id=before.id, seen=before.updated_at, prices=new)
    async with database.transaction() as conn:
        assert (await snapshot.answer_with_rates(conn, await snapshot.ask(conn), ["TEE-S"]))[0][
            "TEE-S"
        ].price.amount == 150
        with pytest.raises(ProductChanged):
            await set_prices(conn, product_id=before.id, seen=before.updated_at, prices=new)
        stray = [NewPrice("TEE-S", Money(1, "GBP")), NewPrice("CAP", Money(1, "GBP"))]
        with pytest.raises(UnknownVariant):
            await set_prices(conn, product_id=after.id, seen=after.updated_at, prices=stray)
    assert await amounts(database, "tee") == [150, 250]
    assert await seen(database, "tee") == after


async def test_a_variant_gets_other_options_and_another_sku(database: Database) -> None:
    await write(database, a_product("tee", "TEE-S", "TEE-M"), a_product("cap", "CAP"))
    before = await seen(database, "tee")
    options = (("Colour", "Red"), ("Size", "S"))
    async with database.transaction() as conn:
        after = await edit_variant(
            conn, product_id=before.id, seen=before.updated_at, sku="TEE-S", new_sku="TEE-RED-S", options=options
        )
        for sku, new_sku, error in (("TEE-M", "CAP", InvalidRequest), ("CAP", "CAP-2", UnknownVariant)):
            with pytest.raises(error):
                await edit_variant(
                    conn, product_id=after.id, seen=after.updated_at, sku=sku, new_sku=new_sku, options=options
                )
    async with database.connection() as conn:
        product = await find_product(conn, slug="tee", currency="GBP")
    assert product is not None
    assert [(each.sku, each.options) for each in product.variants] == [
        ("TEE-RED-S", options),
        ("TEE-M", (("Size", "TEE-M"),)),
    ]
    assert await seen(database, "tee") == after


async def test_a_thousand_products_change_together(database: Database) -> None:
    await write(database, *(a_product(f"p-{n}", kind="Tees", tags=("old", "kept")) for n in range(1_000)))
    await write(database, a_product("other", kind="Caps"))
    ids = [(await seen(database, f"p-{n}")).id for n in range(0, 1_000, 250)]
    async with database.connection() as conn:
        rows = await (await conn.execute("SELECT id FROM catalog.products WHERE slug LIKE 'p-%'")).fetchall()
    change = BulkChange(
        product_ids=(*(row[0] for row in rows), ProductId(new_id())),
        percent=-15,
        currency="GBP",
        add_tags=("sale", "kept"),
        remove_tags=("old",),
        add_to="caps",
        remove_from="tees",
    )
    assert await bulk(database, change) == BulkEdited(products=1_000, prices=1_000, unknown=1)
    assert (await seen(database, "p-999")).tags == ("kept", "sale")
    assert await amounts(database, "p-0") == [85]
    assert await amounts(database, "other") == [100]
    async with database.connection() as conn:
        assert not (await list_products(conn, collection="tees", limit=5, currency="GBP")).items
        assert len((await list_products(conn, collection="caps", limit=1_100, currency="GBP")).items) == 1_001
    await bulk(database, BulkChange(product_ids=tuple(ids), status=Status.ARCHIVED))
    assert {(await seen(database, f"p-{n}")).status for n in (0, 250, 500, 750)} == {Status.ARCHIVED}
    assert (await seen(database, "p-1")).status == Status.ACTIVE


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": -150, "currency": "GBP"},
        {"add_to": "nowhere"},
        {"add_tags": tuple(f"t{n}" for n in range(100))},
    ],
)
async def test_a_bulk_edit_that_cannot_be_done_changes_nothing(database: Database, wrong: dict[str, object]) -> None:
    await write(database, a_product("tee", "S", "M", tags=("one",)))
    before = await seen(database, "tee")
    async with database.transaction() as conn:
        with pytest.raises(InvalidRequest):
            await bulk_edit(conn, change=BulkChange((before.id,), status=Status.DRAFT, **wrong))  # type: ignore[arg-type]
    assert await seen(database, "tee") == before
    assert await amounts(database, "tee") == [100, 200]


@given(amount=st.integers(0, 10**9), percent=st.integers(-2_000, 2_000), both=st.integers(-5, 5))
def test_a_price_changes_by_one_bounded_thing(amount: int, percent: int, both: int) -> None:
    change = BulkChange((ProductId(UUID(int=amount)),), percent=percent, amount=both, currency="GBP")
    if (percent and both) or not -99 <= percent <= 1_000:
        with pytest.raises(InvalidRequest):
            check_bulk_change(change)
    else:
        check_bulk_change(change)
