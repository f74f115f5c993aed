"""Movements of stock: every change of how many items there are, written down in the transaction that makes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidegate.inventory.contracts import (
    MoveCause,
    MoveReason,
    StockChanged,
    StockMovement,
    StockTaken,
)
from tidegate.inventory.stock import MAX_STOCK
from tidegate.platform.database import Connection
from tidegate.platform.ids import PersonId, VariantId
from tidegate.platform.problems import InvalidRequest
from tidegate.platform.texts import text as _

MAX_NOTE = 200
"""Most characters of a note."""

MAX_LOW = 5_000
"""Most variants that a list of low stock names."""

NO_REASON = MoveReason()

NOTE = """
INSERT INTO inventory.stock_movements (variant_id, cause, person_id, note, on_hand_before, on_hand_after)
SELECT variant_id, %(cause)s, %(by)s, %(note)s, coalesce(before, 0), after FROM changed
WHERE coalesce(before, 0) <> after ORDER BY variant_id
"""

SET = f"""
WITH changed AS (
    INSERT INTO inventory.stock AS s (variant_id, on_hand)
    SELECT variant_id, level FROM unnest(%(variants)s::uuid[], %(levels)s::int[]) AS l (variant_id, level)
    ORDER BY variant_id
    ON CONFLICT (variant_id) DO UPDATE
    SET on_hand = s.held + s.sold + excluded.on_hand, updated_at = clock_timestamp()
    RETURNING new.variant_id, old.on_hand AS before, new.on_hand AS after
) {NOTE}
"""  # noqa: S608 - our own constants

ADD_MISSING = f"""
WITH changed AS (
    INSERT INTO inventory.stock (variant_id, on_hand)
    SELECT variant_id, level FROM unnest(%(variants)s::uuid[], %(levels)s::int[]) AS l (variant_id, level)
    ORDER BY variant_id
    ON CONFLICT (variant_id) DO NOTHING
    RETURNING new.variant_id, old.on_hand AS before, new.on_hand AS after
), noted AS ({NOTE} RETURNING 1)
SELECT count(*) FROM changed
"""  # noqa: S608

CORRECT = f"""
WITH changed AS (
    UPDATE inventory.stock SET on_hand = %(on_hand)s, updated_at = clock_timestamp() WHERE variant_id = %(variant)s
    RETURNING new.variant_id, old.on_hand AS before, new.on_hand AS after
) {NOTE}
"""  # noqa: S608


async def set_stock(conn: Connection, *, levels: Mapping[VariantId, int], reason: MoveReason = NO_REASON) -> None:
    """Make `levels[variant]` items available, whatever is held and sold; rows are made where there are none."""
    assert all(0 <= level <= MAX_STOCK for level in levels.values())
    await conn.execute(SET, _parameters(levels, reason))


async def add_missing_stock(
    conn: Connection, *, levels: Mapping[VariantId, int], reason: MoveReason = NO_REASON
) -> int:
    """Set the stock of variants that have none recorded yet; returns how many that were."""
    assert all(0 <= level <= MAX_STOCK for level in levels.values())
    row = await (await conn.execute(ADD_MISSING, _parameters(levels, reason))).fetchone()
    assert row is not None
    return int(row[0])


async def correct_stock(
    conn: Connection, *, variant_id: VariantId, on_hand: int, seen: int, by: PersonId, note: str
) -> None:
    """Make it `on_hand` items in all, of which some are held or sold. `seen`: how many there were when staff looked.

    The caller knows that the variant exists. Raises: InvalidRequest without a note or for a number out of bounds,
    StockTaken when more are held and sold, StockChanged when `seen` is not true any more.
    """
    words = " ".join(note.split())
    if not words or len(words) > MAX_NOTE:
        raise InvalidRequest(
            _("Write in a few words why, so that others understand it later. Nothing was changed."), field="note"
        )
    if not 0 <= on_hand <= MAX_STOCK:
        raise InvalidRequest(
            _("Stock is a whole number from 0 to 1,000,000,000. Nothing was changed."), field="on_hand"
        )
    await conn.execute(
        "INSERT INTO inventory.stock (variant_id, on_hand) VALUES (%s, 0) ON CONFLICT DO NOTHING", (variant_id,)
    )
    locked = await conn.execute(
        "SELECT on_hand, held, sold FROM inventory.stock WHERE variant_id = %s FOR NO KEY UPDATE", (variant_id,)
    )
    row = await locked.fetchone()
    assert row is not None
    before, held, sold = row
    if before != seen:
        raise StockChanged(_("Somebody else changed this stock meanwhile. Look at the new number, then save again."))
    if on_hand < held + sold:
        raise StockTaken(
            _("There cannot be fewer than are held and sold together. Nothing was changed."),
            taken=held + sold,
            field="on_hand",
        )
    reason = MoveReason(MoveCause.CORRECTION, words, by)
    await conn.execute(CORRECT, {"variant": variant_id, "on_hand": on_hand} | _why(reason))


async def list_movements(
    conn: Connection, *, variant_id: VariantId, before: int | None = None, limit: int
) -> tuple[StockMovement, ...]:
    """Movements of a variant, the newest first; `before`: only those older than this id."""
    rows = await conn.execute(
        "SELECT id, variant_id, moved_at, cause, person_id, note, on_hand_before, on_hand_after"
        " FROM inventory.stock_movements WHERE variant_id = %s AND (%s::bigint IS NULL OR id < %s)"
        " ORDER BY id DESC LIMIT %s",
        (variant_id, before, before, limit),
    )
    return tuple(
        StockMovement(row[0], row[1], row[2], MoveCause(row[3]), row[4], row[5], row[6], row[7])
        for row in await rows.fetchall()
    )


async def low_stock(conn: Connection, *, at_most: int) -> tuple[VariantId, ...]:
    """Variants of which at most so many items are free, the scarcest first, up to MAX_LOW."""
    rows = await conn.execute(
        "SELECT variant_id FROM inventory.stock WHERE on_hand - held - sold <= %s"
        " ORDER BY on_hand - held - sold, variant_id LIMIT %s",
        (at_most, MAX_LOW),
    )
    return tuple(row[0] for row in await rows.fetchall())


def _parameters(levels: Mapping[VariantId, int], reason: MoveReason) -> dict[str, Any]:
    variants = sorted(levels)
    return {"variants": variants, "levels": [levels[v] for v in variants]} | _why(reason)


def _why(reason: MoveReason) -> dict[str, Any]:
    return {"cause": reason.cause.value, "by": reason.by, "note": reason.note[:MAX_NOTE]}
