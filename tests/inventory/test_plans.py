"""Holds are found by their keys and times, also where PostgreSQL expects that hardly any lives and many do."""

from __future__ import annotations

import pytest

from tests.rows_read import rows_read
from tidegate import inventory
from tidegate.inventory import HoldState
from tidegate.inventory.holds import THESE_OVER, due_holds, expire_holds
from tidegate.platform.database import Connection, Database
from tidegate.platform.ids import NO_DROP, PersonId, VariantId, new_id

pytestmark = pytest.mark.anyio

TABLE = "inventory.holds"
MANY = 2_000
FEW = 50

ROUNDS = 12
"""From the eleventh time on a plan may be kept."""

FILL = """
WITH made AS (INSERT INTO inventory.holds (id, buyer_id, drop_id, state, order_id, expires_at)
SELECT gen_random_uuid(), gen_random_uuid(), %(drop)s, %(state)s,
    CASE WHEN %(state)s = 'confirmed' THEN gen_random_uuid() END, clock_timestamp() + make_interval(secs => %(left_s)s)
FROM generate_series(1, %(count)s) RETURNING id)
INSERT INTO inventory.hold_lines (hold_id, variant_id, quantity, unit_amount, currency)
SELECT id, %(variant)s, 1, 100, 'GBP' FROM made
"""
VARIANT = VariantId(new_id())


async def fill(conn: Connection, state: str, count: int, *, left_s: float = 300.0) -> None:
    values = {"drop": NO_DROP, "variant": VARIANT, "state": state, "count": count, "left_s": left_s}
    await conn.execute(FILL, values)


def test_what_is_held_is_named_by_all_that_it_is_not() -> None:
    assert [state for state in HoldState if f"'{state.value}'" not in THESE_OVER] == [HoldState.HELD]


async def test_what_is_over_is_found_and_ended_without_reading_what_lives(database: Database) -> None:
    async with database.transaction() as conn:
        await inventory.set_stock(conn, levels={VARIANT: MANY})
        await conn.execute("UPDATE inventory.stock SET held = %s", (ROUNDS * FEW,))
        await fill(conn, "confirmed", MANY)
        await conn.execute("ANALYZE inventory.holds")
        await fill(conn, "held", MANY)
        await fill(conn, "held", MANY, left_s=-1.0)
        for _ in range(ROUNDS):
            before = await rows_read(conn, TABLE)
            due = await due_holds(conn, limit=FEW)
            assert len(due) == FEW
            found = await rows_read(conn, TABLE) - before
            assert await expire_holds(conn, due) == FEW
            ended = await rows_read(conn, TABLE) - before - found
            assert found <= MANY + FEW  # all that are over may be sorted once
            assert ended <= 4 * FEW
            assert await inventory.live_holds(conn, buyer_id=PersonId(new_id())) == []
            assert await rows_read(conn, TABLE) - before - found - ended <= FEW
