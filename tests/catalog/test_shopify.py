"""What Shopify's product CSV says, and what is said about rows that cannot be taken."""

from __future__ import annotations

import io

import pytest

from tests.catalog.files import product_file
from tests.catalog.makers import TODAY
from tidegate.catalog.contracts import NewProduct, PictureLeft, RowError, Status, UnusableFile
from tidegate.catalog.csv_rows import read_rows
from tidegate.catalog.groups import MAX_VARIANTS
from tidegate.catalog.sources import parse_products
from tidegate.platform.money import Money

LAMP = {"handle": "lamp", "title": "Lamp", "name1": "Title", "value1": "Default Title", "price": "10.00"}


def parse(data: bytes, currency: str = "GBP") -> tuple[list[NewProduct], list[tuple[int, str]]]:
    errors: list[RowError] = []
    rows = read_rows(io.BytesIO(data), max_cell_bytes=131_072)
    products = list(parse_products(rows, currency=currency, report=errors.append, today=TODAY))
    return products, [(error.line, error.reason) for error in errors]


def only(*rows: dict[str, str]) -> NewProduct:
    products, errors = parse(product_file(*rows))
    assert errors == []
    (product,) = products
    return product


def test_a_plain_product() -> None:
    row = LAMP | {
        "title": "  Floor \n Lamp ",
        "body": "<p>Black</p><p>floor lamp</p>",
        "vendor": "Company",
        "kind": "Indoor",
        "tags": "Black,  Lamp,,Black",
        "sku": "L-1",
        "quantity": "4",
        "compare": "12.50",
    }
    product = only(row)
    assert (product.slug, product.title, product.vendor, product.kind) == ("lamp", "Floor Lamp", "Company", "Indoor")
    assert product.description == "Black\n\nfloor lamp"
    assert product.tags == ("Black", "Lamp")
    assert product.status is Status.ACTIVE
    (variant,) = product.variants
    assert (variant.sku, variant.options, variant.quantity, variant.line) == ("L-1", (), 4, 2)
    assert (variant.price, variant.compare_at) == (Money(1000, "GBP"), Money(1250, "GBP"))


def test_variants_follow_the_first_row() -> None:
    product = only(
        {
            "handle": "tee",
            "title": "Tee",
            "name1": "Size",
            "value1": "S",
            "name2": "Color",
            "value2": "Red",
            "price": "5",
        },
        {"handle": "tee", "image": "https://example.com/1.jpg"},
        {"handle": "TEE", "value1": "M", "value2": "Red", "price": "5.5"},
    )
    assert [v.options for v in product.variants] == [
        (("Size", "S"), ("Color", "Red")),
        (("Size", "M"), ("Color", "Red")),
    ]
    assert [v.sku for v in product.variants] == ["TEE_S_RED", "TEE_M_RED"]
    assert [v.price.amount for v in product.variants] == [500, 550]


def test_pictures_are_told_and_not_fetched() -> None:
    rows = (
        LAMP | {"image": "https://a.example/1.jpg", "variant_image": "https://a.example/1.jpg"},
        {"handle": "lamp", "image": "https://a.example/2.jpg"},
        LAMP | {"handle": "broken", "title": "", "image": "https://a.example/3.jpg"},
    )
    left: list[PictureLeft] = []
    read = read_rows(io.BytesIO(product_file(*rows)), max_cell_bytes=131_072)
    products = list(parse_products(read, currency="GBP", report=lambda _: None, today=TODAY, left=left.append))
    assert [product.slug for product in products] == ["lamp"]
    assert left == [
        PictureLeft(2, "lamp", "https://a.example/1.jpg"),
        PictureLeft(3, "lamp", "https://a.example/2.jpg"),
    ]


def test_texts_for_search_engines() -> None:
    product = only(LAMP | {"seo_title": " Lamps,\n bright ", "seo_text": "Light for all."})
    assert (product.seo_title, product.seo_description) == ("Lamps, bright", "Light for all.")
    assert parse(product_file(LAMP | {"seo_text": "x" * 501}))[1] == [
        (2, "SEO Description is longer than 500 characters")
    ]
    assert parse(product_file(LAMP | {"seo_title": "x" * 256}))[1] == [(2, "SEO Title is longer than 255 characters")]


def test_the_newer_header_is_understood() -> None:
    header = b"Title,URL handle,SKU,Price,Compare-at price,Inventory quantity,Published on online store\n"
    products, errors = parse(header + b"Lamp,lamp,L-1,9.99,,3,FALSE\n")
    assert errors == []
    assert (products[0].slug, products[0].status) == ("lamp", Status.DRAFT)
    assert (products[0].variants[0].sku, products[0].variants[0].quantity) == ("L-1", 3)


@pytest.mark.parametrize(
    ("status", "published", "expected"),
    [
        ("", "", Status.ACTIVE),
        ("Active", "true", Status.ACTIVE),
        ("active", "FALSE", Status.DRAFT),
        ("draft", "true", Status.DRAFT),
        ("archived", "false", Status.ARCHIVED),
        ("unlisted", "true", Status.DRAFT),
    ],
)
def test_status(status: str, published: str, expected: Status) -> None:
    assert only(LAMP | {"status": status, "published": published}).status is expected


def test_prices_are_amounts_of_the_shops_currency() -> None:
    products, _ = parse(product_file(LAMP | {"price": "1200", "compare": "1100"}), currency="JPY")
    (variant,) = products[0].variants
    assert variant.price == Money(1200, "JPY")
    assert variant.compare_at is None, "a former price that is not higher is none"


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"price": "12,50"}, "Variant Price '12,50' is not a price such as 12.50"),
        ({"price": "-1"}, "Variant Price '-1' is not a price such as 12.50"),
        ({"price": "1e9999999"}, "Variant Price '1e9999999' is not a price such as 12.50"),
        ({"price": "NaN"}, "Variant Price 'NaN' is not a price such as 12.50"),
        ({"price": "9999999999999"}, "Variant Price: 9999999999999 is more than a price may be"),
        ({"price": ""}, "no Variant Price"),
        ({"compare": "free"}, "Variant Compare At Price 'free' is not a price such as 12.50"),
        ({"quantity": "1.5"}, "Variant Inventory Qty '1.5' is not a whole number of items"),
        ({"quantity": "9999999999"}, "Variant Inventory Qty '9999999999' is not a whole number of items"),
        ({"sku": "x" * 101}, "the SKU is longer than 100 characters"),
        ({"sku": "a\tb"}, "the SKU holds a character that cannot be printed"),
        ({"name1": "Size", "value1": ""}, "no Option1 Value (the product's Size)"),
        ({"name1": "", "value1": "S"}, "Option1 Value without Option1 Name"),
        ({"name1": "Size", "value1": "x" * 256}, "an option is longer than 255 characters"),
    ],
)
def test_a_bad_row_is_named_and_the_rest_goes_on(cells: dict[str, str], reason: str) -> None:
    data = product_file(LAMP | cells, LAMP | {"handle": "second"})
    products, errors = parse(data)
    assert [product.slug for product in products] == ["second"]
    assert errors == [(2, reason)]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"title": ""}, "no Title"),
        ({"title": "x" * 256}, "Title is longer than 255 characters"),
        ({"kind": "x" * 256}, "Type is longer than 255 characters"),
        ({"tags": "x" * 256}, "more than 250 Tags, or one longer than 255 characters"),
        ({"status": "sold"}, "Status 'sold' is none of active, draft, archived"),
        ({"gift": "TRUE"}, "gift cards are not sold here"),
        ({"value1": "", "price": ""}, "no row with a Variant Price"),
        ({"handle": ""}, "no Handle"),
    ],
)
def test_a_bad_product_is_named_once(cells: dict[str, str], reason: str) -> None:
    products, errors = parse(product_file(LAMP | cells, LAMP | {"handle": "second"}))
    assert [product.slug for product in products] == ["second"]
    assert errors == [(2, reason)]


def test_the_good_variants_of_a_product_are_kept() -> None:
    tee = {"handle": "tee", "name1": "Size", "price": "5"}
    products, errors = parse(
        product_file(
            tee | {"title": "Tee", "value1": "S", "sku": "A", "price": "five"},
            tee | {"value1": "M", "sku": "A"},
            tee | {"value1": "L", "sku": "A"},
            tee | {"value1": "M", "sku": "B"},
        )
    )
    assert [[v.sku for v in p.variants] for p in products] == [["A"]]
    assert errors == [
        (2, "Variant Price 'five' is not a price such as 12.50"),
        (4, "SKU A is used by this product already"),
        (5, "the same options as on line 3"),
    ]


def test_a_product_whose_rows_lie_apart_is_reported() -> None:
    products, errors = parse(
        product_file(LAMP, LAMP | {"handle": "other"}, LAMP | {"value1": "x"}, LAMP | {"value1": "y"})
    )
    assert [p.slug for p in products] == ["lamp", "other"]
    assert errors == [
        (4, "the product lamp came before in this file: keep the rows of a product together; its 2 rows are left out")
    ]


def test_rows_of_another_width_are_reported() -> None:
    products, errors = parse(b"Handle,Title,Variant Price\nlamp,Lamp,1,2\nmug,Mug\ncup,Cup,3\n")
    assert [p.slug for p in products] == ["cup"]
    assert errors == [(2, "4 cells where the header has 3"), (3, "2 cells where the header has 3")]


def test_a_product_has_a_bound() -> None:
    rows = "".join(f"tee,Tee,1,Size,{n}\n" for n in range(MAX_VARIANTS + 1))
    products, errors = parse(f"Handle,Title,Variant Price,Option1 Name,Option1 Value\n{rows}".encode())
    assert len(products[0].variants) == MAX_VARIANTS
    assert errors == [(MAX_VARIANTS + 2, "a product may have up to 2,048 variants")]


def test_made_skus_that_are_alike_do_not_depend_on_the_order_of_rows() -> None:
    one = {"handle": "tee", "title": "Tee", "name1": "Colour", "value1": "Dark Blue", "price": "1"}
    two = one | {"value1": "dark-blue"}
    there = {v.options: v.sku for v in only(one, two).variants}
    back = {v.options: v.sku for v in only(two, one).variants}
    assert there == back
    assert len(set(there.values())) == 2


def test_a_made_sku_gives_way_to_the_files_own() -> None:
    one = {"handle": "tee", "title": "Tee", "name1": "Size", "value1": "S", "price": "1"}
    skus = [v.sku for v in only(one, one | {"value1": "M", "sku": "TEE_S"}).variants]
    assert skus[1] == "TEE_S"
    assert skus[0].startswith("TEE_S-")


def test_numbers_guarded_from_spreadsheets_and_negative_stock() -> None:
    (variant,) = only(LAMP | {"sku": "'00123", "quantity": "-4"}).variants
    assert (variant.sku, variant.quantity) == ("00123", 0)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"\n\n", "the file is empty"),
        (b"Handle;Title;Variant Price\n", "are its cells separated by commas?"),
        (b"Handle,Name\n", "no column Title and no column Variant Price"),
        (b"Handle,Title,Pr\xe9is\n", "the header (line 1) cannot be read: not UTF-8"),
        (b'"Handle,Title\n', "the header (line 1) cannot be read: a quote mark is not closed"),
    ],
)
def test_a_file_that_is_no_product_list(data: bytes, reason: str) -> None:
    with pytest.raises(UnusableFile) as caught:
        parse(data)
    assert reason in str(caught.value)
