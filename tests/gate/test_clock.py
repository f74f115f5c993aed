"""The clock is set, back and forth: phases never go back, a draw is made once, and no more enter than before.

All times of rooms are the database's. Here its clock is one that can be set: our statements name functions such as
`clock_timestamp` without a schema, so that the search path decides whose they mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from tests.gate.conftest import MakeRoom, join, room_of
from tests.gate.test_admission import Queue, line, shop
from tests.servers import TestCluster
from tidegate.entrypoints.admission import shop_admission
from tidegate.gate import Gate, Phase, open_gate, open_rooms_once
from tidegate.gate.controller import Facts, Limits, Memory, begin, decide
from tidegate.platform.database import Database
from tidegate.platform.settings import Settings

__all__ = ["line", "shop"]

SET_CLOCK = """
CREATE SCHEMA stepped;
CREATE TABLE stepped.by (step interval NOT NULL);
INSERT INTO stepped.by VALUES ('0');
CREATE FUNCTION stepped.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
    RETURN (SELECT pg_catalog.clock_timestamp() + step FROM stepped.by);
CREATE FUNCTION stepped.now() RETURNS timestamptz LANGUAGE sql STABLE
    RETURN (SELECT pg_catalog.now() + step FROM stepped.by);
"""


@pytest.fixture
def database_url(cluster: TestCluster) -> Iterator[str]:
    """A database whose clock can be set."""
    url = cluster.clone()
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(SET_CLOCK)
        conn.execute(f"ALTER DATABASE {conn.info.dbname} SET search_path = stepped, pg_catalog, public")
    yield url
    cluster.drop(url)


async def set_clock(database: Database, step_s: float) -> None:
    """Let the database's clock be so many seconds off."""
    async with database.transaction() as conn:
        await conn.execute("UPDATE stepped.by SET step = make_interval(secs => %s)", (step_s,))


@pytest.fixture
async def gate(database: Database, settings: Settings) -> AsyncIterator[Gate]:
    async with open_gate(database, settings) as gate:
        yield gate


async def test_phases_never_go_back_and_there_is_one_draw(
    gate: Gate, make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    await make_room(opens_in_s=600, lobby_in_s=300)
    phases, seen = [], set()
    for step_s in (0, 301, -3_600, 302, 599, 0, 601, 599, -86_400, 700, 86_400, 0):
        await set_clock(database, step_s)
        await asyncio.gather(*(open_rooms_once(database) for _ in range(3)))
        room = await room_of(database)
        phases.append(room.phase)
        seen.add((room.drawn_at, room.seed, room.cut))
        if room.phase is not Phase.SCHEDULED:
            await join(gate)
    order = [Phase.SCHEDULED, Phase.LOBBY, Phase.OPEN]
    assert phases == sorted(phases, key=order.index)
    assert phases[:2] + phases[6:7] == order, "each with the first clock that said so"
    assert len(seen) == 2, "not drawn, and then drawn once"
    assert (await room_of(database)).cut == 5, "who came before the cut, and nobody after it"


async def test_no_more_enter_and_the_line_goes_on(line: Queue, settings: Settings) -> None:
    await line.begin(people=12, stock=4)
    others = [shop_admission(line.database, settings) for _ in range(2)]
    for step_s in (0, 3_600, -3_600, 0):
        await set_clock(line.database, step_s)
        for _ in range(3):
            await asyncio.gather(*(each.once() for each in others))
        states = await line.states()
        assert states.count("a") <= 4, "never more inside than there is something for"
        assert "aw" in states or "ew" in states, states
    assert "w" in (await line.states())
    first = (await line.states()).index("a")
    await line.buy(first)
    await line.tick(2)
    for step_s in (-86_400, 86_400, 0):
        await set_clock(line.database, step_s)
        await line.tick(2)
        assert (await line.states())[first] == "s", "a spent pass stays spent"
    async with line.database.connection() as conn:
        rows = await conn.execute("SELECT count(*) FROM inventory.spent_passes")
        assert await rows.fetchone() == (1,)


def test_a_clock_that_was_set_back_does_not_silence_the_engine() -> None:
    limits = Limits(1, 100.0, 500.0)

    def after(now_s: float, memory: Memory) -> Memory:
        facts = Facts(
            now_s=now_s, free=10_000, held=0, inside=0, waiting=10_000, engine_p99_ms=5_000.0, measured_s=now_s - 1
        )
        return decide(facts, memory, limits).memory

    first = after(100_000.0, begin(limits))
    assert after(99_998.5, first).measured_s == first.measured_s, "another scheduler's, and older"
    assert after(50_000.0, first).measured_s == 49_999.0
