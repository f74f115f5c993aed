"""A guest's purchases become an account's, when the guest signs in."""

from __future__ import annotations

from tidegate import inventory
from tidegate.platform.database import Connection
from tidegate.platform.idempotency import in_flight, move_keys
from tidegate.platform.ids import HoldId, PersonId


async def take_over_purchases(conn: Connection, guest: PersonId, person: PersonId) -> None:
    """Make a guest's holds and orders a person's, with the answers kept for their requests.

    Nothing moves while a request of the guest's is still being answered, or where the person has used the same limit
    already (see `inventory.take_over_holds`): it then stays the guest's, and expires or is paid as it would have been.
    """
    if await in_flight(conn, buyer_id=guest):
        return
    rows = await conn.execute(
        "SELECT hold_id FROM checkout.orders WHERE buyer_id = %s ORDER BY id FOR NO KEY UPDATE", (guest,)
    )
    ordered = [HoldId(row[0]) for row in await rows.fetchall()]
    moved = await inventory.take_over_holds(conn, guest, person, ordered=ordered)
    if not moved:
        return
    # Holds are locked by now: whoever orders one of them from here on finds that it is no longer the guest's.
    await conn.execute(
        "UPDATE checkout.orders SET buyer_id = %s WHERE buyer_id = %s AND hold_id = ANY (%s)", (person, guest, moved)
    )
    await move_keys(conn, before=guest, after=person)
