"""Statements of the engine's connections: what goes out in a pipeline comes back as psycopg would have it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import AsyncPipeline
from psycopg import errors as pg

from tidegate.platform import pipelines
from tidegate.platform.pipelines import PipelinedConnection

NOON = datetime(2026, 6, 1, 12, 0, 0, 123_456, tzinfo=UTC)
EARLY = datetime(1969, 7, 20, 20, 17, 40, 1, tzinfo=timezone(timedelta(hours=-4)))
ID = UUID("01931e1c-0000-7000-8000-000000000001")

VALUES: list[tuple[str, Any]] = [
    ("uuid", [ID, uuid4()]),
    ("uuid", [None, ID]),
    ("bigint", [1, -(2**63), 2**63 - 1]),
    ("bigint", [None, 7]),
    ("int", [3, None]),
    ("text", ["", "ü", "a'b%"]),
    ("text", ["a", None]),
    ("bytea", [b"", b"\0\1"]),
    ("bytea", [None, b"x"]),
    ("boolean", [True, False]),
    ("boolean", [None, True]),
    ("timestamptz", [NOON, EARLY, NOON]),
    ("timestamptz", [None, EARLY]),
    ("uuid", [None, None]),
    ("text", []),
    ("text", ["GBP", "GBP", "GBP"]),
    ("text", ["GBP", "EUR", "GBP"]),
    ("int", [7, 7]),
    ("uuid", [ID, ID]),
    ("bytea", [b"", b""]),
    ("boolean", [True, True]),
    ("timestamptz", [NOON, NOON]),
    ("uuid", [None, None]),
    ("int", [None, None]),
    ("timestamptz", [None]),
]


@pytest.fixture
async def conn(entries_url: str) -> AsyncIterator[PipelinedConnection]:
    async with await PipelinedConnection.connect(entries_url, autocommit=True) as conn:
        yield conn


async def fetched(conn: PipelinedConnection, query: str, *params: object, binary: bool = True) -> list[tuple[Any, ...]]:
    return await (await conn.execute(query, params or None, binary=binary)).fetchall()


@pytest.mark.parametrize("binary", [True, False])
async def test_lists_come_back_as_they_were(conn: PipelinedConnection, binary: bool) -> None:
    async with conn.together():
        for kind, values in VALUES * 2:
            assert await fetched(conn, f"SELECT %b::{kind}[]", values, binary=binary) == [(values,)]


async def test_other_values_go_the_way_they_go_without_a_pipeline(conn: PipelinedConnection) -> None:
    query, values = "SELECT %s::int, %s::text, %s::uuid, %b::uuid, %s::timestamptz", (7, "seven", str(ID), ID, NOON)
    expected = await fetched(conn, query, *values)
    async with conn.together():
        assert await fetched(conn, query, *values) == expected
        assert await fetched(conn, "SELECT 7 %% 4, %s::text", None) == [(3, None)]
        assert await fetched(conn, "SELECT 7 % 4") == [(3,)], "without parameters a percent sign is one"
        with pytest.raises(pg.ProgrammingError, match="1 placeholders, not 2"):
            await conn.execute("SELECT %s", (1, 2))
        with pytest.raises(pg.DataError):
            await conn.execute("SELECT %b::text[]", (["a\0b", None],))
        with pytest.raises(pg.DataError):
            await conn.execute("SELECT %b::bigint[]", ([2**63, None],))


async def test_answers_of_one_statement_do_not_disturb_each_other(conn: PipelinedConnection) -> None:
    query = "SELECT n FROM unnest(%b::int[]) AS n"
    async with conn.together():
        first = await conn.execute(query, ([1, 2, 3],), binary=True)
        second = await conn.execute(query, ([4, 5],), binary=True)
        assert await first.fetchone() == (1,)
        assert await second.fetchall() == [(4,), (5,)]
        assert await first.fetchall() == [(2,), (3,)]
        assert await first.fetchone() is None
        assert (first.rowcount, second.statusmessage) == (3, "SELECT 2")


async def test_a_preparation_that_was_skipped_is_made_up_for(conn: PipelinedConnection) -> None:
    query = "SELECT %b::int[]"

    async def fail() -> None:
        async with conn.transaction():
            await conn.execute("SELECT 1 / 0")
            await conn.execute(query, ([1],), binary=True)

    async with conn.together():
        await conn.execute("BEGIN")
        with pytest.raises(pg.DivisionByZero):
            await fail()
        assert await fetched(conn, query, [2]) == [([2],)]
        await conn.execute("COMMIT")


async def test_a_rollback_forgets_what_was_prepared(conn: PipelinedConnection) -> None:
    async with conn.together():
        await conn.execute("BEGIN")
        assert await fetched(conn, "SELECT %b::int[]", [1]) == [([1],)]
    await conn.rollback()
    assert await fetched(conn, "SELECT count(*)::int FROM pg_prepared_statements") == [(0,)]
    async with conn.together():
        assert await fetched(conn, "SELECT %b::int[]", [1]) == [([1],)]


async def test_what_is_prepared_is_bounded(conn: PipelinedConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelines, "PREPARED_MAX", 3)
    async with conn.together():
        for _ in range(2):
            for n in range(6):
                assert await fetched(conn, f"SELECT {n}, %b::int[]", [n]) == [(n, [n])]
    assert await fetched(conn, "SELECT count(*)::int FROM pg_prepared_statements") == [(3,)]


async def test_an_error_at_the_end_leaves_a_connection_that_can_be_used(conn: PipelinedConnection) -> None:
    async def fail(query: str, *, bug: bool = False) -> None:
        async with conn.together():
            await conn.execute(query)
            if bug:
                raise LookupError

    with pytest.raises(pg.CheckViolation):
        await fail("INSERT INTO public.entries (request) VALUES (-1)")
    with pytest.raises(LookupError):
        await fail("SELECT 1 / 0", bug=True)
    async with conn.together():
        assert await fetched(conn, "SELECT 1") == [(1,)]
    assert await fetched(conn, "SELECT 2") == [(2,)]


async def test_an_end_that_was_not_answered_is_no_end(
    conn: PipelinedConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AsyncPipeline, "_fetch_gen", lambda pipeline, *, flush: iter(()))
    with pytest.raises(pg.OperationalError, match="before all of it was answered"):
        async with conn.together():
            await conn.execute("SELECT 1")
    assert conn.closed
