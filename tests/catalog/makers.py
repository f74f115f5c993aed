"""Products and readings for tests of the catalogue."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from tidegate.catalog import (
    ImportReport,
    Mapped,
    NewProduct,
    NewVariant,
    Status,
    VoucherTerms,
    Written,
    create_voucher,
    import_products,
    write_products,
)
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection, Database
from tidegate.platform.ids import VariantId
from tidegate.platform.money import Money
from tidegate.platform.settings import CatalogSettings

TODAY = date(2026, 11, 25)


def a_product(
    slug: str,
    *skus: str,
    title: str = "",
    kind: str = "",
    tags: tuple[str, ...] = (),
    status: Status = Status.ACTIVE,
    popularity: int | None = None,
    currency: str = "GBP",
) -> NewProduct:
    """A product whose variants, one per SKU, cost 1.00, 2.00, ..."""
    variants = tuple(
        NewVariant(sku, (("Size", sku),), Money(100 * number, currency), quantity=number)
        for number, sku in enumerate(skus or (slug.upper(),), start=1)
    )
    return NewProduct(slug, title or slug.title(), "About it.", "Maker", kind, tags, status, variants, popularity)


async def write(database: Database, *products: NewProduct) -> Written:
    """Write products in a transaction of their own."""
    async with database.transaction() as conn:
        return await write_products(conn, products=products)


async def a_voucher(
    database: Database,
    code: str,
    *,
    percent_off: int = 10,
    amount_off: Money | None = None,
    total: int = 5,
    per_buyer: int = 1,
    starts_in_s: float = 0,
    ends_in_s: float | None = None,
) -> VoucherTerms:
    """A voucher that may be used from now on; with `amount_off` it takes off no percentage."""
    async with database.transaction() as conn:
        now = await database_now(conn)
        return await create_voucher(
            conn,
            code=code,
            percent_off=None if amount_off else percent_off,
            amount_off=amount_off,
            total=total,
            per_buyer=per_buyer,
            starts_at=now + timedelta(seconds=starts_in_s),
            ends_at=None if ends_in_s is None else now + timedelta(seconds=ends_in_s),
        )


@dataclass
class Importing:
    """An import with what it asked to be stocked."""

    database: Database
    levels: dict[VariantId, int] = field(default_factory=dict)

    async def run(
        self, data: bytes, *, batch: int = 500, mapping: Mapped | None = None, dry_run: bool = False
    ) -> ImportReport:
        """Import the bytes."""

        async def on_written(conn: Connection, levels: Mapping[VariantId, int]) -> None:
            self.levels.update(levels)

        return await import_products(
            self.database,
            source=io.BytesIO(data),
            currency="GBP",
            today=TODAY,
            limits=CatalogSettings(import_batch=batch),
            on_written=on_written,
            mapping=mapping,
            dry_run=dry_run,
        )


async def row_versions(database: Database) -> list[tuple[object, ...]]:
    """Table and version of every row of the catalogue and of stock: the same as before if nothing was written."""
    tables = ("collections", "products", "product_collections", "variants", "prices", "drops", "drop_items")
    parts = [f"SELECT '{table}', xmin::text, ctid::text FROM catalog.{table}" for table in tables]
    parts.append("SELECT 'stock', xmin::text, ctid::text FROM inventory.stock")
    async with database.connection() as conn:
        rows = await conn.execute(" UNION ALL ".join(parts) + " ORDER BY 1, 2, 3")
        return await rows.fetchall()
