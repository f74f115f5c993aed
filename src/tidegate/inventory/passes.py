"""Which passes of waiting rooms were spent, and on how many items."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from tidegate.platform.database import Connection
from tidegate.platform.ids import PlaceId


class SpentPass(Struct, frozen=True):
    """A hold of `items` spent the place's pass; the database's clock says when."""

    place_id: PlaceId
    items: int
    spent_at: datetime


async def spent_passes(conn: Connection, *, place_ids: Sequence[PlaceId]) -> list[SpentPass]:
    """Those of these places whose pass was spent."""
    if not place_ids:
        return []
    rows = await conn.execute(
        "SELECT place_id, items, spent_at FROM inventory.spent_passes WHERE place_id = ANY(%s)", (list(place_ids),)
    )
    return [SpentPass(*row) for row in await rows.fetchall()]
