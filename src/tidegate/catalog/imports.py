"""Importing products from a file: streamed, a transaction per batch, and nothing written where nothing changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import BinaryIO

from tidegate.catalog.contracts import ImportReport, NewProduct, PictureLeft, RowError, UnusableFile, Written
from tidegate.catalog.csv_rows import Row, read_rows
from tidegate.catalog.mapping import Mapped
from tidegate.catalog.products import plan_products, write_products
from tidegate.catalog.sources import parse_products
from tidegate.platform.database import Connection, Database
from tidegate.platform.ids import VariantId
from tidegate.platform.settings import CatalogSettings

MAX_ERRORS = 1_000
"""Most errors, and most pictures, that a report lists; all are counted."""
VARIANTS_PER_PRODUCT = 10
"""A batch ends when it has so many variants per product of its size, however few products those are."""

OnWritten = Callable[[Connection, Mapping[VariantId, int]], Awaitable[object]]
"""Called in each batch's transaction with the stock that the file gives to the variants just written."""

_NOT_CSV = {
    b"PK\x03\x04": "a spreadsheet or archive: export it as CSV",
    b"\xff\xfe": "UTF-16 text: save it as CSV in UTF-8",
    b"\xfe\xff": "UTF-16 text: save it as CSV in UTF-8",
    b"\x1f\x8b": "compressed: unpack it first",
}


@dataclass(slots=True)
class _Tally:
    rows: int = 0
    created: int = 0
    changed: int = 0
    unchanged: int = 0
    variants: int = 0
    bad_rows: int = 0
    errors: list[RowError] = field(default_factory=list)
    pictures: int = 0
    pictures_left: list[PictureLeft] = field(default_factory=list)

    def report(self, error: RowError) -> None:
        self.bad_rows += 1
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(error)

    def leave(self, picture: PictureLeft) -> None:
        self.pictures += 1
        if len(self.pictures_left) < MAX_ERRORS:
            self.pictures_left.append(picture)

    def add(self, written: Written) -> None:
        self.created += written.created
        self.changed += written.changed
        self.unchanged += written.unchanged
        self.variants += written.variants
        for error in written.refused:
            self.report(error)

    def summary(self) -> ImportReport:
        return ImportReport(
            created=self.created,
            changed=self.changed,
            unchanged=self.unchanged,
            variants=self.variants,
            rows=self.rows,
            bad_rows=self.bad_rows,
            errors=tuple(sorted(self.errors, key=lambda error: error.line)),
            pictures=self.pictures,
            pictures_left=tuple(sorted(self.pictures_left, key=lambda picture: picture.line)),
        )

    def counted(self, rows: Iterable[Row | RowError], *, headed: bool) -> Iterator[Row | RowError]:
        """The rows; the first is not counted where it is the header."""
        for number, row in enumerate(rows, start=0 if headed else 1):
            self.rows = number
            yield row


async def import_products(
    database: Database,
    *,
    source: BinaryIO,
    currency: str,
    limits: CatalogSettings,
    on_written: OnWritten,
    today: date,
    mapping: Mapped | None = None,
    dry_run: bool = False,
    on_progress: Callable[[int], None] = lambda _bytes_read: None,
) -> ImportReport:
    """Read a product list: Shopify's or WooCommerce's CSV, or any other through a mapping; `source` is seekable.

    Prices are taken as amounts of `currency`; `today` decides about sale prices with dates. Each batch is one
    transaction; after an interruption the same import goes on where it stopped, because products that are as the file
    says are not touched. The import adds and changes, and removes nothing. With `dry_run` nothing is written, and the
    report says what would have been.
    Raises: UnusableFile before anything is written; what is wrong with single rows is in the report.
    """
    _check_file(source, limits.import_max_bytes)
    tally = _Tally()
    delimiter, encoding = (mapping.delimiter, mapping.encoding) if mapping else (",", "utf-8")
    rows = read_rows(source, max_cell_bytes=limits.import_max_field_bytes, delimiter=delimiter, encoding=encoding)
    counted = tally.counted(rows, headed=not (mapping and mapping.header))
    products = parse_products(
        counted, currency=currency, report=tally.report, today=today, mapping=mapping, left=tally.leave
    )
    taken: dict[str, str] = {}
    for batch in _batches(products, limits.import_batch):
        if dry_run:
            async with database.connection() as conn:
                tally.add(await plan_products(conn, products=batch, taken=taken))
        else:
            async with database.transaction() as conn:
                written = await write_products(conn, products=batch)
                if written.levels:
                    await on_written(conn, written.levels)
            tally.add(written)
        on_progress(source.tell())
    return tally.summary()


def _check_file(source: BinaryIO, max_bytes: int) -> None:
    if not source.seekable():
        raise UnusableFile("this is not a plain file: save it and name the copy")
    size = source.seek(0, 2)
    source.seek(0)
    if size > max_bytes:
        raise UnusableFile(f"the file has {size:,} bytes; an import takes up to {max_bytes:,}: split it")
    start = source.read(4)
    source.seek(0)
    for mark, what in _NOT_CSV.items():
        if start.startswith(mark):
            raise UnusableFile(f"the file is {what}")


def _batches(products: Iterable[NewProduct], size: int) -> Iterator[list[NewProduct]]:
    batch: list[NewProduct] = []
    variants = 0
    for product in products:
        batch.append(product)
        variants += len(product.variants)
        if len(batch) >= size or variants >= size * VARIANTS_PER_PRODUCT:
            yield batch
            batch, variants = [], 0
    if batch:
        yield batch
