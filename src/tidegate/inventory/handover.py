"""A guest's holds become an account's."""

from __future__ import annotations

from tidegate.platform.database import Connection
from tidegate.platform.ids import PersonId


async def take_over_holds(conn: Connection, guest: PersonId, person: PersonId) -> None:
    """Make a guest's holds a person's, in the caller's transaction; limits move with them.

    Limits are locked before holds, as the engine does. All of the guest's holds move or none: where the person has used
    one of the same limits already, nothing does, since the sum could be more than a buyer may have.
    """
    await conn.execute(
        """
        SELECT 1 FROM inventory.buyer_limits WHERE buyer_id = ANY (%s) ORDER BY rule_id, buyer_id FOR UPDATE
        """,
        ([guest, person],),
    )
    taken = await (
        await conn.execute(
            """
            SELECT 1 FROM inventory.buyer_limits g JOIN inventory.buyer_limits p USING (rule_id)
            WHERE g.buyer_id = %s AND p.buyer_id = %s AND (p.used > 0 OR p.live_hold_id IS NOT NULL) LIMIT 1
            """,
            (guest, person),
        )
    ).fetchone()
    if taken is not None:
        return
    await conn.execute(
        """
        DELETE FROM inventory.buyer_limits p USING inventory.buyer_limits g
        WHERE p.buyer_id = %s AND g.buyer_id = %s AND g.rule_id = p.rule_id
        """,
        (person, guest),
    )
    await conn.execute("UPDATE inventory.buyer_limits SET buyer_id = %s WHERE buyer_id = %s", (person, guest))
    await conn.execute("UPDATE inventory.holds SET buyer_id = %s WHERE buyer_id = %s", (person, guest))


async def buyers_of(conn: Connection, *, hold_ids: list[object]) -> set[PersonId]:
    """Whose these holds are."""
    rows = await (
        await conn.execute("SELECT DISTINCT buyer_id FROM inventory.holds WHERE id = ANY (%s)", (hold_ids,))
    ).fetchall()
    return {PersonId(row[0]) for row in rows}
