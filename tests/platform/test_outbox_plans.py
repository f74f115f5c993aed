"""Events are found by their keys, also where PostgreSQL expects that hardly any waits and many do."""

from __future__ import annotations

import pytest

from tests.rows_read import rows_read
from tidegate.platform.backoff import RetryPolicy
from tidegate.platform.database import Connection, Database
from tidegate.platform.ids import EventId
from tidegate.platform.outbox import (
    any_due,
    claim_events,
    count_late,
    fail_event,
    finish_events,
    load_events,
    release_events,
)

pytestmark = pytest.mark.anyio

TABLE = "platform.outbox"
MANY = 2_000
FEW = 50
ROUNDS = 12
"""From the eleventh time on a plan may be kept."""
POLICY = RetryPolicy(max_attempts=3, base_s=1.0, cap_s=10.0, lease_s=60.0)

FILL = """
INSERT INTO platform.outbox (id, topic, payload, state)
SELECT gen_random_uuid(), 'order.paid', '{}', %s FROM generate_series(1, %s)
"""


async def test_events_are_claimed_and_finished_without_reading_the_others(database: Database) -> None:
    async with database.transaction() as conn:
        await conn.execute(FILL, ("done", MANY))
        await conn.execute("ANALYZE platform.outbox")
        await conn.execute(FILL, ("pending", MANY))
        for _ in range(ROUNDS):
            before = await rows_read(conn, TABLE)
            claimed = [each.id for each in await claim_events(conn, limit=FEW, lease_s=60.0)]
            assert len(claimed) == FEW
            read = {"claim": await rows_read(conn, TABLE) - before}
            before = await rows_read(conn, TABLE)
            assert await any_due(conn)
            assert await count_late(conn, older_than_s=60.0) == 0
            read["look"] = await rows_read(conn, TABLE) - before
            for name, use in (("load", _load), ("release", _release), ("finish", _finish), ("fail", _fail)):
                before = await rows_read(conn, TABLE)
                await use(conn, claimed)
                read[name] = await rows_read(conn, TABLE) - before
            assert max(read.values()) <= 4 * FEW, read


async def _load(conn: Connection, ids: list[EventId]) -> None:
    events, _ = await load_events(conn, event_ids=ids, policy=POLICY)
    assert len(events) == len(ids)


async def _release(conn: Connection, ids: list[EventId]) -> None:
    await release_events(conn, event_ids=ids[:10])


async def _finish(conn: Connection, ids: list[EventId]) -> None:
    await finish_events(conn, event_ids=ids[:-1])


async def _fail(conn: Connection, ids: list[EventId]) -> None:
    await fail_event(conn, event_id=ids[-1], error=RuntimeError("no"), policy=POLICY, draw=0.5)
