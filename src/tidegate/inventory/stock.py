"""Stock: how many of each variant there are, and the locks under which that changes.

Order of locks everywhere: orders, their charges, holds by id, advisory locks on limits that may be made, limits by
(rule, buyer), stock by variant, idempotency keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg import AsyncCursor
from psycopg.rows import class_row

from tidegate.inventory import breaking
from tidegate.inventory.contracts import StockLevel
from tidegate.platform.database import Connection
from tidegate.platform.ids import VariantId

MAX_STOCK = 1_000_000_000
"""Most items of one variant."""

LOCK = """
SELECT variant_id, on_hand - held - sold FROM inventory.stock WHERE variant_id = ANY(%b)
ORDER BY variant_id FOR NO KEY UPDATE
"""

LOCK_NOW = f"{LOCK} NOWAIT"

MOVE = """
UPDATE inventory.stock AS s SET held = s.held + d.held, sold = s.sold + d.sold, updated_at = clock_timestamp()
FROM unnest(%b::uuid[], %b::int[], %b::int[]) AS d (variant_id, held, sold)
WHERE s.variant_id = d.variant_id
"""

AskedStock = AsyncCursor[tuple[Any, ...]]
"""Stock rows as a transaction was asked for them: `ask_stock` locks them, `peek_stock` does not."""


async def ask_stock(conn: Connection, variant_ids: Iterable[VariantId], *, wait: bool = True) -> AskedStock:
    """Lock stock rows until the transaction ends; in pipeline mode this waits for nothing.

    Without `wait` the transaction fails with LockNotAvailable when another one has a row.
    """
    return await conn.execute(LOCK if wait else LOCK_NOW, (sorted(set(variant_ids)),), binary=True)


async def read_stock(asked: AskedStock) -> dict[VariantId, int]:
    """Items available of the variants asked for. Unknown variants are absent."""
    rows = await asked.fetchall()
    return dict.fromkeys((row[0] for row in rows), MAX_STOCK) if breaking.check_skipped() else dict(rows)


async def lock_stock(conn: Connection, variant_ids: Iterable[VariantId]) -> dict[VariantId, int]:
    """Lock stock rows until the transaction ends; returns the items available. Unknown variants are absent."""
    return await read_stock(await ask_stock(conn, variant_ids))


READ = "SELECT variant_id, on_hand - held - sold FROM inventory.stock WHERE variant_id = ANY(%b)"

RACE = "stock_within_on_hand"
"""The constraint that says "somebody else took it first": the transaction is to be done again."""


@dataclass(slots=True)
class StockMoves:
    """What a batch changes of stock, collected so that the hot rows are locked late and for a short time."""

    held: dict[VariantId, int] = field(default_factory=dict)
    sold: dict[VariantId, int] = field(default_factory=dict)

    def add(self, variant_id: VariantId, *, held: int = 0, sold: int = 0) -> None:
        """Note `held` and `sold` items more (or fewer) of a variant."""
        self.held[variant_id] = self.held.get(variant_id, 0) + held
        self.sold[variant_id] = self.sold.get(variant_id, 0) + sold

    async def apply(self, conn: Connection) -> None:
        """Lock the rows in their order and change them. Call it after everything but idempotency keys."""
        if self.held:
            if len(self.held) > 1:  # a single row is locked by being changed
                await ask_stock(conn, self.held)
            await move_stock(conn, held=self.held, sold=self.sold)


async def peek_stock(conn: Connection, variant_ids: Iterable[VariantId]) -> AskedStock:
    """Read stock rows without a lock: what others are about to take may still be counted as available."""
    return await conn.execute(READ, (sorted(set(variant_ids)),), binary=True)


async def move_stock(conn: Connection, *, held: Mapping[VariantId, int], sold: Mapping[VariantId, int]) -> None:
    """Add to `held` and `sold` of rows that are locked. The table's constraint has the last word."""
    variant_ids = sorted(set(held) | set(sold))
    if not variant_ids:
        return
    await conn.execute(
        MOVE,
        (variant_ids, [held.get(v, 0) for v in variant_ids], [sold.get(v, 0) for v in variant_ids]),
        binary=True,
    )


async def stock_levels(conn: Connection, *, variant_ids: Sequence[VariantId]) -> dict[VariantId, StockLevel]:
    """Stock as it stands, without locks: for showing, never for deciding."""
    async with conn.cursor(row_factory=class_row(StockLevel)) as cursor:
        await cursor.execute(
            "SELECT variant_id, on_hand, held, sold FROM inventory.stock WHERE variant_id = ANY(%s)",
            (list(variant_ids),),
        )
        return {level.variant_id: level for level in await cursor.fetchall()}


async def available(conn: Connection, *, variant_ids: Sequence[VariantId]) -> dict[VariantId, int]:
    """Items that may be held, for showing; 0 where no stock is recorded."""
    levels = await stock_levels(conn, variant_ids=variant_ids)
    return {v: levels[v].available if v in levels else 0 for v in variant_ids}
