"""Shopify's product CSV: one row per variant, the product's own cells on the first of its rows.

Both headers are understood: that of exports (`Handle`, `Variant SKU`, ...) and that of the newer template
(`URL handle`, `SKU`, ...). Images are left alone; no address in the file is ever fetched.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from tidegate.catalog.contracts import NewProduct, NewVariant, RowError, Status, UnusableFile
from tidegate.catalog.csv_rows import Row
from tidegate.catalog.plain_text import plain_text
from tidegate.catalog.rules import MAX_SKU, MAX_TEXT, clean_text, made_skus, product_slug
from tidegate.platform.money import Money, MoneyError, parse_amount

MAX_VARIANTS = 2048
"""Most variants of one product (Shopify's own limit)."""
MAX_TAGS = 250

Report = Callable[[RowError], None]

_HEADERS = {
    "handle": ("Handle", "URL handle"),
    "title": ("Title",),
    "description": ("Body (HTML)", "Description"),
    "vendor": ("Vendor",),
    "kind": ("Type",),
    "tags": ("Tags",),
    "published": ("Published", "Published on online store"),
    "status": ("Status",),
    "gift": ("Gift Card",),
    "option1_name": ("Option1 Name",),
    "option1": ("Option1 Value",),
    "option2_name": ("Option2 Name",),
    "option2": ("Option2 Value",),
    "option3_name": ("Option3 Name",),
    "option3": ("Option3 Value",),
    "sku": ("Variant SKU", "SKU"),
    "quantity": ("Variant Inventory Qty", "Inventory quantity"),
    "price": ("Variant Price", "Price"),
    "compare_at": ("Variant Compare At Price", "Compare-at price"),
}
_REQUIRED = ("handle", "title", "price")
_ONCE = ("title", "description", "vendor", "kind", "tags", "published", "status", "gift")
_OPTIONS = ("option1", "option2", "option3")
_STATUSES = {
    "": Status.ACTIVE,
    "active": Status.ACTIVE,
    "draft": Status.DRAFT,
    "unlisted": Status.DRAFT,
    "archived": Status.ARCHIVED,
}
_NO = frozenset({"false", "no", "0"})
_YES = frozenset({"true", "yes", "1"})
_PRICE = re.compile(r"\d{1,13}(?:\.\d{1,6})?", re.ASCII)
_QUANTITY = re.compile(r"-?\d{1,9}", re.ASCII)
_GUARDED_NUMBER = re.compile(r"'\d+", re.ASCII)


class _BadRow(Exception):
    """The row cannot be a variant; the text is the reason."""


@dataclass(slots=True)
class _Group:
    """The rows of one product, as far as they have been read."""

    handle: str
    slug: str
    line: int
    wrong: str = ""
    rows: int = 0
    bad: int = 0
    once: dict[str, str] = field(default_factory=lambda: dict.fromkeys(_ONCE, ""))
    option_names: dict[str, str] = field(default_factory=lambda: dict.fromkeys(_OPTIONS, ""))
    variants: list[NewVariant] = field(default_factory=list)
    lines: dict[tuple[tuple[str, str], ...], int] = field(default_factory=dict)
    """Options of its variants -> line."""
    skus: set[str] = field(default_factory=set)
    """SKUs that the file itself says."""


def parse_products(rows: Iterable[Row | RowError], *, currency: str, report: Report) -> Iterator[NewProduct]:
    """The products of a file, in its order; prices are read in minor units of `currency`.

    Rows of one product must follow each other. Whatever cannot be taken goes to `report`, and the rest goes on.
    Memory: the rows of one product, and the slugs that came before.
    Raises: UnusableFile when the header is not that of a product list.
    """
    stream = iter(rows)
    width, places = _read_header(next(stream, None))
    group: _Group | None = None
    seen: set[str] = set()
    for row in stream:
        if isinstance(row, RowError):
            report(row)
            continue
        if len(row.cells) != width:
            report(RowError(row.line, f"{len(row.cells)} cells where the header has {width}"))
            continue
        cells = {name: row.cells[place].strip() for name, place in places.items()}
        if not cells["handle"]:
            report(RowError(row.line, f"no {_HEADERS['handle'][0]}"))
            continue
        if group is None or cells["handle"].lower() != group.handle:
            if group is not None:
                yield from _finish(group, report)
            group = _start(cells["handle"].lower(), row.line, seen)
        _take(group, row.line, cells, currency, report)
    if group is not None:
        yield from _finish(group, report)


def _read_header(row: Row | RowError | None) -> tuple[int, dict[str, int]]:
    """(number of columns, field -> column)."""
    if row is None:
        raise UnusableFile("the file is empty")
    if isinstance(row, RowError):
        raise UnusableFile(f"the header (line {row.line}) cannot be read: {row.reason}")
    found: dict[str, int] = {}
    for place, name in enumerate(row.cells):
        found.setdefault(clean_text(name).lower(), place)
    places = {
        name: found[header.lower()]
        for name, headers in _HEADERS.items()
        for header in reversed(headers)
        if header.lower() in found
    }
    missing = [_HEADERS[name][0] for name in _REQUIRED if name not in places]
    if missing:
        hint = "; are its cells separated by commas?" if len(row.cells) == 1 else ""
        raise UnusableFile(
            f"not a Shopify product CSV: its header has no column {' and no column '.join(missing)}{hint}"
        )
    return len(row.cells), places


def _start(handle: str, line: int, seen: set[str]) -> _Group:
    slug = product_slug(handle)
    group = _Group(handle, slug, line)
    if slug in seen:
        group.wrong = f"the product {slug} came before in this file: keep the rows of a product together"
    seen.add(slug)
    return group


def _take(group: _Group, line: int, cells: dict[str, str], currency: str, report: Report) -> None:
    """Add a row to its product."""
    group.rows += 1
    for name in _ONCE:
        group.once[name] = group.once[name] or cells.get(name, "")
    for name in _OPTIONS:
        group.option_names[name] = group.option_names[name] or clean_text(cells.get(f"{name}_name", ""))
    if group.wrong or not any(cells.get(name) for name in ("option1", "sku", "price")):
        return  # rows without these hold a further picture, or the product alone
    try:
        group.variants.append(_variant(group, line, cells, currency))
    except _BadRow as error:
        group.bad += 1
        report(RowError(line, str(error)))


def _variant(group: _Group, line: int, cells: dict[str, str], currency: str) -> NewVariant:
    if len(group.variants) >= MAX_VARIANTS:
        raise _BadRow(f"a product may have up to {MAX_VARIANTS:,} variants")
    options = _options(group, cells)
    if options in group.lines:
        raise _BadRow(f"the same options as on line {group.lines[options]}")
    price = _price(cells["price"], "Variant Price", currency)
    if price is None:
        raise _BadRow("no Variant Price")
    compare_at = _price(cells.get("compare_at", ""), "Variant Compare At Price", currency)
    if compare_at is not None and compare_at.amount <= price.amount:
        compare_at = None
    quantity = cells.get("quantity", "") or "0"
    if _QUANTITY.fullmatch(quantity) is None:
        raise _BadRow(f"Variant Inventory Qty {quantity[:40]!r} is not a whole number of items")
    sku = _sku(cells.get("sku", ""))
    if sku in group.skus:
        raise _BadRow(f"SKU {sku} is used by this product already")
    other_sku = None
    if sku:
        group.skus.add(sku)
    else:
        sku, other_sku = made_skus(group.handle, [value for _, value in options])
    group.lines[options] = line
    return NewVariant(sku, options, price, compare_at, max(0, int(quantity)), other_sku, line)


def _sku(cell: str) -> str:
    """The SKU that a cell says; empty if none. Exports guard numbers from spreadsheets with an apostrophe."""
    sku = cell[1:] if _GUARDED_NUMBER.fullmatch(cell) else cell
    if len(sku) > MAX_SKU:
        raise _BadRow(f"the SKU is longer than {MAX_SKU} characters")
    if not sku.isprintable():
        raise _BadRow("the SKU holds a character that cannot be printed")
    return sku


def _options(group: _Group, cells: dict[str, str]) -> tuple[tuple[str, str], ...]:
    options = []
    for number, place in enumerate(_OPTIONS, start=1):
        name, value = group.option_names[place], clean_text(cells.get(place, ""))
        if value.lower() == "default title" or not (name or value):
            continue
        if not value:
            raise _BadRow(f"no Option{number} Value (the product's {name})")
        if not name:
            raise _BadRow(f"Option{number} Value without Option{number} Name")
        if max(len(name), len(value)) > MAX_TEXT:
            raise _BadRow(f"an option is longer than {MAX_TEXT} characters")
        options.append((name, value))
    return tuple(options)


def _price(cell: str, column: str, currency: str) -> Money | None:
    if not cell:
        return None
    if _PRICE.fullmatch(cell) is None:
        raise _BadRow(f"{column} {cell[:40]!r} is not a price such as 12.50")
    try:
        return Money(parse_amount(cell, currency), currency)
    except MoneyError as error:
        raise _BadRow(f"{column}: {error}") from None


def _finish(group: _Group, report: Report) -> Iterator[NewProduct]:
    """The product of a group, unless something about it as a whole is wrong."""
    once = {name: clean_text(text) for name, text in group.once.items() if name != "description"}
    wrong = group.wrong or _wrong_product(group, once)
    if wrong:
        left = "" if group.rows == 1 else f"; its {group.rows} rows are left out"
        report(RowError(group.line, wrong + left))
        return
    if not group.variants:
        return
    status = _STATUSES[once["status"].lower()]
    if status is Status.ACTIVE and once["published"].lower() in _NO:
        status = Status.DRAFT
    yield NewProduct(
        slug=group.slug,
        title=once["title"],
        description=plain_text(group.once["description"]),
        vendor=once["vendor"],
        kind=once["kind"],
        tags=_tags(once["tags"]),
        status=status,
        variants=_apart(group.variants),
        line=group.line,
    )


def _wrong_product(group: _Group, once: dict[str, str]) -> str:
    """What is wrong with the product as a whole, empty if nothing."""
    if not once["title"]:
        return "no Title"
    for name in ("title", "vendor", "kind"):
        if len(once[name]) > MAX_TEXT:
            return f"{_HEADERS[name][0]} is longer than {MAX_TEXT} characters"
    tags = _tags(once["tags"])
    if len(tags) > MAX_TAGS or any(len(tag) > MAX_TEXT for tag in tags):
        return f"more than {MAX_TAGS} Tags, or one longer than {MAX_TEXT} characters"
    if once["status"].lower() not in _STATUSES:
        return f"Status {once['status'][:40]!r} is none of active, draft, archived"
    if once["gift"].lower() in _YES:
        return "gift cards are not sold here"
    if not group.variants and not group.bad:
        return "no row with a Variant Price"
    return ""


def _tags(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tag for tag in (part.strip() for part in text.split(",")) if tag))


def _apart(variants: Sequence[NewVariant]) -> tuple[NewVariant, ...]:
    """Where SKUs that we made are alike within the product, all of them take their other one.

    All of them, so that which is which does not depend on the order of the rows.
    """
    often = Counter(variant.sku for variant in variants)
    return tuple(
        replace(variant, sku=variant.other_sku, other_sku=None)
        if variant.other_sku and often[variant.sku] > 1
        else variant
        for variant in variants
    )
