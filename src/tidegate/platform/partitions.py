"""Monthly partitions of the tables that grow with time.

All of them are partitioned by a UUIDv7, whose first 48 bits are its time: a month is a range of ids.
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql

from tidegate.platform.ids import id_floor

GROWING = (
    "platform.outbox",
    "notify.deliveries",
    "notify.inbox_messages",
    "inventory.holds",
    "inventory.hold_lines",
    "payments.charges",
    "payments.refunds",
    "checkout.orders",
    "checkout.order_lines",
)
"""Tables partitioned by month. Each has a default partition as a net: a missing month must not stop a sale."""

LOCK_KEY = 7413866180403

TARGETS = """
SELECT attname, attstattarget FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attstattarget >= 0
"""
"""How much ANALYZE is to learn of a table's columns, where it is said: a new partition does not take it over."""


def months(first: datetime, count: int) -> list[datetime]:
    """The starts of `count` months from the one of `first`, in UTC."""
    base = first.year * 12 + first.month - 1
    return [datetime((base + n) // 12, (base + n) % 12 + 1, 1, tzinfo=UTC) for n in range(count)]


def make_partitions(conn: psycopg.Connection[Any], *, months_ahead: int, tables: tuple[str, ...] = GROWING) -> int:
    """Make the partitions of this month and the `months_ahead` following; returns how many were new.

    `conn` is in autocommit mode. The clock is the database's. Processes that do this at once wait for each other.
    """
    with conn.transaction():
        conn.execute("SET LOCAL lock_timeout = '3s'")
        row = conn.execute("SELECT clock_timestamp(), pg_advisory_xact_lock(%s)", (LOCK_KEY,)).fetchone()
        assert row is not None
        starts = months(row[0].astimezone(UTC), months_ahead + 2)
        made = 0
        for table in tables:
            for start, end in itertools.pairwise(starts):
                made += _make_partition(conn, table, start, end)
        return made


def _make_partition(conn: psycopg.Connection[Any], table: str, start: datetime, end: datetime) -> int:
    schema, name = table.split(".")
    partition = f"{name}_{start:%Y_%m}"
    known = conn.execute("SELECT to_regclass(%s)", (f"{schema}.{partition}",)).fetchone()
    if known is not None and known[0] is not None:
        return 0
    conn.execute(
        sql.SQL("CREATE TABLE {} PARTITION OF {} FOR VALUES FROM ({}) TO ({})").format(
            sql.Identifier(schema, partition),
            sql.Identifier(schema, name),
            sql.Literal(str(id_floor(start))),
            sql.Literal(str(id_floor(end))),
        )
    )
    targets = [
        sql.SQL("ALTER COLUMN {} SET STATISTICS {}").format(sql.Identifier(column), sql.Literal(target))
        for column, target in conn.execute(TARGETS, (table,)).fetchall()
    ]
    if targets:
        conn.execute(
            sql.SQL("ALTER TABLE {} {}").format(sql.Identifier(schema, partition), sql.SQL(", ").join(targets))
        )
    return 1
