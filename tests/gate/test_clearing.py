"""Rooms that are long over: places leave, and what was published of the draw stays to be checked for longer."""

from __future__ import annotations

import asyncio

import httpx
import psycopg
import pytest

from tests.checkout.buying import problem
from tests.gate.conftest import MakeRoom, account, join, let_open, room_of
from tests.waiting import eventually
from tidegate.gate import Gate, clear_places, close_room
from tidegate.gate.books import INVARIANTS
from tidegate.gate.log import BLOCK, Log
from tidegate.platform.database import Database
from tidegate.platform.settings import Settings

DROP = "/api/v1/drops/boots"


async def clear(database: Database, *, keep_days: int = 30, draw_keep_days: int = 730) -> int:
    """One round."""
    async with database.transaction() as conn:
        return await clear_places(conn, keep_days=keep_days, draw_keep_days=draw_keep_days)


async def close(database: Database, *, days_ago: int) -> None:
    async with database.transaction() as conn:
        await close_room(conn, slug="boots")
        await conn.execute("UPDATE gate.rooms SET closed_at = closed_at - make_interval(days => %s)", (days_ago,))


async def counts(database: Database) -> tuple[int, ...]:
    """Rows of places, given-up entries and kept blocks; and what the books find wrong."""
    async with database.connection() as conn:
        found = []
        for table in ("places", "former_entries", "kept_entries"):
            row = await (await conn.execute(f"SELECT count(*) FROM gate.{table}")).fetchone()
            assert row is not None
            found.append(row[0])
        wrong = [len(await (await conn.execute(rule.sql)).fetchall()) for rule in INVARIANTS]
    return (*found, sum(wrong))


async def entries(site: httpx.AsyncClient) -> list[bytes]:
    answer = await site.get(f"{DROP}/entries")
    assert answer.status_code == 200
    return [bytes.fromhex(line) for line in answer.text.split()]


async def told(site: httpx.AsyncClient, phase: str) -> None:
    """Wait until the site knows that the room is in this phase."""

    async def knows() -> bool:
        return bool((await site.get(f"{DROP}/status")).json()["phase"] == phase)

    await eventually(knows)


AT_ONCE = 300
"""Joins that a busy machine settles before the first of them has waited too long."""


@pytest.fixture
async def drawn(
    site: httpx.AsyncClient, gate: Gate, make_room: MakeRoom, database: Database, settings: Settings
) -> dict[str, str]:
    """A room with three blocks of entries that were drawn from, and people who came later; headers of one of all."""
    await make_room()
    await gate.refresh()
    await eventually(lambda: site.get(f"{DROP}/status"))
    who = await account(database)
    for start in range(0, 2 * BLOCK + 99, AT_ONCE):
        await asyncio.gather(*(join(gate) for _ in range(start, min(start + AT_ONCE, 2 * BLOCK + 99))))
    place = (await site.post(f"{DROP}/places", headers=who)).json()
    assert (await let_open(database, settings)).cut == 2 * BLOCK + 100
    await asyncio.gather(*(join(gate) for _ in range(50)))
    await told(site, "open")
    return {**who, "tidegate-ticket": place["ticket"], "place": f"{DROP}/places/{place['id']}"}


async def test_places_leave_and_the_draw_stays_checkable(
    drawn: dict[str, str], site: httpx.AsyncClient, database: Database
) -> None:
    address = drawn.pop("place")

    published = await entries(site)
    await close(database, days_ago=29)
    await told(site, "closed")
    assert await clear(database) == 0, "not before its time"
    await close(database, days_ago=2)
    done = [await clear(database) for _ in range(2)]
    assert done == [2 * BLOCK + 150, 0]
    assert await counts(database) == (0, 0, 3, 0)
    assert await entries(site) == published
    room = await room_of(database)
    assert Log().extended(published).root == room.cut_root
    assert (await site.get(f"{DROP}/draw")).json()["seed"] is not None
    assert problem(await site.get(address, headers=drawn)) == (404, "place-unknown")

    await close(database, days_ago=700)
    assert await clear(database) == 0
    assert (await room_of(database)).entries_gone

    async def refused() -> bool:
        answer = await site.get(f"{DROP}/entries")
        return answer.status_code == 410 and problem(answer) == (410, "entries-gone")

    await eventually(refused)
    assert [await clear(database) for _ in range(2)] == [3, 0]
    assert await counts(database) == (0, 0, 0, 0)
    assert (await site.get(f"{DROP}/draw")).json()["root"] == (room.cut_root or b"").hex(), "the draw itself stays"


async def test_rounds_are_bounded_and_may_end_anywhere(
    drawn: dict[str, str], site: httpx.AsyncClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.gate.clearing.BLOCKS_A_ROUND", 1)
    before = await entries(site)
    await close(database, days_ago=31)
    seen = []
    while await clear(database):
        seen.append(await counts(database))
        assert await entries(site) == before, "readable at every moment"
    assert [found[3] for found in seen] == [0, 0, 0]
    assert [found[0] for found in seen] == [BLOCK + 150, 150, 0]
    async with database.connection() as conn:
        with pytest.raises(psycopg.errors.CheckViolation):
            await conn.execute("UPDATE gate.rooms SET phase = 'open', closed_at = NULL")
