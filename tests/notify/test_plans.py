"""How PostgreSQL works on a shard: never so that each of its followers is compared with each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tidegate.notify import shards
from tidegate.platform.ids import new_id

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
