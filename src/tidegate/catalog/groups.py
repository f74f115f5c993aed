"""Products from the rows of a list: one row a variant, rows of one product together, the product's own cells on any.

Every kind of file (Shopify's, WooCommerce's, any other through a mapping) becomes such rows first. No address in a file
is ever fetched: what pictures it names is told.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tidegate.catalog.contracts import NewProduct, NewVariant, PictureLeft, RowError, Status, UnusableFile
from tidegate.catalog.csv_rows import Row
from tidegate.catalog.plain_text import plain_text
from tidegate.catalog.rules import MAX_SEO, MAX_SKU, MAX_TEXT, clean_text, made_skus, product_slug
from tidegate.platform.money import Money, MoneyError, parse_amount

MAX_VARIANTS = 2048
"""Most variants of one product (Shopify's own limit)."""
MAX_TAGS = 250
MAX_COLLECTIONS = 50
OPTIONS = ("option1", "option2", "option3")
"""A variant may have so many options."""

MAX_ADDRESS = 2_000
"""Characters of a picture's address that are told."""

Report = Callable[[RowError], None]
Left = Callable[[PictureLeft], None]
Header = tuple[int, dict[str, int]]
"""Number of columns, and the column of each field."""

_SEO = ("seo_title", "seo_description")
_ONCE = ("title", "description", "vendor", "kind", "collections", "tags", "published", "status", "gift", *_SEO)
_LONGEST = {"title": MAX_TEXT, "vendor": MAX_TEXT, "kind": MAX_TEXT, "seo_title": MAX_TEXT, "seo_description": MAX_SEO}
_PICTURES = ("picture", "variant_picture")
"""Cells with addresses of pictures, separated by white space, which no address contains."""
FIELDS = frozenset({"handle", "sku", "quantity", "price", "compare_at", *_ONCE})
"""What a row may say beside its options; `collections` are separated by `;`, `tags` by commas."""
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


@dataclass(frozen=True, slots=True)
class Listed:
    """One row of a list of products: `cells` by field, those that the list has; `line` is where it starts."""

    line: int
    cells: Mapping[str, str]


class _BadRow(Exception):
    """The row cannot be a variant; the text is the reason."""


@dataclass(slots=True)
class _Group:
    """The rows of one product, as far as they have been read."""

    handle: str
    slug: str
    line: int
    names: Mapping[str, str]
    wrong: str = ""
    rows: int = 0
    bad: int = 0
    once: dict[str, str] = field(default_factory=lambda: dict.fromkeys(_ONCE, ""))
    option_names: dict[str, str] = field(default_factory=lambda: dict.fromkeys(OPTIONS, ""))
    variants: list[NewVariant] = field(default_factory=list)
    lines: dict[tuple[tuple[str, str], ...], int] = field(default_factory=dict)
    """Options of its variants -> line."""
    skus: set[str] = field(default_factory=set)
    """SKUs that the file itself says."""
    said: set[str] = field(default_factory=set)
    """Those of `_SEO` that the file has a column of."""
    pictures: dict[str, int] = field(default_factory=dict)
    """Addresses of its pictures -> line."""


def group_products(
    rows: Iterable[Listed], *, names: Mapping[str, str], currency: str, report: Report, left: Left
) -> Iterator[NewProduct]:
    """The products of a list, in its order; prices are read in minor units of `currency`.

    Rows of one product must follow each other. Whatever cannot be taken goes to `report`, in which `names` are the
    file's own words for the fields, and the rest goes on. The pictures of what was taken go to `left`, each address of
    a product once. Memory: the rows of one product, and the slugs before it.
    """
    group: _Group | None = None
    seen: set[str] = set()
    for row in rows:
        handle = row.cells["handle"].strip().lower()
        if not handle:
            report(RowError(row.line, f"no {names['handle']}"))
            continue
        if group is None or handle != group.handle:
            if group is not None:
                yield from _finish(group, report, left)
            group = _start(handle, row.line, seen, names)
        _take(group, row, currency, report)
    if group is not None:
        yield from _finish(group, report, left)


def whole_rows(rows: Iterable[Row | RowError], header: Header, *, report: Report) -> Iterator[Listed]:
    """The rows by field, those that are broken or of another width than the header reported."""
    width, places = header
    for row in rows:
        if isinstance(row, RowError):
            report(row)
        elif len(row.cells) != width:
            report(RowError(row.line, f"{len(row.cells)} cells where the header has {width}"))
        else:
            yield Listed(row.line, {name: row.cells[place].strip() for name, place in places.items()})


def read_header(row: Row | RowError | None) -> dict[str, int]:
    """Column by its name in small letters. Raises: UnusableFile."""
    if row is None:
        raise UnusableFile("the file is empty")
    if isinstance(row, RowError):
        raise UnusableFile(f"the header (line {row.line}) cannot be read: {row.reason}")
    found: dict[str, int] = {}
    for place, name in enumerate(row.cells):
        found.setdefault(clean_text(name).lower(), place)
    return found


def _start(handle: str, line: int, seen: set[str], names: Mapping[str, str]) -> _Group:
    slug = product_slug(handle)
    group = _Group(handle, slug, line, names)
    if slug in seen:
        group.wrong = f"the product {slug} came before in this file: keep the rows of a product together"
    seen.add(slug)
    return group


def _take(group: _Group, row: Listed, currency: str, report: Report) -> None:
    """Add a row to its product."""
    line, cells = row.line, row.cells
    group.rows += 1
    for name in _ONCE:
        group.once[name] = group.once[name] or cells.get(name, "")
    group.said.update(name for name in _SEO if name in cells)
    for name in _PICTURES:
        for address in cells.get(name, "").split():
            if len(group.pictures) < MAX_VARIANTS:
                group.pictures.setdefault(address[:MAX_ADDRESS], line)
    for name in OPTIONS:
        group.option_names[name] = group.option_names[name] or clean_text(cells.get(f"{name}_name", ""))
    if group.wrong or not any(cells.get(name) for name in ("option1", "sku", "price")):
        return  # rows without these hold a further picture, or the product alone
    try:
        group.variants.append(_variant(group, line, cells, currency))
    except _BadRow as error:
        group.bad += 1
        report(RowError(line, str(error)))


def _variant(group: _Group, line: int, cells: Mapping[str, str], currency: str) -> NewVariant:
    if len(group.variants) >= MAX_VARIANTS:
        raise _BadRow(f"a product may have up to {MAX_VARIANTS:,} variants")
    options = _options(group, cells)
    if options in group.lines:
        raise _BadRow(f"the same options as on line {group.lines[options]}")
    price = _price(cells.get("price", ""), group.names["price"], currency)
    if price is None:
        raise _BadRow(f"no {group.names['price']}")
    compare_at = _price(cells.get("compare_at", ""), group.names["compare_at"], currency)
    if compare_at is not None and compare_at.amount <= price.amount:
        compare_at = None
    quantity = cells.get("quantity", "") or "0"
    if _QUANTITY.fullmatch(quantity) is None:
        raise _BadRow(f"{group.names['quantity']} {quantity[:40]!r} is not a whole number of items")
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


def _options(group: _Group, cells: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    options = []
    for place in OPTIONS:
        name, value = group.option_names[place], clean_text(cells.get(place, ""))
        if value.lower() == "default title" or not (name or value):
            continue
        if not value:
            raise _BadRow(f"no {group.names[place]} (the product's {name})")
        if not name:
            raise _BadRow(f"{group.names[place]} without {group.names[f'{place}_name']}")
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


def _finish(group: _Group, report: Report, left: Left) -> Iterator[NewProduct]:
    """The product of a group, unless something about it as a whole is wrong."""
    once = {name: clean_text(text) for name, text in group.once.items() if name != "description"}
    wrong = group.wrong or _wrong_product(group, once)
    if wrong:
        rest = "" if group.rows == 1 else f"; its {group.rows} rows are left out"
        report(RowError(group.line, wrong + rest))
        return
    if not group.variants:
        return
    for address, line in group.pictures.items():
        left(PictureLeft(line, group.slug, address))
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
        collections=_collections(once["collections"]),
        line=group.line,
        seo_title=once["seo_title"] if "seo_title" in group.said else None,
        seo_description=once["seo_description"] if "seo_description" in group.said else None,
    )


def _wrong_product(group: _Group, once: dict[str, str]) -> str:
    """What is wrong with the product as a whole, empty if nothing."""
    if not once["title"]:
        return f"no {group.names['title']}"
    for name, most in _LONGEST.items():
        if len(once[name]) > most:
            return f"{group.names[name]} is longer than {most} characters"
    tags = _tags(once["tags"])
    if len(tags) > MAX_TAGS or any(len(tag) > MAX_TEXT for tag in tags):
        return f"more than {MAX_TAGS} {group.names['tags']}, or one longer than {MAX_TEXT} characters"
    collections = _collections(once["collections"])
    if len(collections) > MAX_COLLECTIONS or any(len(title) > MAX_TEXT for title in collections):
        return f"more than {MAX_COLLECTIONS} {group.names['collections']}, or one longer than {MAX_TEXT} characters"
    if once["status"].lower() not in _STATUSES:
        return f"{group.names['status']} {once['status'][:40]!r} is none of active, draft, archived"
    if once["gift"].lower() in _YES:
        return "gift cards are not sold here"
    if not group.variants and not group.bad:
        return f"no row with a {group.names['price']}"
    return ""


def _collections(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(title for title in (part.strip() for part in text.split(";")) if title))


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
