"""WooCommerce's product CSV: what becomes of each kind of product."""

from __future__ import annotations

import csv
import io
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.catalog.files import shared
from tests.catalog.makers import TODAY, Importing, row_versions
from tidegate.catalog import NewProduct, PictureLeft, RowError, Status, find_product, list_collections
from tidegate.catalog.csv_rows import read_rows
from tidegate.catalog.sources import parse_products
from tidegate.platform.database import Database
from tidegate.platform.money import Money

COLUMNS = (
    "ID,Type,SKU,Name,Published,Visibility in catalog,Short description,Description,Date sale price starts,"
    "Date sale price ends,In stock?,Stock,Sale price,Regular price,Categories,Tags,Images,Parent,Position,"
    "Attribute 1 name,Attribute 1 value(s),Attribute 2 name,Attribute 2 value(s),Attribute 3 name,"
    "Attribute 3 value(s),Attribute 4 name,Attribute 4 value(s)"
).split(",")
SHORT = {
    "parent": "Parent",
    "sale": "Sale price",
    "price": "Regular price",
    "stock": "Stock",
    "n1": "Attribute 1 name",
    "v1": "Attribute 1 value(s)",
    "n2": "Attribute 2 name",
    "v2": "Attribute 2 value(s)",
    "n3": "Attribute 3 name",
    "v3": "Attribute 3 value(s)",
    "n4": "Attribute 4 name",
    "v4": "Attribute 4 value(s)",
}
BELT = {"ID": "1", "Type": "simple", "SKU": "belt", "Name": "Belt", "Published": "1", "price": "20"}
TEE = {"ID": "2", "Type": "variable", "SKU": "tee", "Name": "Tee", "Published": "1", "n1": "Color", "v1": "Red, Blue"}
RED = {"Type": "variation", "SKU": "tee-red", "Name": "Tee - Red", "parent": "tee", "price": "9", "n1": "Color"}


def woo(*rows: dict[str, str]) -> bytes:
    """A WooCommerce CSV of these rows; row 0 is on line 2."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({SHORT.get(name, name): value for name, value in row.items()})
    return text.getvalue().encode()


def parse(*rows: dict[str, str], today: date = TODAY) -> tuple[list[NewProduct], list[tuple[int, str]]]:
    errors: list[RowError] = []
    read = read_rows(io.BytesIO(woo(*rows)), max_cell_bytes=131_072)
    products = list(parse_products(read, currency="GBP", report=errors.append, today=today))
    return products, [(error.line, error.reason) for error in errors]


def only(*rows: dict[str, str], today: date = TODAY) -> NewProduct:
    products, errors = parse(*rows, today=today)
    assert errors == []
    (product,) = products
    return product


def test_pictures_are_told_and_not_fetched() -> None:
    images = "https://a.example/1,2.jpg, https://a.example/3.jpg"
    rows = (BELT | {"Images": images}, TEE | {"Images": "https://a.example/4.jpg"}, RED | {"v1": "Red"})
    left: list[PictureLeft] = []
    read = read_rows(io.BytesIO(woo(*rows)), max_cell_bytes=131_072)
    products = list(parse_products(read, currency="GBP", report=lambda _: None, today=TODAY, left=left.append))
    assert {product.slug for product in products} == {"belt", "tee"}
    assert sorted((picture.line, picture.slug, picture.address) for picture in left) == [
        (2, "belt", "https://a.example/1,2.jpg"),
        (2, "belt", "https://a.example/3.jpg"),
        (3, "tee", "https://a.example/4.jpg"),
    ]


def test_a_simple_product() -> None:
    about = {
        "Description": "Good leather.\\n\\n<ul><li>Brown</li></ul>",
        "Categories": "Clothing > Accessories, Sale",
        "Tags": "belt, leather",
        "Type": "simple, virtual",
    }
    product = only(BELT | about | {"stock": "4", "sale": "15.50"})
    assert (product.slug, product.title, product.kind) == ("belt", "Belt", "Accessories")
    assert product.collections == ("Clothing", "Sale")
    assert product.tags == ("belt", "leather")
    assert product.description == "Good leather.\n\n\N{BULLET} Brown"
    (variant,) = product.variants
    assert (variant.sku, variant.options, variant.quantity) == ("belt", (), 4)
    assert (variant.price, variant.compare_at) == (Money(1550, "GBP"), Money(2000, "GBP"))


def test_a_decimal_comma() -> None:
    (variant,) = only(BELT | {"price": "19,90"}).variants
    assert variant.price == Money(1990, "GBP")


@pytest.mark.parametrize(
    ("starts", "ends", "price"),
    [
        ("", "", 1500),
        ("2026-11-25 00:00:00", "2026-11-25", 1500),
        ("2026-11-26", "", 2000),
        ("", "2026-11-24", 2000),
    ],
)
def test_a_sale_price_counts_on_its_days(starts: str, ends: str, price: int) -> None:
    days = {"Date sale price starts": starts, "Date sale price ends": ends}
    (variant,) = only(BELT | {"sale": "15"} | days).variants
    assert variant.price.amount == price
    assert variant.compare_at == (Money(2000, "GBP") if price == 1500 else None)


def test_variations_come_together_in_the_merchants_order_wherever_they_stand() -> None:
    blue = RED | {"SKU": "tee-blue", "v1": "Blue", "Position": "1", "parent": "id:2", "sale": "8"}
    product = only(RED | {"v1": "Red", "Position": "2"}, TEE, blue)
    assert [(v.sku, v.options, v.price.amount) for v in product.variants] == [
        ("tee-blue", (("Color", "Blue"),), 800),
        ("tee-red", (("Color", "Red"),), 900),
    ]


def test_an_attribute_that_every_variation_leaves_open_is_no_option() -> None:
    tee = TEE | {"n2": "Size", "v2": "S, M"}
    product = only(tee, RED | {"v1": "Red", "n2": "Size"})
    assert [v.options for v in product.variants] == [(("Color", "Red"),)]
    product = only(tee, RED | {"v1": "Red", "n2": "Size"}, RED | {"SKU": "b", "v1": "Blue", "n2": "Size", "v2": "M"})
    assert [dict(v.options)["Size"] for v in product.variants] == ["Any", "M"]


def test_more_attributes_than_options() -> None:
    names = {"n2": "B", "v2": "b", "n3": "C", "v3": "c", "n4": "D", "v4": "d"}
    products, errors = parse(TEE, RED | {"v1": "Red"} | names)
    assert products == []
    assert errors == [(2, "its variations differ in Color, B, C, D: a product may have 3 options")]


def test_what_is_not_sold_here_is_told() -> None:
    products, errors = parse(
        BELT | {"Type": "grouped"},
        BELT | {"Type": "external"},
        BELT | {"Type": "subscription"},
        RED | {"parent": "nobody"},
        BELT | {"price": "free"},
        BELT | {"Name": ""},
    )
    assert products == []
    assert errors == [
        (2, "a grouped product only points to others, which are imported by themselves"),
        (3, "an external product is sold by somebody else"),
        (4, "Type 'subscription' is not one that can be imported"),
        (6, "Regular price 'free' is not a price such as 12.50"),
        (5, "its Parent is not in this file"),
        (7, "no Name"),
    ]


def test_names_that_come_twice_get_addresses_of_their_own() -> None:
    products, errors = parse(BELT, BELT | {"SKU": "belt-2"})
    assert errors == []
    assert [product.slug for product in products] == ["belt", "belt-belt-2"]


@pytest.mark.parametrize(
    ("cells", "status"),
    [
        ({}, Status.ACTIVE),
        ({"Published": "0"}, Status.DRAFT),
        ({"Published": "-1"}, Status.DRAFT),
        ({"Visibility in catalog": "hidden"}, Status.DRAFT),
        ({"Visibility in catalog": "search"}, Status.ACTIVE),
    ],
)
def test_what_is_not_shown_is_a_draft(cells: dict[str, str], status: Status) -> None:
    assert only(BELT | cells).status is status


async def test_categories_become_collections(database: Database) -> None:
    data = woo(BELT | {"Categories": "Clothing > Accessories"}, TEE | {"Categories": "Clothing"}, RED | {"v1": "Red"})
    report = await Importing(database).run(data)
    assert (report.created, report.bad_rows) == (2, 0)
    before = await row_versions(database)
    assert (await Importing(database).run(data)).unchanged == 2
    assert await row_versions(database) == before
    async with database.connection() as conn:
        assert [c.title for c in await list_collections(conn)] == ["Accessories", "Clothing"]
        belt = await find_product(conn, slug="belt", currency="GBP")
    assert belt is not None
    assert [c.title for c in belt.collections] == ["Accessories", "Clothing"]


async def test_the_real_file_twice(database: Database) -> None:
    data = shared("woocommerce_sample/sample_products.csv").read_bytes()
    report = await Importing(database).run(data)
    assert (report.created, report.variants, report.rows, report.bad_rows) == (13, 20, 24, 2)
    assert [error.line for error in report.errors] == sorted(error.line for error in report.errors)
    before = await row_versions(database)
    report = await Importing(database).run(data)
    assert (report.created, report.changed, report.unchanged) == (0, 0, 13)
    assert await row_versions(database) == before


CELLS = st.sampled_from(
    [
        "",
        "1",
        "-1",
        "id:1",
        "a",
        "b",
        "simple",
        "variable",
        "variation",
        "variation, virtual",
        "9.99",
        "9,9",
        "x > y, z",
    ]
) | st.text(max_size=6)


@given(st.lists(st.dictionaries(st.sampled_from(COLUMNS), CELLS, max_size=12), max_size=8))
def test_whatever_a_file_holds_each_row_is_taken_or_told(rows: list[dict[str, str]]) -> None:
    data = woo(*rows)
    errors: list[RowError] = []
    read = list(read_rows(io.BytesIO(data), max_cell_bytes=1_000))
    products = list(parse_products(read, currency="GBP", report=errors.append, today=TODAY))
    assert {error.line for error in errors} <= {row.line for row in read}
    for product in products:
        assert product.title
        assert product.variants
        assert len({variant.options for variant in product.variants}) == len(product.variants)
    assert len({product.slug for product in products}) == len(products)
