"""The books of a benchmark: what buyers were told, counted again in the database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import psycopg

Connection = psycopg.Connection[tuple[Any, ...]]

FIRST = UUID(int=0)

STOCK = """
SELECT coalesce(sum(on_hand), 0), coalesce(sum(held), 0), coalesce(sum(sold), 0),
       coalesce(sum(greatest(held + sold - on_hand, 0)), 0)
FROM inventory.stock WHERE variant_id = ANY(%s)
"""

PAID = """
SELECT coalesce(sum(l.quantity), 0) FROM checkout.order_lines l JOIN checkout.orders o ON o.id = l.order_id
WHERE o.state = 'paid' AND o.id >= %s AND l.variant_id = ANY(%s)
"""

HELD = """
SELECT coalesce(sum(l.quantity), 0) FROM inventory.hold_lines l JOIN inventory.holds h ON h.id = l.hold_id
WHERE h.state IN ('held', 'ordered') AND h.id >= %s AND l.variant_id = ANY(%s)
"""

LOST = """
SELECT count(*) FROM told t
LEFT JOIN checkout.orders o ON o.id = t.id AND o.state = 'paid'
WHERE o.id IS NULL
   OR (SELECT count(*) FROM payments.charges c WHERE c.order_id = t.id AND c.state = 'captured') <> 1
   OR (SELECT count(*) FROM inventory.holds h WHERE h.id = o.hold_id AND h.state = 'confirmed') <> 1
"""

TWICE_TOLD = "SELECT count(*) - count(DISTINCT id) FROM told"

TWICE_BOUGHT = """
SELECT coalesce(sum(n - 1), 0) FROM (
    SELECT count(*) AS n FROM checkout.orders
    WHERE id >= %s AND state NOT IN ('cancelled', 'refunded') GROUP BY buyer_id HAVING count(*) > 1
) AS doubled
"""

TWICE_CHARGED = """
SELECT coalesce(sum(n - 1), 0) FROM (
    SELECT count(*) AS n FROM payments.charges
    WHERE order_id >= %s AND state = 'captured' GROUP BY order_id HAVING count(*) > 1
) AS doubled
"""

UNTOLD = """
SELECT count(*) FROM checkout.orders o
WHERE o.id >= %s AND o.state = 'paid' AND NOT EXISTS (SELECT FROM told t WHERE t.id = o.id)
"""


@dataclass(frozen=True, slots=True)
class Books:
    """`untold` are paid orders whose answer never came; more of them than answers that failed are `duplicated`.

    `stock_off` is by how many items sold and held differ from what paid orders and live holds say.
    """

    told: int
    oversold: int
    lost: int
    duplicated: int
    untold: int
    stock_off: int

    def figures(self) -> dict[str, int]:
        """As they stand in a benchmark's figures."""
        return asdict(self)

    @property
    def exact(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.oversold or self.lost or self.duplicated or self.stock_off)


def recount(
    conn: Connection, *, variants: Sequence[UUID], told: Iterable[str], unknown: int, since: UUID = FIRST
) -> Books:
    """Compare the ids that were `told` to buyers with the database, from the id `since` on.

    `unknown` buyers got no answer: so many paid orders may be untold.
    """
    with conn.transaction():
        conn.execute("CREATE TEMPORARY TABLE told (id uuid NOT NULL) ON COMMIT DROP")
        with conn.cursor() as cursor, cursor.copy("COPY told (id) FROM STDIN") as copy:
            for each in told:
                copy.write_row((each,))
        conn.execute("CREATE INDEX ON told (id)")
        conn.execute("ANALYZE told")
        ids = list(variants)
        on_hand, held, sold, oversold = (int(each) for each in _row(conn, STOCK, (ids,)))
        paid = _count(conn, PAID, (since, ids))
        live = _count(conn, HELD, (since, ids))
        untold = _count(conn, UNTOLD, (since,))
        doubled = (
            _count(conn, TWICE_TOLD) + _count(conn, TWICE_BOUGHT, (since,)) + _count(conn, TWICE_CHARGED, (since,))
        )
        return Books(
            told=_count(conn, "SELECT count(*) FROM told"),
            oversold=max(oversold, paid + live - on_hand, 0),
            lost=_count(conn, LOST),
            duplicated=doubled + max(untold - unknown, 0),
            untold=untold,
            stock_off=abs(sold - paid) + abs(held - live),
        )


def _count(conn: Connection, statement: str, arguments: Sequence[Any] = ()) -> int:
    return int(_row(conn, statement, arguments)[0])


def _row(conn: Connection, statement: str, arguments: Sequence[Any] = ()) -> tuple[Any, ...]:
    row = conn.execute(statement.encode(), arguments).fetchone()
    assert row is not None
    return row
