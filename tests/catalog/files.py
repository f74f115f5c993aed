"""Product files for tests: small Shopify CSVs made here, and the real ones where they lie."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
COLUMNS = (
    "Handle,Title,Body (HTML),Vendor,Type,Tags,Published,Option1 Name,Option1 Value,Option2 Name,Option2 Value,"
    "Variant SKU,Variant Inventory Qty,Variant Price,Variant Compare At Price,Image Src,Gift Card,"
    "SEO Title,SEO Description,Variant Image,Status"
).split(",")
SHORT = {
    "handle": "Handle",
    "title": "Title",
    "body": "Body (HTML)",
    "vendor": "Vendor",
    "kind": "Type",
    "tags": "Tags",
    "published": "Published",
    "name1": "Option1 Name",
    "value1": "Option1 Value",
    "name2": "Option2 Name",
    "value2": "Option2 Value",
    "sku": "Variant SKU",
    "quantity": "Variant Inventory Qty",
    "price": "Variant Price",
    "compare": "Variant Compare At Price",
    "image": "Image Src",
    "gift": "Gift Card",
    "seo_title": "SEO Title",
    "seo_text": "SEO Description",
    "variant_image": "Variant Image",
    "status": "Status",
}


def product_file(*rows: dict[str, str]) -> bytes:
    """A Shopify CSV of these rows; keys as in SHORT. Row 0 is on line 2."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({SHORT[name]: value for name, value in row.items()})
    return text.getvalue().encode()


def shared(name: str) -> Path:
    """A file of the shared data sets; the test is skipped where they are not."""
    file = SHARED / name
    if not file.is_file():
        pytest.skip(f"needs {name} of ../shared/data")
    return file


def big_file(path: Path, *, products: int, variants_each: int) -> Path:
    """A file of many products, each with sizes and colours."""
    with path.open("w", newline="", encoding="utf-8") as target:
        writer = csv.DictWriter(target, COLUMNS)
        writer.writeheader()
        for product in range(products):
            for variant in range(variants_each):
                row = {
                    "Handle": f"product-{product}",
                    "Option1 Value": f"Size {variant // 5}",
                    "Option2 Value": f"Colour {variant % 5}",
                    "Variant SKU": f"P{product}-{variant}",
                    "Variant Inventory Qty": "7",
                    "Variant Price": f"{variant}.99",
                }
                if variant == 0:
                    row |= {
                        "Title": f"Product {product}",
                        "Body (HTML)": "<p>Plain and good.</p><ul><li>One</li><li>Two</li></ul>" * 3,
                        "Type": f"Kind {product % 20}",
                        "Tags": "a, b, c",
                        "Option1 Name": "Size",
                        "Option2 Name": "Colour",
                        "Status": "active",
                    }
                writer.writerow(row)
    return path
