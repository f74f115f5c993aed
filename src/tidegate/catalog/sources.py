"""What kind of product list a file is, told by its header, and its products."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date

from tidegate.catalog.contracts import NewProduct, RowError, UnusableFile
from tidegate.catalog.csv_rows import Row
from tidegate.catalog.groups import Left, Listed, Report, group_products, read_header, whole_rows
from tidegate.catalog.mapping import Mapped
from tidegate.catalog.shopify import NAMES as SHOPIFY_NAMES
from tidegate.catalog.shopify import shopify_columns
from tidegate.catalog.woocommerce import NAMES as WOOCOMMERCE_NAMES
from tidegate.catalog.woocommerce import woocommerce_columns, woocommerce_rows


def parse_products(
    rows: Iterable[Row | RowError],
    *,
    currency: str,
    report: Report,
    today: date,
    mapping: Mapped | None = None,
    left: Left = lambda _picture: None,
) -> Iterator[NewProduct]:
    """The products of a file: by `mapping` where there is one, else Shopify's or WooCommerce's, as the header says.

    Prices are read in minor units of `currency`; `today` is for sale prices with dates. Whatever cannot be taken goes
    to `report`, and the rest goes on; pictures, which are not fetched, to `left`.
    Raises: UnusableFile when the header is that of neither.
    """
    stream = iter(rows)
    head = Row(1, list(mapping.header)) if mapping is not None and mapping.header else next(stream, None)
    found = read_header(head)
    assert isinstance(head, Row)
    width = len(head.cells)
    listed: Iterable[Listed]
    if mapping is not None:
        names = mapping.names
        listed = mapping.rows(whole_rows(stream, (width, mapping.places(found)), report=report))
    elif (places := woocommerce_columns(found)) is not None:
        names = dict(WOOCOMMERCE_NAMES)
        listed = woocommerce_rows(whole_rows(stream, (width, places), report=report), today=today, report=report)
    else:
        places, missing = shopify_columns(found)
        if missing:
            raise _unknown_kind(missing, width)
        names = dict(SHOPIFY_NAMES)
        listed = whole_rows(stream, (width, places), report=report)
    yield from group_products(listed, names=names, currency=currency, report=report, left=left)


def _unknown_kind(missing: list[str], width: int) -> UnusableFile:
    hint = "; are its cells separated by commas?" if width == 1 else ""
    return UnusableFile(
        f"neither a Shopify nor a WooCommerce product CSV: for Shopify its header has no column "
        f"{' and no column '.join(missing)}{hint}; any other list needs a mapping (--mapping)"
    )
