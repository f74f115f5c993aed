"""Counting again finds what was lost, doubled or sold twice; and what it is told of a sound shop is nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest

from benchmarks.goods import add_buyers, sell
from benchmarks.history import add_orders, make_past_partitions
from benchmarks.recount import Books, recount
from tidegate.platform.ids import new_id
from tidegate.platform.settings import Settings

Connection = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def conn(settings: Settings) -> Iterator[Connection]:
    """A database with three paid orders in it."""
    with psycopg.connect(settings.require_database_url(), autocommit=True) as conn:
        make_past_partitions(conn, now=datetime.now(UTC))
        add_orders(conn, count=3, end=datetime.now(UTC))
        yield conn


@pytest.fixture
def sold(conn: Connection) -> UUID:
    """A variant on sale, five of it."""
    return sell(conn, variants=1, on_hand=5)[1][0]


def ids(conn: Connection) -> list[str]:
    return [str(row[0]) for row in conn.execute("SELECT id FROM checkout.orders ORDER BY id").fetchall()]


def count(conn: Connection, variant: UUID, told: list[str], unknown: int = 0) -> Books:
    return recount(conn, variants=[variant], told=told, unknown=unknown)


def test_all_told_is_exact(conn: Connection, sold: UUID) -> None:
    books = count(conn, sold, ids(conn))
    assert books.exact
    assert (books.told, books.untold) == (3, 0)


def test_a_promise_that_is_not_there_is_lost(conn: Connection, sold: UUID) -> None:
    assert count(conn, sold, [*ids(conn), str(new_id())]).lost == 1
    conn.execute("DELETE FROM payments.charges WHERE order_id = %s", (ids(conn)[0],))
    assert count(conn, sold, ids(conn)).lost == 1


def test_an_order_that_nobody_was_told_of_is_doubled_unless_an_answer_is_missing(conn: Connection, sold: UUID) -> None:
    told = ids(conn)[1:]
    assert count(conn, sold, told).duplicated == 1
    assert count(conn, sold, told, unknown=1).exact


def test_the_same_order_told_twice_and_two_orders_of_one_buyer_are_doubled(conn: Connection, sold: UUID) -> None:
    told = ids(conn)
    assert count(conn, sold, [*told, told[0]]).duplicated == 1
    conn.execute("UPDATE checkout.orders SET buyer_id = %s WHERE id = ANY(%s)", (new_id(), told[:2]))
    assert count(conn, sold, told).duplicated == 1


def test_stock_that_differs_from_orders_shows(conn: Connection, sold: UUID) -> None:
    conn.execute("UPDATE inventory.stock SET sold = 2 WHERE variant_id = %s", (sold,))
    assert count(conn, sold, ids(conn)).stock_off == 2


def test_more_paid_than_there_was_is_oversold(conn: Connection, sold: UUID) -> None:
    conn.execute("UPDATE checkout.order_lines SET variant_id = %s, quantity = 2", (sold,))
    assert count(conn, sold, ids(conn)).oversold == 1


def test_buyers_have_sessions_of_their_own(conn: Connection) -> None:
    people = add_buyers(conn, first=5, count=20)
    rows = conn.execute("SELECT person_id FROM accounts.sessions WHERE expires_at > clock_timestamp()").fetchall()
    assert sorted(row[0] for row in rows) == sorted(people)
