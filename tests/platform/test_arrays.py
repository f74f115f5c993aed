"""Lists that the engine's connections write as arrays, read back by PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import DataError

from tidegate.platform.arrays import write_lists_fast

Connection = psycopg.Connection[tuple[Any, ...]]

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
BIGINTS = st.integers(-(2**63), 2**63 - 1)
LISTS: dict[str, st.SearchStrategy[list[Any]]] = {
    "uuid": st.lists(st.uuids()),
    "bigint": st.lists(BIGINTS),
    "text": st.lists(TEXTS),
    "bytea": st.lists(st.binary(max_size=20)),
    "boolean": st.lists(st.booleans()),
}


@pytest.fixture
def conn(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as conn:
        write_lists_fast(conn)
        yield conn


def read_back(conn: Connection, kind: str, values: list[Any]) -> object:
    row = (conn.execute(f"SELECT %s::{kind}[]".encode(), (values,))).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize("kind", LISTS)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_list_comes_back_as_it_was(conn: Connection, kind: str, data: st.DataObject) -> None:
    values: list[Any] = data.draw(LISTS[kind])
    assert read_back(conn, kind, values) == values
    # One with a null goes psycopg's way.
    assert read_back(conn, kind, [*values, None]) == [*values, None]


def test_what_has_no_fast_way_goes_psycopgs(conn: Connection) -> None:
    noon = datetime(2026, 6, 1, 12, tzinfo=UTC)
    assert read_back(conn, "timestamptz", [noon]) == [noon]
    assert read_back(conn, "int", [[1, 2], [3, 4]]) == [[1, 2], [3, 4]]
    assert read_back(conn, "uuid", []) == []


def test_integers_of_any_size_have_one_type(conn: Connection) -> None:
    for number in (1, 2**20, 2**40):
        rows = conn.execute("SELECT pg_typeof(%s)::text", ([number],))
        assert rows.fetchone() == ("bigint[]",)


@pytest.mark.parametrize("values", [["a\0b"], [2**63], [-(2**63) - 1]])
def test_what_no_array_can_hold_is_refused_before_it_is_sent(conn: Connection, values: list[Any]) -> None:
    with pytest.raises(DataError):
        conn.execute("SELECT %s", (values,))
    assert read_back(conn, "uuid", [UUID(int=1)]) == [UUID(int=1)]
