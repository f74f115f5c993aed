"""Importing: twice is once, batch by batch, and past what is wrong."""

from __future__ import annotations

import asyncio
import io

import pytest

from tests.catalog.files import product_file, shared
from tests.catalog.makers import TODAY, Importing, a_product, row_versions, write
from tidegate.catalog import (
    SeoTexts,
    UnusableFile,
    find_product,
    find_variants,
    import_products,
    list_collections,
    list_products,
    purchase_terms,
)
from tidegate.entrypoints.demo import load
from tidegate.platform.database import Database
from tidegate.platform.settings import CatalogSettings, Settings

LAMP = {"handle": "lamp", "title": "Lamp", "price": "10.00", "sku": "L", "quantity": "3", "kind": "Indoor"}
MUG = {"handle": "mug", "title": "Mug", "price": "2.00", "quantity": "5"}


@pytest.mark.parametrize(
    ("name", "products", "variants", "rows"),
    [
        ("shopify_export/products_export.csv", 20, 21, 21),
        ("magento_luma/luma_in_shopify_columns.csv", 147, 1_847, 1_847),
    ],
)
async def test_real_files_twice(database: Database, name: str, products: int, variants: int, rows: int) -> None:
    data = shared(name).read_bytes()
    first = Importing(database)
    report = await first.run(data, batch=50)
    assert (report.created, report.changed, report.unchanged) == (products, 0, 0)
    assert (report.variants, report.rows, report.bad_rows, report.errors) == (variants, rows, 0, ())
    assert len(first.levels) == variants
    before = await row_versions(database)
    again = Importing(database)
    report = await again.run(data)
    assert (report.created, report.changed, report.unchanged) == (0, 0, products)
    assert again.levels == {}
    assert await row_versions(database) == before


async def test_a_change_is_written_and_nothing_else(database: Database) -> None:
    await Importing(database).run(product_file(LAMP, MUG))
    async with database.connection() as conn:
        known = await find_variants(conn, skus=["L", "MUG"])
    second = Importing(database)
    report = await second.run(product_file(LAMP | {"price": "9.00", "kind": "Outdoor", "quantity": "50"}, MUG))
    assert (report.created, report.changed, report.unchanged) == (0, 1, 1)
    assert second.levels == {known["L"]: 50}
    async with database.connection() as conn:
        lamp = await find_product(conn, slug="lamp", currency="GBP")
        assert lamp is not None
        assert [c.title for c in lamp.collections] == ["Outdoor"]
        assert [v.price.amount for v in lamp.variants] == [900]
        assert [c.slug for c in await list_collections(conn)] == ["outdoor"]


async def test_texts_for_search_engines_are_as_the_file_says(database: Database) -> None:
    async def texts() -> SeoTexts:
        async with database.connection() as conn:
            lamp = await find_product(conn, slug="lamp", currency="GBP")
        assert lamp is not None
        return lamp.seo

    said = product_file(LAMP | {"seo_title": "Lamps", "seo_text": "Bright"})
    assert (await Importing(database).run(said)).created == 1
    assert await texts() == SeoTexts("Lamps", "Bright")
    assert (await Importing(database).run(said)).unchanged == 1
    silent = b"Handle,Title,Variant Price,Variant SKU,SEO Title,Type\nlamp,Lamp,10.00,L,,Indoor\n"
    assert (await Importing(database).run(silent)).changed == 1
    assert await texts() == SeoTexts("", "Bright"), "a column that is not there says nothing, an empty cell does"
    assert (await Importing(database).run(silent)).unchanged == 1


async def test_a_variant_gone_from_the_file_stays(database: Database) -> None:
    tee = {"handle": "tee", "title": "Tee", "name1": "Size", "price": "1"}
    await Importing(database).run(product_file(tee | {"value1": "S"}, tee | {"value1": "M"}))
    report = await Importing(database).run(product_file(tee | {"value1": "M"}))
    assert (report.changed, report.unchanged) == (0, 1), "nothing is to be written"
    async with database.connection() as conn:
        product = await find_product(conn, slug="tee", currency="GBP")
    assert product is not None
    assert {v.sku for v in product.variants} == {"TEE_S", "TEE_M"}


async def test_what_is_wrong_is_reported_in_order_and_the_rest_is_there(database: Database) -> None:
    await write(database, a_product("theirs", "TAKEN"))
    data = product_file(
        LAMP | {"sku": "TAKEN"},
        MUG,
        {"handle": "bad", "title": "", "price": "1"},
        MUG | {"handle": "cup", "sku": "MUG"},
        MUG | {"handle": "pot", "price": "x"},
    )
    for created in (1, 0):
        report = await Importing(database).run(data, batch=1)
        assert (report.created, report.changed, report.unchanged) == (created, 0, 1 - created)
        assert (report.rows, report.variants, report.bad_rows) == (5, 1, 4)
        assert [(error.line, error.reason) for error in report.errors] == [
            (2, "SKU TAKEN is used by the product theirs already"),
            (4, "no Title"),
            (5, "SKU MUG is used by the product mug already"),
            (6, "Variant Price 'x' is not a price such as 12.50"),
        ]


async def test_a_made_sku_that_is_taken_steps_aside_for_good(database: Database) -> None:
    await write(database, a_product("theirs", "MUG"))
    assert (await Importing(database).run(product_file(MUG))).created == 1
    assert (await Importing(database).run(product_file(MUG))).unchanged == 1
    async with database.connection() as conn:
        mug = await find_product(conn, slug="mug", currency="GBP")
    assert mug is not None
    assert [v.sku.startswith("MUG-") for v in mug.variants] == [True]


async def test_two_imports_at_once_write_each_product_once(database: Database) -> None:
    rows = [MUG | {"handle": f"mug-{n}"} for n in range(60)]
    reports = await asyncio.gather(
        Importing(database).run(product_file(*rows), batch=7),
        Importing(database).run(product_file(*reversed(rows)), batch=11),
    )
    assert sum(report.created for report in reports) == 60
    assert sum(report.unchanged for report in reports) == 60


async def test_batches_before_a_failure_stay_and_the_next_run_goes_on(database: Database) -> None:
    data = product_file(*(MUG | {"handle": f"mug-{n}"} for n in range(5)))
    calls = 0

    async def failing(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("pulled the plug")

    with pytest.raises(RuntimeError):
        await import_products(
            database,
            source=io.BytesIO(data),
            currency="GBP",
            today=TODAY,
            limits=CatalogSettings(import_batch=1),
            on_written=failing,
        )
    report = await Importing(database).run(data)
    assert (report.created, report.unchanged) == (3, 2)


async def test_drafts_are_kept_from_shoppers(database: Database) -> None:
    await Importing(database).run(product_file(LAMP | {"status": "draft"}, MUG | {"status": "archived"}))
    async with database.connection() as conn:
        assert (await list_products(conn, limit=10, currency="GBP")).items == ()
        assert await find_product(conn, slug="lamp", currency="GBP") is None
        assert await list_collections(conn) == ()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"PK\x03\x04rest", "a spreadsheet or archive"),
        ("Handle,Title".encode("utf-16"), "UTF-16"),
        (b"\x1f\x8b\x08", "compressed"),
        (b"x" * 2_000, "split it"),
        (b"Handle,Title\n", "no column Variant Price"),
    ],
)
async def test_unusable_files_are_refused_before_anything_is_written(
    database: Database, data: bytes, reason: str
) -> None:
    with pytest.raises(UnusableFile) as caught:
        await import_products(
            database,
            source=io.BytesIO(data),
            currency="GBP",
            today=TODAY,
            limits=CatalogSettings(import_max_bytes=1_000),
            on_written=lambda *_: asyncio.sleep(0),
        )
    assert reason in str(caught.value)


async def test_any_text_that_a_file_may_hold_is_stored(database: Database) -> None:
    odd = "Ünï ☃ 🎁 \\u0000 {\"a\"} 'q' % _ \x07\u202e"
    report = await Importing(database).run(product_file(LAMP | {"title": odd, "body": odd, "tags": odd, "vendor": odd}))
    assert (report.created, report.errors) == (1, ())
    async with database.connection() as conn:
        lamp = await find_product(conn, slug="lamp", currency="GBP")
    assert lamp is not None
    assert lamp.title == "Ünï ☃ 🎁 \\u0000 {\"a\"} 'q' % _"


async def test_a_dry_run_tells_what_would_be_done_and_writes_nothing(database: Database) -> None:
    await write(database, a_product("theirs", "TAKEN"))
    await Importing(database).run(product_file(MUG))
    before = await row_versions(database)
    data = product_file(LAMP | {"sku": "TAKEN"}, MUG | {"price": "3"}, LAMP, MUG | {"handle": "cup", "sku": "L"})
    dry = Importing(database)
    told = await dry.run(data, batch=1, dry_run=True)
    assert (await row_versions(database), dry.levels) == (before, {})
    done = await Importing(database).run(data, batch=1)
    assert told == done
    assert done.bad_rows > 0


async def test_a_file_undoes_what_was_edited_since_and_the_demo_does_not(
    database: Database, settings: Settings
) -> None:
    await Importing(database).run(product_file(LAMP, MUG))
    await load(settings)
    async with database.transaction() as conn:
        await conn.execute("UPDATE catalog.prices SET amount = 1")
    report = await Importing(database).run(product_file(LAMP, MUG))
    assert (report.changed, report.unchanged) == (2, 0)
    assert (await Importing(database).run(product_file(LAMP, MUG))).unchanged == 2
    await load(settings)
    async with database.connection() as conn:
        lamp = await find_product(conn, slug="lamp", currency="GBP")
        assert lamp is not None
        assert lamp.variants[0].price.amount == 1000
        terms = await purchase_terms(conn, skus=["22423"], currency="GBP")
    assert terms["22423"].price.amount == 1
