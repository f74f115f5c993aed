"""Exporting: what comes out goes in again and changes nothing."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.catalog.files import product_file, shared
from tests.catalog.makers import TODAY, Importing, a_product, row_versions, write
from tidegate.catalog import (
    ExportReport,
    NewProduct,
    NewVariant,
    RowError,
    SeoTexts,
    Status,
    demo_catalogue,
    export_products,
)
from tidegate.catalog.csv_rows import read_rows
from tidegate.catalog.html_text import html_text
from tidegate.catalog.plain_text import plain_text
from tidegate.catalog.rules import source_hash
from tidegate.catalog.shopify_rows import COLUMNS, Exported, Offer, product_rows, unfit
from tidegate.catalog.sources import parse_products
from tidegate.platform.database import Database
from tidegate.platform.ids import VariantId, new_id
from tidegate.platform.money import Money

HTML = st.lists(
    st.sampled_from(
        ["<p>", "</p>", "<ul>", "<li>", "</li>", "</ul>", "<br>", "\N{BULLET} ", "&amp;", "&lt;b&gt;", "\n"]
    )
    | st.text(max_size=8)
).map("".join)


async def export(database: Database, *, batch: int = 500) -> tuple[bytes, ExportReport]:
    target = io.StringIO(newline="")
    async with database.transaction() as conn:

        async def stock_of(variant_ids: object) -> dict[object, int]:
            return {}

        report = await export_products(conn, target=target, currency="GBP", batch=batch, stock_of=stock_of)  # type: ignore[arg-type]
    return target.getvalue().encode(), report


async def goes_round(database: Database, *, products: int) -> None:
    data, report = await export(database, batch=7)
    assert (report.products, report.left_out) == (products, ())
    before = await row_versions(database)
    again = await Importing(database).run(data)
    assert (again.created, again.changed, again.unchanged, again.bad_rows) == (0, 0, products, 0)
    assert await row_versions(database) == before
    assert (await export(database))[0] == data


@given(HTML)
def test_a_description_comes_back(html: str) -> None:
    text = plain_text(html)
    assert plain_text(html_text(text)) == text


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=12)
AMOUNTS = st.integers(0, 10**9)


@st.composite
def products(draw: st.DrawFn) -> NewProduct:
    """Any product that the format can carry."""
    titles = WORDS.filter(lambda word: not set(word) & set(",;"))
    count = draw(st.integers(0, 3))
    names = draw(st.lists(WORDS, min_size=count, max_size=count, unique=True))
    values = draw(st.lists(st.tuples(*[WORDS] * count), min_size=1, max_size=4 if count else 1, unique=True))
    skus = draw(st.lists(titles, min_size=len(values), max_size=len(values), unique=True))
    prices = draw(st.lists(st.tuples(AMOUNTS, AMOUNTS), min_size=len(values), max_size=len(values)))
    variants = tuple(
        NewVariant(
            sku,
            tuple(zip(names, each, strict=True)),
            Money(amount, "GBP"),
            Money(amount + more, "GBP") if more else None,
        )
        for sku, each, (amount, more) in zip(skus, values, prices, strict=True)
    )
    return NewProduct(
        slug="it",
        title=draw(WORDS),
        description=plain_text(draw(HTML)),
        vendor=draw(WORDS),
        kind=draw(titles),
        tags=tuple(draw(st.lists(titles, max_size=3, unique=True))),
        status=draw(st.sampled_from(Status)),
        variants=variants,
        seo_title=draw(WORDS | st.just("")),
        seo_description=draw(WORDS | st.just("")),
        collections=tuple(draw(st.lists(st.sampled_from(["Light", "Winter sale", "Été"]), unique=True))),
    )


@given(products())
def test_whatever_the_format_can_carry_comes_back(product: NewProduct) -> None:
    offers = tuple(
        Offer(VariantId(new_id()), v.sku, v.options, v.price.amount, v.compare_at.amount if v.compare_at else None)
        for v in product.variants
    )
    exported = Exported(
        product.slug,
        product.title,
        product.description,
        product.vendor,
        product.kind,
        product.tags,
        product.status,
        product.collections,
        offers,
        SeoTexts(product.seo_title or "", product.seo_description or ""),
    )
    assert unfit(exported) == ""
    target = io.StringIO(newline="")
    writer = csv.DictWriter(target, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(product_rows(exported, {}, "GBP"))
    errors: list[RowError] = []
    rows = read_rows(io.BytesIO(target.getvalue().encode()), max_cell_bytes=100_000)
    back = list(parse_products(rows, currency="GBP", report=errors.append, today=TODAY))
    assert errors == []
    assert [source_hash(each) for each in back] == [source_hash(product)]


async def test_what_was_imported_comes_back(database: Database) -> None:
    odd = 'Ünï ☃ "q" <b> & \\n, ; = + x'
    rows = (
        {"handle": "lamp", "title": odd, "body": "<p>One & two</p><ul><li>a</li><li>b</li></ul>", "price": "10"},
        {"handle": "mug", "title": "Mug", "price": "2.00", "compare": "3", "kind": "Indoor", "tags": "a, b"},
        {"handle": "pot", "title": "Pot", "price": "0", "status": "draft", "sku": "00123"},
        {"handle": "old", "title": "Old", "price": "5", "status": "archived", "vendor": odd},
        {
            "handle": "tee",
            "title": "Tee",
            "name1": "Size",
            "value1": "S",
            "name2": "Colour",
            "value2": "Red",
            "price": "1",
        },
        {"handle": "tee", "value1": "M", "value2": "Red", "price": "1"},
    )
    await Importing(database).run(product_file(*rows))
    await goes_round(database, products=5)


async def test_what_others_wrote_comes_back(database: Database) -> None:
    lamp = replace(a_product("lamp", "L-1", "L-2"), collections=("Light", "Winter; spring"), description="a\n\n\nb  c")
    await write(database, *demo_catalogue(currency="GBP").products, lamp)
    await goes_round(database, products=len(demo_catalogue(currency="GBP").products) + 1)


async def test_a_change_after_the_export_is_undone_by_it(database: Database) -> None:
    await write(database, a_product("lamp", "L"))
    data, _ = await export(database)
    cheaper = a_product("lamp", "L")
    cheaper = replace(cheaper, variants=(replace(cheaper.variants[0], price=Money(1, "GBP")),))
    await write(database, cheaper)
    assert (await Importing(database).run(data)).changed == 1
    assert (await export(database))[0] == data


async def test_what_the_format_cannot_carry_is_told(database: Database) -> None:
    mixed = a_product("mixed", "A", "B")
    mixed = replace(mixed, variants=(mixed.variants[0], replace(mixed.variants[1], options=(("Colour", "Red"),))))
    four = a_product("four", "C")
    options = tuple((name, "x") for name in "abcd")
    four = replace(four, variants=(replace(four.variants[0], options=options),))
    await write(database, mixed, four, a_product("fine"), a_product("comma", tags=("a,b",)))
    data, report = await export(database)
    assert (report.products, report.variants, report.skipped) == (1, 1, 3)
    assert dict(report.left_out) == {
        "mixed": "its variants have different options",
        "four": "its variants have more than 3 options",
        "comma": "one of its tags holds a comma",
    }
    assert [row["Handle"] for row in csv.DictReader(io.StringIO(data.decode()))] == ["fine"]


async def test_a_price_in_another_currency_is_not_exported(database: Database) -> None:
    await write(database, a_product("abroad", currency="USD"), a_product("draft", status=Status.DRAFT))
    data, report = await export(database)
    assert report.products == 1
    assert b"abroad" not in data


async def test_a_real_file_comes_back(database: Database) -> None:
    await Importing(database).run(shared("magento_luma/luma_in_shopify_columns.csv").read_bytes())
    await goes_round(database, products=147)
