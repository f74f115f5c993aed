"""Months ahead of time, and the net below them."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg

from tidegate.platform.ids import id_floor, new_id
from tidegate.platform.partitions import GROWING, make_partitions, months


def test_months_cross_the_year() -> None:
    starts = months(datetime(2026, 11, 22, tzinfo=UTC), 3)
    assert [(start.year, start.month, start.day) for start in starts] == [(2026, 11, 1), (2026, 12, 1), (2027, 1, 1)]


def test_an_id_lies_in_the_month_of_its_making() -> None:
    before, fresh, after = datetime.now(UTC), new_id(), datetime.now(UTC)
    assert id_floor(months(before, 1)[0]) <= id_floor(before) <= fresh
    assert fresh < id_floor(months(after, 2)[1])


def test_making_them_again_makes_none_and_all_tables_have_theirs(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        assert make_partitions(conn, months_ahead=3) == 0, "the migration made them"
        assert make_partitions(conn, months_ahead=4) == len(GROWING)
        partitioned = conn.execute(
            "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " JOIN pg_partitioned_table p ON p.partrelid = c.oid WHERE p.partstrat = 'r' ORDER BY 1"
        ).fetchall()
        assert sorted(GROWING) == [row[0] for row in partitioned]


def test_a_row_finds_its_month_and_one_without_month_the_net(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        far = id_floor(datetime(2090, 1, 1, tzinfo=UTC))
        for event_id in (new_id(), far):
            conn.execute("INSERT INTO platform.outbox (id, topic, payload) VALUES (%s, 'x', '{}')", (event_id,))
        homes = conn.execute("SELECT tableoid::regclass::text FROM platform.outbox ORDER BY id").fetchall()
        now = datetime.now(UTC)
        assert homes == [(f"platform.outbox_{now:%Y_%m}",), ("platform.outbox_default",)]


def test_documents_and_what_is_sealed_are_analyzed_in_no_month(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        assert make_partitions(conn, months_ahead=6) == 3 * len(GROWING), "months that no migration has made"
        looked_at = conn.execute(
            "SELECT c.oid::regclass::text, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
            " JOIN pg_partition_tree('platform.idempotency_keys') AS t ON t.relid = c.oid"
            " WHERE a.attname = 'body' AND a.attstattarget IS DISTINCT FROM 0"
        ).fetchall()
        for table in GROWING:
            looked_at += conn.execute(
                "SELECT t.relid::regclass::text, a.attname FROM pg_partition_tree(%s) AS t"
                " JOIN pg_attribute a ON a.attrelid = t.relid"
                " WHERE (a.attname LIKE '%%\\_sealed' OR a.atttypid IN ('json'::regtype, 'jsonb'::regtype))"
                " AND a.attstattarget IS DISTINCT FROM 0",
                (table,),
            ).fetchall()
        assert looked_at == []
        months_of_orders = conn.execute(
            "SELECT relid::regclass::text, a.attstattarget FROM pg_partition_tree('checkout.orders')"
            " JOIN pg_attribute a ON a.attrelid = relid AND a.attname = 'state'"
        ).fetchall()
        assert len(months_of_orders) >= 9
        assert {target for _, target in months_of_orders} == {25}
