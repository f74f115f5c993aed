"""Taking holds out of the record as if they had never been: for what was only tried out, never for a sale."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from tidegate.platform.database import Connection
from tidegate.platform.ids import VariantId

FIND = """
SELECT id FROM inventory.holds AS h WHERE h.order_id = ANY(%s) OR (
    h.order_id IS NULL AND EXISTS (
        SELECT FROM inventory.hold_lines AS l WHERE l.hold_id = h.id AND l.variant_id = ANY(%s)
    )
) FOR UPDATE
"""
GIVE_LIMITS_BACK = """
UPDATE inventory.buyer_limits AS b SET used = greatest(0, b.used - t.used),
    live_hold_id = CASE WHEN b.live_hold_id = ANY(%(ids)s) THEN NULL ELSE b.live_hold_id END
FROM (
    SELECT rule_id, buyer_id, sum(used)::int AS used FROM (
        SELECT h.drop_id AS rule_id, h.buyer_id, l.quantity AS used
        FROM inventory.holds AS h
        JOIN inventory.hold_lines AS l ON l.hold_id = h.id
        JOIN inventory.buyer_limits AS c ON c.rule_id = h.drop_id AND c.buyer_id = h.buyer_id
        WHERE h.id = ANY(%(ids)s) AND h.state IN ('held', 'ordered', 'confirmed')
            AND (h.created_at >= c.counts_from OR h.id = c.carried_hold_id)
        UNION ALL
        SELECT h.voucher_id, p.buyer_id, 1
        FROM inventory.holds AS h
        CROSS JOIN LATERAL (
            VALUES (h.buyer_id), ('00000000-0000-0000-0000-000000000000'::uuid)
        ) AS p (buyer_id)
        WHERE h.id = ANY(%(ids)s) AND h.state IN ('held', 'ordered', 'confirmed')
    ) AS took GROUP BY rule_id, buyer_id
) AS t WHERE b.rule_id = t.rule_id AND b.buyer_id = t.buyer_id
"""
GIVE_STOCK_BACK = """
UPDATE inventory.stock AS s SET held = s.held - t.held, sold = s.sold - t.sold, updated_at = clock_timestamp()
FROM (
    SELECT l.variant_id,
        coalesce(sum(l.quantity) FILTER (WHERE h.state IN ('held', 'ordered')), 0)::int AS held,
        coalesce(sum(l.quantity - coalesce(r.quantity, 0)) FILTER (WHERE h.state = 'confirmed'), 0)::int AS sold
    FROM inventory.holds AS h
    JOIN inventory.hold_lines AS l ON l.hold_id = h.id
    LEFT JOIN (
        SELECT hold_id, variant_id, sum(quantity) AS quantity FROM inventory.returns
        WHERE hold_id = ANY(%(ids)s) GROUP BY hold_id, variant_id
    ) AS r ON r.hold_id = h.id AND r.variant_id = l.variant_id
    WHERE h.id = ANY(%(ids)s) GROUP BY l.variant_id
) AS t WHERE s.variant_id = t.variant_id
"""


async def erase_holds(conn: Connection, *, order_ids: Collection[UUID], variant_ids: Collection[VariantId]) -> int:
    """Erase the holds of orders, and those of these variants that nobody ordered; returns how many.

    What they took of stock, drops' limits and vouchers is given back, less what was returned before. In the caller's
    transaction.
    """
    found = await conn.execute(FIND, (list(order_ids), list(variant_ids)))
    ids = {"ids": [row[0] for row in await found.fetchall()]}
    await conn.execute(GIVE_LIMITS_BACK, ids)
    await conn.execute(GIVE_STOCK_BACK, ids)
    await conn.execute("DELETE FROM inventory.returns WHERE hold_id = ANY(%(ids)s)", ids)
    await conn.execute("DELETE FROM inventory.spent_passes WHERE hold_id = ANY(%(ids)s)", ids)
    await conn.execute("DELETE FROM inventory.hold_lines WHERE hold_id = ANY(%(ids)s)", ids)
    await conn.execute("DELETE FROM inventory.holds WHERE id = ANY(%(ids)s)", ids)
    return len(ids["ids"])


async def erase_stock(conn: Connection, *, variant_ids: Collection[VariantId]) -> None:
    """Forget the stock of variants that nothing holds or has sold any more, and its history."""
    await conn.execute("DELETE FROM inventory.stock_movements WHERE variant_id = ANY(%s)", (list(variant_ids),))
    await conn.execute("DELETE FROM inventory.stock WHERE variant_id = ANY(%s)", (list(variant_ids),))
