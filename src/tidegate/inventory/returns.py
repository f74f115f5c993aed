"""Sold items that go back to the stock: of a whole cancelled order, or of some lines that were given back."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from msgspec.structs import replace

from tidegate.inventory.contracts import HoldState
from tidegate.inventory.holds import ask_holds, read_holds, set_states
from tidegate.inventory.limits import ask_limits, counted, give_limits
from tidegate.inventory.rules import items_per_variant
from tidegate.inventory.stock import ask_stock, move_stock
from tidegate.platform.database import Connection
from tidegate.platform.ids import NO_DROP, HoldId, VariantId

INSERT = """
INSERT INTO inventory.returns (return_id, hold_id, variant_id, quantity)
SELECT %s, %s, * FROM unnest(%s::uuid[], %s::int[])
"""


async def undo_sale(conn: Connection, hold_id: HoldId) -> bool:
    """Give back all that a confirmed hold sold: its limits, then its stock. Whether there was something to undo.

    A drop that was opened again has forgotten what it took, so its limit gets nothing back. The order is locked by the
    caller.
    """
    hold = (await read_holds(await ask_holds(conn, [hold_id])))[hold_id]
    if hold.state is not HoldState.CONFIRMED:
        return False
    await ask_limits(conn, {key for key, _, _ in hold.taken})
    counts = hold.id in await counted(conn, [hold])
    await give_limits(conn, [hold if counts else replace(hold, drop_id=NO_DROP)])
    back = items_per_variant([hold])
    for variant_id, quantity in (await _returned(conn, hold_id)).items():
        back[variant_id] -= quantity
    await ask_stock(conn, back)
    await move_stock(conn, held={}, sold={variant_id: -quantity for variant_id, quantity in back.items()})
    await set_states(conn, [hold], HoldState.RELEASED)
    return True


async def return_items(conn: Connection, *, hold_id: HoldId, return_id: UUID, items: Mapping[VariantId, int]) -> None:
    """Put sold items back; the limits of their buyer stay used. The order is locked by the caller."""
    ordered = sorted(items)
    await conn.execute(INSERT, (return_id, hold_id, ordered, [items[variant_id] for variant_id in ordered]))
    await ask_stock(conn, ordered)
    await move_stock(conn, held={}, sold={variant_id: -quantity for variant_id, quantity in items.items()})


async def _returned(conn: Connection, hold_id: HoldId) -> dict[VariantId, int]:
    rows = await conn.execute(
        "SELECT variant_id, sum(quantity)::int FROM inventory.returns WHERE hold_id = %s GROUP BY variant_id",
        (hold_id,),
    )
    return {row[0]: row[1] for row in await rows.fetchall()}
