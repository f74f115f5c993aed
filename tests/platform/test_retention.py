"""Old data leaves, and nothing that is still needed."""

from __future__ import annotations

import csv
import gzip
import io
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.commands import run_forked
from tidegate.notify import PENDING_MONTHS, erase_messages
from tidegate.platform.archives import (
    ARCHIVED,
    ArchiveBroken,
    delete_old_archives,
    find_archive,
    list_archives,
    read_archive,
)
from tidegate.platform.database import Database
from tidegate.platform.ids import id_floor
from tidegate.platform.personal_data import PERSONAL_DATA
from tidegate.platform.problems import StartupError
from tidegate.platform.retention import KEPT_LONGER, NOT_ARCHIVED, delete_old_keys, drop_finished_partitions
from tidegate.platform.settings import Settings, current_settings

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


def make_old_month(conn: psycopg.Connection[Any], table: str) -> None:
    """March 2020 of a table."""
    start, end = (id_floor(datetime(2020, month, 1, tzinfo=UTC)) for month in (3, 4))
    conn.execute(f"CREATE TABLE {table}_2020_03 PARTITION OF {table} FOR VALUES FROM ('{start}') TO ('{end}')")


def add_deliveries(conn: psycopg.Connection[Any], count: int, *, state: str = "failed") -> UUID:
    """Old mails; returns the recipient of one."""
    people = [uuid4() for _ in range(count)]
    conn.cursor().executemany(
        """
        INSERT INTO notify.deliveries
            (event_id, recipient_id, channel, template, variables, address_sealed, state, last_error)
        VALUES (%s, %s, 'email', 'order_paid', '{"number": "K7P2"}', 'ada@example.com', %s, '550 ada@example.com?')
        """,
        [(id_floor(OLD), person, state) for person in people],
    )
    return people[0]


DELIVERIES = "notify.deliveries_2020_03"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """A `tidegate` command."""
    return run_forked(command, env=dict(os.environ), timeout_s=60)


def read(folder: Path) -> list[dict[str, str]]:
    out = io.BytesIO()
    read_archive(folder, find_archive(folder, DELIVERIES), out)
    return list(csv.DictReader(io.StringIO(out.getvalue().decode())))


def test_a_month_of_messages_is_archived_before_it_is_dropped(conn: psycopg.Connection[Any], tmp_path: Path) -> None:
    make_old_month(conn, "notify.deliveries")
    person = add_deliveries(conn, 300)
    folder = tmp_path / "archive"
    assert drop_finished_partitions(conn, keep_days=90, archive=folder) == [DELIVERIES]
    assert drop_finished_partitions(conn, keep_days=90, archive=folder) == []
    assert conn.execute("SELECT to_regclass(%s)", (DELIVERIES,)).fetchone() == (None,)
    (archive,) = list_archives(folder)
    assert (archive.name, archive.rows) == (DELIVERIES, 300)
    rows = read(folder)
    assert len(rows) == 300
    (row,) = [row for row in rows if row["recipient_id"] == str(person)]
    assert (row["channel"], row["template"], row["state"]) == ("email", "order_paid", "failed")
    with gzip.open(folder / f"{DELIVERIES}.csv.gz") as packed:
        said = packed.read()
    assert b"ada@" not in said and b"K7P2" not in said, "nobody's address, nothing that was said"
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    assert {file.name for file in folder.iterdir()} == {f"{DELIVERIES}.csv.gz", f"{DELIVERIES}.json"}


def test_inboxes_are_archived_without_words_and_one_month_at_a_time(
    conn: psycopg.Connection[Any], tmp_path: Path
) -> None:
    for table in ("notify.deliveries", "notify.inbox_messages"):
        make_old_month(conn, table)
    tables = ("notify.deliveries", *KEPT_LONGER)
    assert drop_finished_partitions(conn, keep_days=90, tables=tables, archive=tmp_path) == [DELIVERIES]
    inboxes = "notify.inbox_messages_2020_03"
    assert drop_finished_partitions(conn, keep_days=90, tables=tables, archive=tmp_path) == [inboxes]
    assert [each.rows for each in list_archives(tmp_path)] == [0, 0]


def test_what_is_archived_is_no_personal_data_and_has_no_line_breaks(conn: psycopg.Connection[Any]) -> None:
    personal = {(each.schema, each.table, each.column) for each in PERSONAL_DATA}
    for table, columns in ARCHIVED.items():
        schema, name = table.split(".")
        assert not personal & {(schema, name, column) for column in columns}
        assert not {"variables", "last_error", "subject", "body", "link", "provider_id"} & set(columns)
        kinds = conn.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
            " AND data_type = 'text' AND column_name = ANY (%s)",
            (schema, name, list(columns)),
        ).fetchall()
        assert {row[0] for row in kinds} <= {"channel", "template", "state", "lane"}


def test_a_month_that_cannot_be_archived_is_not_dropped(
    conn: psycopg.Connection[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_old_month(conn, "notify.deliveries")
    add_deliveries(conn, 3)
    no_folder = tmp_path / "file"
    no_folder.write_text("")
    before = NOT_ARCHIVED._value.get()
    assert drop_finished_partitions(conn, keep_days=90, archive=no_folder) == []
    assert NOT_ARCHIVED._value.get() == before + 1
    assert conn.execute(f"SELECT count(*) FROM {DELIVERIES}").fetchone() == (3,)

    real = gzip.GzipFile.write
    monkeypatch.setattr(gzip.GzipFile, "write", lambda self, data: real(self, bytes(data).replace(b"failed", b"sent")))
    folder = tmp_path / "archive"
    assert drop_finished_partitions(conn, keep_days=90, archive=folder) == [], "it is read back"
    assert list(folder.iterdir()) == []
    monkeypatch.undo()
    assert conn.execute(f"SELECT count(*) FROM {DELIVERIES}").fetchone() == (3,)
    assert drop_finished_partitions(conn, keep_days=90, archive=folder) == [DELIVERIES]
    assert len(read(folder)) == 3


@pytest.mark.anyio
async def test_people_are_erased_from_a_month_that_waits_for_its_archive(database: Database, tmp_path: Path) -> None:
    with psycopg.connect(current_settings().require_database_url(), autocommit=True) as conn:
        make_old_month(conn, "notify.deliveries")
        person = add_deliveries(conn, 3)
        no_folder = tmp_path / "file"
        no_folder.write_text("")
        assert drop_finished_partitions(conn, keep_days=90, archive=no_folder) == []
        async with database.transaction() as own:
            await erase_messages(own, people=[person])
        assert drop_finished_partitions(conn, keep_days=90, archive=tmp_path) == [DELIVERIES]
    assert str(person) not in {row["recipient_id"] for row in read(tmp_path)}


@pytest.mark.parametrize("waits", ["a mail", "a webhook", "a shard"])
def test_a_month_of_pending_messages_is_neither_archived_nor_taken_out(
    conn: psycopg.Connection[Any], tmp_path: Path, waits: str
) -> None:
    make_old_month(conn, "notify.deliveries")
    add_deliveries(conn, 1, state="pending")
    if waits == "a webhook":
        conn.execute("UPDATE notify.deliveries SET channel = 'webhook'")
    if waits == "a shard":
        conn.execute("UPDATE notify.deliveries SET shard_no = 1, state = 'failed'")
        conn.execute(
            """
            WITH topic AS (
                INSERT INTO notify.topics (topic_id, kind, key, title, path)
                SELECT event_id, 'collection', 'lamps', 'Lamps', '/lamps' FROM notify.deliveries
            ), send AS (
                INSERT INTO notify.sends (event_id, topic_id, template, variables, channels)
                SELECT event_id, event_id, 'post', '{}', '{inbox}' FROM notify.deliveries
            )
            INSERT INTO notify.send_shards (event_id, shard_no, topic_id, after_id, upto_id, followers)
            SELECT event_id, 2, event_id, event_id, event_id, 1 FROM notify.deliveries
            """
        )
    assert drop_finished_partitions(conn, keep_days=90, archive=tmp_path, pending=PENDING_MONTHS) == []
    assert conn.execute("SELECT count(*) FROM notify.deliveries").fetchone() == (1,)
    conn.execute("UPDATE notify.deliveries SET state = 'failed'")
    conn.execute("DELETE FROM notify.send_shards")
    assert drop_finished_partitions(conn, keep_days=90, archive=tmp_path, pending=PENDING_MONTHS) == [DELIVERIES]


def test_a_damaged_archive_says_so_and_old_ones_are_deleted(conn: psycopg.Connection[Any], tmp_path: Path) -> None:
    make_old_month(conn, "notify.deliveries")
    add_deliveries(conn, 3)
    drop_finished_partitions(conn, keep_days=90, archive=tmp_path)
    file = tmp_path / f"{DELIVERIES}.csv.gz"
    whole = file.read_bytes()
    for damaged in (whole[:-9], gzip.compress(b"event_id\n"), b""):
        file.write_bytes(damaged)
        with pytest.raises(ArchiveBroken):
            read(tmp_path)
    with pytest.raises(StartupError, match="no archive"):
        find_archive(tmp_path, "notify.deliveries_2020_04")
    now = datetime.now(UTC)  # old messages, whose archive is new
    assert delete_old_archives(tmp_path, keep_days=40, now=now + timedelta(days=39)) == []
    assert delete_old_archives(tmp_path, keep_days=40, now=now + timedelta(days=41)) == [DELIVERIES]
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_lists_and_reads_archives(
    conn: psycopg.Connection[Any], settings: Settings, tmp_path: Path
) -> None:
    make_old_month(conn, "notify.deliveries")
    add_deliveries(conn, 2)
    drop_finished_partitions(conn, keep_days=90, archive=settings.archive_folder)
    assert f"{DELIVERIES}  2 rows" in run("notify", "archive", "list").stdout
    lines = run("notify", "archive", "read", DELIVERIES).stdout.splitlines()
    assert (lines[0].split(",")[:3], len(lines)) == (["event_id", "recipient_id", "channel"], 3)
    assert run("notify", "archive", "read", "notify.deliveries_1999_01").returncode == 2


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
        await conn.execute(
            "INSERT INTO platform.idempotency_keys"
            " (buyer_id, key, fingerprint, state, subject_id, pending_sealed, claimed_at)"
            " VALUES (%s, 'k', sha256('x'), 'claimed', %s, 'x', clock_timestamp() - interval '60 days')",
            (uuid4(), uuid4()),
        )
        assert await delete_old_keys(conn, keep_days=30, limit=2) == 2
        assert await delete_old_keys(conn, keep_days=30, limit=2) == 1
        assert await delete_old_keys(conn, keep_days=30, limit=2) == 0, "what is pending is written nowhere else"
