"""A guest's holds become an account's."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from tidegate.platform.database import Connection
from tidegate.platform.ids import HoldId, PersonId


async def take_over_holds(
    conn: Connection, guest: PersonId, person: PersonId, *, ordered: Sequence[HoldId]
) -> list[HoldId]:
    """Make a guest's live holds and their `ordered` ones a person's, in the caller's transaction; returns these.

    What was used of limits moves along. All holds move or none: none where the person has used one of the same limits
    already, since the sum could be more than a buyer may have. Limits are locked before holds, as buying does.
    """
    rules = await _rules_of(conn, guest, ordered)
    await conn.execute(
        """
        SELECT 1 FROM inventory.buyer_limits WHERE rule_id = ANY (%s) AND buyer_id = ANY (%s)
        ORDER BY rule_id, buyer_id FOR UPDATE
        """,
        (list(rules), [guest, person]),
    )
    if await _rules_of(conn, guest, ordered) != rules or await _has_used(conn, person, rules):
        return []
    await conn.execute(
        "DELETE FROM inventory.buyer_limits WHERE rule_id = ANY (%s) AND buyer_id = %s", (list(rules), person)
    )
    await conn.execute(
        "UPDATE inventory.buyer_limits SET buyer_id = %s WHERE rule_id = ANY (%s) AND buyer_id = %s",
        (person, list(rules), guest),
    )
    moved = await (
        await conn.execute(
            """
            UPDATE inventory.holds SET buyer_id = %s
            WHERE id = ANY (ARRAY(
                SELECT id FROM inventory.holds WHERE buyer_id = %s AND state IN ('held', 'ordered')
            ) || %s::uuid[]) AND buyer_id = %s RETURNING id
            """,
            (person, guest, list(ordered), guest),
        )
    ).fetchall()
    return [HoldId(row[0]) for row in moved]


async def _rules_of(conn: Connection, guest: PersonId, ordered: Sequence[HoldId]) -> set[UUID]:
    """Whose limits the holds use: drops' and vouchers'; all zeros are in no limit."""
    rows = await (
        await conn.execute(
            """
            SELECT rule_id FROM inventory.holds CROSS JOIN LATERAL (VALUES (drop_id), (voucher_id)) AS r (rule_id)
            WHERE buyer_id = %(guest)s AND state IN ('held', 'ordered')
            UNION
            SELECT rule_id FROM inventory.holds CROSS JOIN LATERAL (VALUES (drop_id), (voucher_id)) AS r (rule_id)
            WHERE id = ANY (%(ordered)s) AND buyer_id = %(guest)s
            """,
            {"guest": guest, "ordered": list(ordered)},
        )
    ).fetchall()
    return {row[0] for row in rows if row[0].int}


async def _has_used(conn: Connection, person: PersonId, rules: set[UUID]) -> bool:
    row = await (
        await conn.execute(
            """
            SELECT 1 FROM inventory.buyer_limits
            WHERE rule_id = ANY (%s) AND buyer_id = %s AND (used > 0 OR live_hold_id IS NOT NULL) LIMIT 1
            """,
            (list(rules), person),
        )
    ).fetchone()
    return row is not None
