"""Any other CSV through a mapping, and what a mapping may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.catalog.files import shared
from tests.catalog.makers import Importing, row_versions
from tidegate.catalog import UnusableFile, UnusableMapping, find_product, parse_mapping
from tidegate.platform.database import Database

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "mappings" / "online-retail.toml"
RETAIL = (
    b"StockCode,Description,units_sold,price_median_gbp\n"
    b"10002,INFLATABLE GLOBE,860,0.85\n"
    b"10003,INFLATABLE GLOBE,2,1.225\n"
    b"10004,,2,1\n"
    b"10005,BAD,2,abc\n"
)
SIZES = b"""
delimiter = ";"
decimal = ","
encoding = "iso-8859-1"
[columns]
title = "Artikel"
price = "Preis"
sku = "Nummer"
[options]
"Gr\xc3\xb6\xc3\x9fe" = "Groesse"
[constants]
kind = "Hemden"
"""


async def test_the_shipped_mapping(database: Database) -> None:
    mapping = parse_mapping(PAGE.read_bytes())
    importing = Importing(database)
    report = await importing.run(RETAIL, mapping=mapping)
    assert (report.created, report.bad_rows) == (2, 2)
    assert [(error.line, error.reason) for error in report.errors] == [
        (4, "no Description"),
        (5, "price_median_gbp 'abc' is not a price such as 12.50"),
    ]
    assert set(importing.levels.values()) == {100}
    async with database.connection() as conn:
        globe = await find_product(conn, slug="inflatable-globe-10003", currency="GBP")
    assert globe is not None
    assert (globe.variants[0].sku, globe.variants[0].price.amount) == ("10003", 123)


async def test_the_real_file_twice(database: Database) -> None:
    data = shared("online_retail/products.csv").read_bytes()
    mapping = parse_mapping(PAGE.read_bytes())
    report = await Importing(database).run(data, mapping=mapping)
    assert (report.created, report.rows, report.bad_rows) == (3_793, 3_900, 107)
    before = await row_versions(database)
    report = await Importing(database).run(data, mapping=mapping)
    assert (report.created, report.changed, report.unchanged) == (0, 0, 3_793)
    assert await row_versions(database) == before


async def test_options_other_signs_and_another_encoding(database: Database) -> None:
    data = "Artikel;Groesse;Nummer;Preis\nHemd für;S;H-1;1.012,50\nHemd für;M;H-2;13\n".encode("iso-8859-1")
    report = await Importing(database).run(data, mapping=parse_mapping(SIZES))
    assert (report.created, report.variants, report.errors) == (1, 2, ())
    async with database.connection() as conn:
        shirt = await find_product(conn, slug="hemd-fur", currency="GBP")
    assert shirt is not None
    assert shirt.title == "Hemd für"
    assert [(v.sku, v.options, v.price.amount) for v in shirt.variants] == [
        ("H-1", (("Größe", "S"),), 101_250),
        ("H-2", (("Größe", "M"),), 1_300),
    ]


BOOKS = b"""
header = ["class", "category", "upc", "title", "description", "partner", "partner_sku", "price", "stock"]
[columns]
handle = ["title", "upc"]
title = "title"
description = "description"
kind = "class"
vendor = "partner"
sku = "upc"
price = "price"
quantity = "stock"
"""


async def test_a_file_without_a_header(database: Database) -> None:
    data = b'Book,"A > B",978,The Book,<p>Good</p>,Us,S1,19.99,3\nBook,A,979,Other,,Us,S2,x,3\n'
    importing = Importing(database)
    report = await importing.run(data, mapping=parse_mapping(BOOKS))
    assert (report.created, report.rows, report.bad_rows) == (1, 2, 1)
    assert [error.line for error in report.errors] == [2]
    assert set(importing.levels.values()) == {3}


async def test_a_real_file_without_a_header_twice(database: Database) -> None:
    data = shared("oscar_books/books.essential.csv").read_bytes()
    report = await Importing(database).run(data, mapping=parse_mapping(BOOKS))
    assert (report.created + report.bad_rows, report.rows) == (82, 82)
    assert report.created > 50
    before = await row_versions(database)
    again = await Importing(database).run(data, mapping=parse_mapping(BOOKS))
    assert (again.created, again.changed, again.unchanged) == (0, 0, report.created)
    assert await row_versions(database) == before


async def test_a_file_without_a_named_column_is_refused(database: Database) -> None:
    with pytest.raises(UnusableFile, match="no column Nummer and no column Groesse"):
        await Importing(database).run(b"Artikel;Preis\nx;1\n", mapping=parse_mapping(SIZES))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("columns = [", "is not TOML"),
        ("[columns]\ntitle = 'A'", "which column is the price"),
        ("[columns]\ntitle = 'A'\nprice = 'B'\ncolour = 'C'", "'colour'"),
        ("[columns]\ntitle = 'A'\nprice = 'B'\n[constants]\nprice = '1'", "price from a column and from a constant"),
        ("[columns]\ntitle = []\nprice = 'B'", "title is made of 1 to 5 columns"),
        ("[columns]\ntitle = 'A'\nprice = 'B'\n[options]\na='1'\nb='2'\nc='3'\nd='4'", "options"),
        ("delimiter = 'x'\n[columns]\ntitle = 'A'\nprice = 'B'", "delimiter"),
        ("encoding = 'utf-16'\n[columns]\ntitle = 'A'\nprice = 'B'", "encoding"),
        ("surprise = 1\n[columns]\ntitle = 'A'\nprice = 'B'", "surprise"),
        ("#" * 70_000, "bytes"),
    ],
)
def test_mappings_that_are_refused(text: str, reason: str) -> None:
    with pytest.raises(UnusableMapping) as caught:
        parse_mapping(text.encode())
    assert reason in caught.value.detail
