"""Old data leaves, and nothing that is still needed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tidegate.platform.database import Database
from tidegate.platform.ids import id_floor
from tidegate.platform.retention import KEPT_LONGER, delete_old_keys, drop_finished_partitions

OLD = datetime(2020, 3, 5, tzinfo=UTC)


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as conn:
        yield conn


def make_old_partition(conn: psycopg.Connection[Any]) -> None:
    start, end = (id_floor(datetime(2020, month, 1, tzinfo=UTC)) for month in (3, 4))
    conn.execute(
        f"CREATE TABLE platform.outbox_2020_03 PARTITION OF platform.outbox FOR VALUES FROM ('{start}') TO ('{end}')"
    )


def add_event(conn: psycopg.Connection[Any], state: str) -> None:
    conn.execute(
        "INSERT INTO platform.outbox (id, topic, payload, state) VALUES (%s, 'x', '{}', %s)", (id_floor(OLD), state)
    )


def test_a_finished_month_is_dropped_when_it_is_old_enough(conn: psycopg.Connection[Any]) -> None:
    make_old_partition(conn)
    add_event(conn, "done")
    assert drop_finished_partitions(conn, keep_days=100_000) == []
    assert drop_finished_partitions(conn, keep_days=90) == ["platform.outbox_2020_03"]
    assert drop_finished_partitions(conn, keep_days=90) == []
    assert conn.execute("SELECT count(*) FROM platform.outbox").fetchone() == (0,)


def test_a_month_in_which_something_is_pending_stays(conn: psycopg.Connection[Any]) -> None:
    make_old_partition(conn)
    add_event(conn, "pending")
    assert drop_finished_partitions(conn, keep_days=90) == []
    conn.execute("UPDATE platform.outbox SET state = 'dead'")
    assert drop_finished_partitions(conn, keep_days=90) == ["platform.outbox_2020_03"]


def test_a_month_that_somebody_uses_is_left_for_the_next_time(conn: psycopg.Connection[Any], database_url: str) -> None:
    make_old_partition(conn)
    with psycopg.connect(database_url) as reader:
        reader.execute("SELECT 1 FROM platform.outbox_2020_03")
        assert drop_finished_partitions(conn, keep_days=90) == []
    assert drop_finished_partitions(conn, keep_days=90) == ["platform.outbox_2020_03"]


def test_an_old_month_of_inboxes_is_dropped_by_its_age_alone(conn: psycopg.Connection[Any]) -> None:
    start, end = (id_floor(datetime(2020, month, 1, tzinfo=UTC)) for month in (3, 4))
    conn.execute(
        "CREATE TABLE notify.inbox_messages_2020_03 PARTITION OF notify.inbox_messages"
        f" FOR VALUES FROM ('{start}') TO ('{end}')"
    )
    conn.execute(
        "INSERT INTO notify.inbox_messages (event_id, recipient_id, subject, body) VALUES (%s, %s, 'x', 'y')",
        (id_floor(OLD), uuid4()),
    )
    assert drop_finished_partitions(conn, keep_days=90) == []
    assert drop_finished_partitions(conn, keep_days=100_000, tables=KEPT_LONGER) == []
    assert drop_finished_partitions(conn, keep_days=730, tables=KEPT_LONGER) == ["notify.inbox_messages_2020_03"]
    assert conn.execute("SELECT count(*) FROM notify.inbox_messages").fetchone() == (0,)


@pytest.mark.anyio
async def test_old_keys_leave_in_bounded_batches(database: Database) -> None:
    async with database.transaction() as conn:
        for age in ("31 days", "40 days", "50 days", "29 days"):
            await conn.execute(
                """
                INSERT INTO platform.idempotency_keys (buyer_id, key, fingerprint, state, claimed_at)
                VALUES (%s, 'k', sha256('x'), 'claimed', clock_timestamp() - %s::interval)
                """,
                (uuid4(), age),
            )
        assert await delete_old_keys(conn, keep_days=30, limit=2) == 2
        assert await delete_old_keys(conn, keep_days=30, limit=2) == 1
        assert await delete_old_keys(conn, keep_days=30, limit=2) == 0
