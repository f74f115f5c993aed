"""WooCommerce's product CSV: simple products in one row, variable ones and their variations in rows apart.

A variation may stand anywhere in the file, so variable products wait for the end of it in a database of SQLite on disk:
memory does not grow with the file. Grouped and external products have nothing of their own to sell and are left out.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date

from tidegate.catalog.contracts import RowError
from tidegate.catalog.groups import OPTIONS, Listed, Report
from tidegate.catalog.rules import product_slug

MAX_ATTRIBUTES = 20
"""Attribute columns that are looked at."""

_COLUMNS = {
    "id": "ID",
    "type": "Type",
    "sku": "SKU",
    "title": "Name",
    "published": "Published",
    "visibility": "Visibility in catalog",
    "short": "Short description",
    "description": "Description",
    "sale_from": "Date sale price starts",
    "sale_until": "Date sale price ends",
    "quantity": "Stock",
    "sale": "Sale price",
    "price": "Regular price",
    "categories": "Categories",
    "tags": "Tags",
    "pictures": "Images",
    "vendor": "Brands",
    "parent": "Parent",
    "position": "Position",
}
_REQUIRED = ("type", "sku", "title", "price")
NAMES: Mapping[str, str] = {
    "handle": "Name",
    "title": "Name",
    "vendor": "Brands",
    "kind": "Categories",
    "collections": "Categories",
    "tags": "Tags",
    "status": "Published",
    "gift": "Type",
    "seo_title": "SEO title",
    "seo_description": "SEO description",
    "sku": "SKU",
    "quantity": "Stock",
    "price": "Regular price",
    "compare_at": "Regular price",
    **{place: f"Attribute {number} value(s)" for number, place in enumerate(OPTIONS, start=1)},
    **{f"{place}_name": f"Attribute {number} name" for number, place in enumerate(OPTIONS, start=1)},
}
_NOT_SOLD = {
    "grouped": "a grouped product only points to others, which are imported by themselves",
    "external": "an external product is sold by somebody else",
}
_COMMA = re.compile(r"(\d+),(\d{1,2})", re.ASCII)
_ANY = "Any"
"""The value of an attribute that a variation leaves open while others of its product do not."""


def woocommerce_columns(found: Mapping[str, int]) -> dict[str, int] | None:
    """Field -> column, None where the header is not WooCommerce's."""
    places = {name: found[header.lower()] for name, header in _COLUMNS.items() if header.lower() in found}
    if any(name not in places for name in _REQUIRED):
        return None
    for number in range(1, MAX_ATTRIBUTES + 1):
        for part, header in (("name", "name"), ("value", "value(s)")):
            if (place := found.get(f"attribute {number} {header}")) is not None:
                places[f"{part}{number}"] = place
    return places


def woocommerce_rows(rows: Iterable[Listed], *, today: date, report: Report) -> Iterator[Listed]:
    """Rows for `groups.group_products`: simple products first, then variable ones with their variations.

    `today` decides whether a sale price with dates counts.
    """
    handles = _Handles()
    with closing(sqlite3.connect("")) as database:  # a private file of the system's temporary folder
        waiting = _Waiting(database)
        for row in rows:
            kinds = [kind.strip().lower() for kind in row.cells["type"].split(",")]
            kind = next((kind for kind in kinds if kind not in ("virtual", "downloadable")), "simple")
            if kind == "simple":
                yield _offer(row, today, _about(row, handles.take(row.cells)))
            elif kind == "variable":
                waiting.add_product(row, handles.take(row.cells))
            elif kind == "variation":
                waiting.add_variation(row)
            else:
                report(RowError(row.line, _NOT_SOLD.get(kind, f"Type {kind[:40]!r} is not one that can be imported")))
        for product, handle in waiting.products():
            yield from _variable(product, waiting.variations(product), handle, today, report)
        for line in waiting.orphans():
            report(RowError(line, "its Parent is not in this file"))


@dataclass(slots=True)
class _Handles:
    """Addresses: made of names, and of the SKU or ID too where a name came before."""

    seen: set[str] = field(default_factory=set)

    def take(self, cells: Mapping[str, str]) -> str:
        """The handle of a product."""
        handle = product_slug(cells["title"])
        if handle in self.seen:
            handle = product_slug(f"{cells['title']} {cells.get('sku') or cells.get('id', '')}")
        self.seen.add(handle)
        return handle


class _Waiting:
    """Variable products and variations until the file is read."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.execute("CREATE TABLE product (line INTEGER PRIMARY KEY, handle TEXT, sku TEXT, id TEXT, cells TEXT)")
        database.execute(
            "CREATE TABLE variation (line INTEGER PRIMARY KEY, parent TEXT, position INTEGER, cells TEXT,"
            " used INTEGER DEFAULT 0)"
        )
        database.execute("CREATE INDEX variation_parent ON variation (parent)")

    def add_product(self, row: Listed, handle: str) -> None:
        """Keep a variable product."""
        values = (row.line, handle, row.cells["sku"], row.cells.get("id", ""), json.dumps(dict(row.cells)))
        self._database.execute("INSERT INTO product VALUES (?, ?, ?, ?, ?)", values)

    def add_variation(self, row: Listed) -> None:
        """Keep a variation."""
        position = row.cells.get("position", "")
        place = int(position) if re.fullmatch(r"\d{1,9}", position, re.ASCII) else 0
        values = (row.line, row.cells.get("parent", ""), place, json.dumps(dict(row.cells)))
        self._database.execute("INSERT INTO variation (line, parent, position, cells) VALUES (?, ?, ?, ?)", values)

    def products(self) -> Iterator[tuple[Listed, str]]:
        """Variable products with their handles, in the file's order."""
        for line, handle, cells in self._database.execute("SELECT line, handle, cells FROM product ORDER BY line"):
            yield Listed(line, json.loads(cells)), handle

    def variations(self, product: Listed) -> list[Listed]:
        """The variations of a product, in the merchant's order."""
        parents = [f"id:{product.cells['id']}"] if product.cells.get("id") else []
        parents += [product.cells["sku"]] if product.cells["sku"] else []
        marks = ", ".join("?" * len(parents))
        found = self._database.execute(
            f"SELECT line, cells FROM variation WHERE parent IN ({marks}) ORDER BY position, line",  # noqa: S608
            parents,
        ).fetchall()
        self._database.executemany("UPDATE variation SET used = 1 WHERE line = ?", [(line,) for line, _ in found])
        return [Listed(line, json.loads(cells)) for line, cells in found]

    def orphans(self) -> Iterator[int]:
        """Lines of variations whose product did not come."""
        for (line,) in self._database.execute("SELECT line FROM variation WHERE used = 0 ORDER BY line"):
            yield line


def _variable(product: Listed, variations: list[Listed], handle: str, today: date, report: Report) -> Iterator[Listed]:
    """The rows of a variable product: itself without a price, then its variations.

    An attribute becomes an option when one of the variations says it: the others only describe the product.
    """
    about = _about(product, handle)
    named = [dict(_attributes(row.cells)) for row in variations]
    names = [name for name in dict(_attributes(product.cells)) if any(each.get(name) for each in named)]
    names += [name for each in named for name, value in each.items() if value and name not in names]
    names = list(dict.fromkeys(names))
    if len(names) > len(OPTIONS):
        told = ", ".join(names)[:80]
        report(RowError(product.line, f"its variations differ in {told}: a product may have {len(OPTIONS)} options"))
        return
    yield Listed(product.line, about)
    for row, values in zip(variations, named, strict=True):
        options = {
            key: cell
            for place, name in zip(OPTIONS, names, strict=False)
            for key, cell in ((f"{place}_name", name), (place, values.get(name) or _ANY))
        }
        yield _offer(row, today, {"handle": handle, "title": about["title"]} | options)


def _attributes(cells: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for number in range(1, MAX_ATTRIBUTES + 1):
        if name := cells.get(f"name{number}", ""):
            yield name, cells.get(f"value{number}", "")


def _about(row: Listed, handle: str) -> dict[str, str]:
    """What a row says of its product as a whole."""
    cells = row.cells
    hidden = cells.get("visibility", "").lower() == "hidden"
    published = cells.get("published", "1") == "1" and not hidden
    categories = _categories(cells.get("categories", ""))
    return {
        "handle": handle,
        "title": cells["title"],
        "description": _html(cells.get("description", "") or cells.get("short", "")),
        "vendor": cells.get("vendor", ""),
        "kind": categories[0] if categories else "",
        "collections": ";".join(title.replace(";", ",") for title in categories[1:]),
        "tags": cells.get("tags", ""),
        "status": "active" if published else "draft",
        "picture": _pictures(cells),
    }


def _offer(row: Listed, today: date, about: Mapping[str, str]) -> Listed:
    """A row with what it sells: the sale price, if it counts, is the price, and the regular one the former price."""
    regular, sale = _price(row.cells["price"]), _price(row.cells.get("sale", ""))
    reduced = bool(sale) and _on_sale(row.cells, today)
    prices = {"price": sale, "compare_at": regular} if reduced else {"price": regular}
    rest = {"sku": row.cells["sku"], "quantity": row.cells.get("quantity", ""), "picture": _pictures(row.cells)}
    return Listed(row.line, {**about, **prices, **rest})


def _pictures(cells: Mapping[str, str]) -> str:
    """Addresses are separated by a comma and a blank; a comma inside of one has no blank."""
    return re.sub(r",\s+", " ", cells.get("pictures", ""))


def _on_sale(cells: Mapping[str, str], today: date) -> bool:
    begins, ends = _day(cells.get("sale_from", "")), _day(cells.get("sale_until", ""))
    return (begins is None or begins <= today) and (ends is None or today <= ends)


def _day(cell: str) -> date | None:
    try:
        return date.fromisoformat(cell[:10])
    except ValueError:
        return None


def _price(cell: str) -> str:
    """Shops that write prices with a decimal comma export them so."""
    found = _COMMA.fullmatch(cell)
    return f"{found[1]}.{found[2]}" if found else cell


def _categories(cell: str) -> list[str]:
    """The last part of the first path, then all others: a category shows what lies below it too."""
    paths = [[part.strip() for part in path.split(">")] for path in re.split(r"(?<!\\),", cell)]
    titles = [part.replace("\\,", ",") for path in paths for part in reversed(path) if part]
    return list(dict.fromkeys(titles))


def _html(cell: str) -> str:
    """Exports write line breaks as a backslash and an n."""
    return re.sub(r"\n[ \t]*\n", "<p>", cell.replace("\\n", "\n")).replace("\n", "<br>")
