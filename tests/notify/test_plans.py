"""How PostgreSQL finds messages: by their keys, also where it expects few of them and there are many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.notify.hooking import endpoint, with_hooks
from tests.rows_read import rows_read
from tidegate.notify import shards, webhook_rounds
from tidegate.notify.deliveries import ANY_OF_THEM, _claim
from tidegate.notify.old_words import PENDING_MONTHS
from tidegate.notify.outcomes import Failure, mark_sent, note_failed
from tidegate.notify.webhook_endings import Ending, end_waiting, note_endings
from tidegate.notify.webhooks import disable_endpoint
from tidegate.platform.database import Connection, Database
from tidegate.platform.ids import new_id
from tidegate.platform.settings import Settings

WITHOUT_HASHING = """
WITH page AS MATERIALIZED (SELECT recipient_id FROM notify.follows WHERE recipient_id > %(after)s)
SELECT count(*) FROM page JOIN page AS again USING (recipient_id) WHERE %(event)s::uuid IS NOT NULL
"""
"""What this test must find, so that it can fail."""


def compared(plan: dict[str, Any]) -> Iterator[str]:
    """Parts of a plan in which what was gathered before is read anew for each row of something else."""
    if plan["Node Type"] == "Nested Loop":
        outer, inner = (part for part in plan["Plans"] if part["Parent Relationship"] in {"Outer", "Inner"})
        ways = outer["Node Type"] == "Function Scan"  # the ways to write to people, of which there are few
        if not ways and inner["Node Type"] in {"CTE Scan", "Seq Scan", "Materialize"}:
            yield f"{inner.get('CTE Name') or inner.get('Relation Name')} for each row"
    for part in plan.get("Plans", ()):
        yield from compared(part)


@pytest.mark.parametrize("page", [shards.ALL_OF_THEM, shards.MARKED_AS_TOLD], ids=["told each time", "told once"])
@pytest.mark.parametrize("whom", ["<> ALL", "= ANY"], ids=["a range", "those who moved"])
def test_no_follower_is_compared_with_each_other_however_few_are_expected(
    database_url: str, page: str, whom: str
) -> None:
    ids = [new_id() for _ in range(6)]
    values = {
        "event": ids[0],
        "topic": ids[1],
        "shard": 1,
        "template": "post",
        "inbox": True,
        "outward": ["email"],
        "no_outward": ["collection.email"],
        "locales": ["en_GB"],
        "words": [ids[2]],
        "shop_words": ids[3],
        "no_inbox": "collection.inbox",
        "after": ids[4],
        "upto": ids[5],
    }
    statement = shards.EXPAND.format(page=page.format(whom=whom), wanted=shards.WANTED)
    with psycopg.connect(database_url) as conn:
        # As PostgreSQL joins what it takes for one row each, whatever it expects of these tables.
        for better in ("hashjoin", "mergejoin", "seqscan"):
            conn.execute(f"SET enable_{better} = off")
        begun = conn.execute("SELECT clock_timestamp()").fetchone()
        plans = [
            conn.execute(f"EXPLAIN (VERBOSE, FORMAT JSON) {each}", values | {"begun": begun and begun[0]}).fetchone()
            for each in (statement, WITHOUT_HASHING)
        ]
    of_shards, of_control = (list(compared(row[0][0]["Plan"])) for row in plans if row)
    assert of_shards == []
    assert of_control == ["page for each row"]


TABLE = "notify.deliveries"
MANY = 2_000
FEW = 50

FILL = """
INSERT INTO notify.deliveries
    (event_id, recipient_id, channel, address_sealed, template, variables, state, sent_at, shard_no, bulk)
SELECT uuidv7(), coalesce(%(recipient)s::uuid, uuidv7()), %(channel)s,
    CASE WHEN %(channel)s = 'email' THEN 'sealed'::bytea END, 'order_paid', '{}', %(state)s,
    CASE WHEN %(state)s = 'sent' THEN now() END, %(shard)s, true
FROM generate_series(1, %(count)s)
"""


async def fill(conn: Connection, state: str, channel: str, count: int, **more: object) -> None:
    """Deliveries, each of an event of its own."""
    values = {"recipient": None, "shard": None} | more
    await conn.execute(FILL, values | {"state": state, "channel": channel, "count": count})


async def full(conn: Connection, channel: str, **more: object) -> None:
    """Much was sent, as PostgreSQL knows, and much waits by now, as it does not."""
    await fill(conn, "sent", "inbox", MANY, shard=1)
    await conn.execute("ANALYZE notify.deliveries")
    await fill(conn, "pending", channel, MANY, **more)


@pytest.mark.anyio
async def test_webhooks_are_claimed_and_ended_without_reading_the_others_again(
    database: Database, settings: Settings
) -> None:
    endpoint = new_id()
    async with database.transaction() as conn:
        await full(conn, "webhook", recipient=endpoint)
        before = await rows_read(conn, TABLE)
        claimed = await webhook_rounds._claim(conn, settings.webhooks, endpoint, limit=FEW)
        assert len(claimed) == FEW
        read = await rows_read(conn, TABLE)
        assert read - before <= MANY + 3 * FEW  # all of them may be sorted once
        await note_endings(
            conn, endpoint_id=endpoint, endings=[Ending.sent(each.event_id, status_code=200) for each in claimed]
        )
        assert await rows_read(conn, TABLE) - read <= 3 * FEW
        left = await conn.execute("SELECT count(*) FROM notify.deliveries WHERE state = 'pending'")
        assert await left.fetchone() == (MANY - FEW,)


@pytest.mark.anyio
async def test_what_an_endpoint_gets_later_is_not_read_before(database: Database, settings: Settings) -> None:
    made = (await endpoint(database, with_hooks(settings), "https://shop.example/hook")).endpoint
    async with database.transaction() as conn:
        await full(conn, "webhook", recipient=made.endpoint_id)
        await conn.execute("UPDATE notify.deliveries SET next_attempt_at = now() + interval '1 hour'")
        before = await rows_read(conn, TABLE)
        assert await webhook_rounds._claim(conn, settings.webhooks, made.endpoint_id, limit=FEW) == []
        assert await rows_read(conn, TABLE) - before <= FEW


@pytest.mark.anyio
async def test_what_waits_for_a_disabled_endpoint_ends_without_reading_what_waits_for_others(
    database: Database, settings: Settings
) -> None:
    made = (await endpoint(database, with_hooks(settings), "https://shop.example/hook")).endpoint
    async with database.transaction() as conn:
        await full(conn, "webhook", recipient=new_id())
        await fill(conn, "pending", "webhook", FEW, recipient=made.endpoint_id)
        await disable_endpoint(conn, endpoint_id=made.endpoint_id)
        before = await rows_read(conn, TABLE)
        assert await end_waiting(conn, limit=MANY) == FEW
        assert await rows_read(conn, TABLE) - before <= 3 * FEW


@pytest.mark.anyio
async def test_whether_a_month_has_something_that_waits_is_known_without_reading_it(database: Database) -> None:
    asked = PENDING_MONTHS["notify.deliveries"].format(month="notify.deliveries")
    async with database.transaction() as conn:
        await fill(conn, "sent", "inbox", MANY, shard=1)
        await fill(conn, "sent", "email", MANY)
        await conn.execute("ANALYZE notify.deliveries")
        before = await rows_read(conn, TABLE)
        assert await (await conn.execute(asked)).fetchone() is None
        assert await rows_read(conn, TABLE) == before
        await fill(conn, "pending", "email", 1)
        assert await (await conn.execute(asked)).fetchone() is not None
        assert await rows_read(conn, TABLE) - before <= 1


@pytest.mark.anyio
@pytest.mark.parametrize("outcome", ["sent", "failed"])
async def test_a_receipt_is_claimed_and_marked_without_reading_what_waits_for_others(
    outcome: str, database: Database, settings: Settings
) -> None:
    async with database.transaction() as conn:
        await full(conn, "email", shard=1)
        await fill(conn, "pending", "email", 1)
        found = await conn.execute("SELECT event_id FROM notify.deliveries WHERE shard_no IS NULL")
        before = await rows_read(conn, TABLE)
        values = {"events": [row[0] for row in await found.fetchall()], "ending": "@shop.example"}
        claimed = await _claim(
            conn, settings=settings, whom=ANY_OF_THEM, order="next_attempt_at", limit=FEW, values=values
        )
        assert len(claimed) == 1
        if outcome == "sent":
            await mark_sent(conn, claimed)
        else:
            await note_failed(conn, settings, lambda: 0.5, [(each, Failure("away")) for each in claimed])
        assert await rows_read(conn, TABLE) - before <= 5
