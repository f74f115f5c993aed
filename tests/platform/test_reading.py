"""Reads on a connection of their own: fast while it lives, and answered also when it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from psycopg import errors as pg

from tests.platform.entries import backend
from tidegate.platform import reading
from tidegate.platform.broken_network import Proxy
from tidegate.platform.database import Connection, Database, open_database
from tidegate.platform.reading import ReadLine, together
from tidegate.platform.settings import Settings


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    async with Proxy.before_postgres(database_url) as proxy:
        yield proxy


@pytest.fixture
async def through(settings: Settings, proxy: Proxy) -> AsyncIterator[Database]:
    """The database through the proxy."""
    url = type(settings.database_url)(proxy.url)
    async with open_database(settings.model_copy(update={"database_url": url})) as database:
        yield database


@pytest.fixture
async def line(through: Database) -> AsyncIterator[ReadLine]:
    line = ReadLine(through)
    yield line
    await line.close()


async def two_numbers(conn: Connection) -> list[tuple[int]]:
    async with together(conn):
        one = await conn.execute("SELECT %b::int", (1,), binary=True)
        two = await conn.execute("SELECT %b::int", (2,), binary=True)
    return [*await one.fetchall(), *await two.fetchall()]


async def pool_is_open(proxy: Proxy) -> None:
    """Nothing more comes through the proxy by itself."""
    seen = -1
    while seen != proxy.round_trips:
        seen = proxy.round_trips
        await asyncio.sleep(0.3)


async def test_what_is_read_together_takes_one_round_trip(line: ReadLine, proxy: Proxy) -> None:
    assert await line.run(two_numbers) == [(1,), (2,)]
    await pool_is_open(proxy)
    before = proxy.round_trips
    for _ in range(5):
        assert await line.run(two_numbers) == [(1,), (2,)]
    assert proxy.round_trips - before == 5


async def test_a_connection_that_was_ended_is_left_and_made_anew(
    line: ReadLine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = await line.run(backend)
    async with database.connection() as conn:
        await conn.execute("SELECT pg_terminate_backend(%s, 5000)", (own,))
    pooled = await line.run(backend)
    assert pooled not in (None, own)
    assert await line.run(two_numbers) == [(1,), (2,)], "the pool's connections do while it is left alone"
    monkeypatch.setattr(line, "_pool_until", 0.0)
    assert await line.run(backend) not in (None, own, pooled)


async def test_a_silent_network_holds_up_a_read_for_no_longer_than_its_bound(
    line: ReadLine, proxy: Proxy, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LONGEST_S", 0.2)
    await line.run(two_numbers)
    monkeypatch.setattr(line, "_database", database)  # whose pool the silence does not reach
    proxy.down.fall_silent()
    assert await line.run(two_numbers) == [(1,), (2,)]


async def test_a_read_that_fails_says_why_and_the_next_one_is_answered(line: ReadLine) -> None:
    async def wrong(conn: Connection) -> None:
        async with together(conn):
            await conn.execute("SELECT 1/%b::int", (0,), binary=True)

    with pytest.raises(pg.DivisionByZero):
        await line.run(wrong)
    assert await line.run(two_numbers) == [(1,), (2,)]
