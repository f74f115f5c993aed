"""Old data leaves: monthly partitions as a whole, some of them into archives; other tables' rows in bounded batches."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import structlog
from prometheus_client import Counter
from psycopg import sql

from tidegate.platform.archives import ARCHIVED, ArchiveBroken, write_archive
from tidegate.platform.database import Connection
from tidegate.platform.failures import describe_error
from tidegate.platform.ids import id_floor
from tidegate.platform.partitions import LOCK_KEY

log = structlog.get_logger(__name__)

NOT_ARCHIVED = Counter(
    "tidegate_months_not_archived", "Attempts to archive a month that failed: it stays in the database."
)

ARCHIVE_KEY = 7413866180404

DETACHED = """
SELECT c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind = 'r' AND NOT c.relispartition AND c.relname ~ %s ORDER BY c.relname
"""

FINISHED = ("platform.outbox", "notify.deliveries")
"""Tables whose rows are of no use once they are finished."""

PENDING = "SELECT FROM {month} WHERE state = 'pending' LIMIT 1"
"""Whether something of a month is not finished."""

KEPT_LONGER = ("notify.inbox_messages",)
"""Tables whose rows are people's: they leave by their age alone, after a time of their own."""

MONTHLY = re.compile(r".+_(?P<year>\d{4})_(?P<month>\d{2})")


def drop_finished_partitions(
    conn: psycopg.Connection[Any],
    *,
    keep_days: int,
    tables: tuple[str, ...] = FINISHED,
    archive: Path | None = None,
    pending: Mapping[str, str] | None = None,
) -> list[str]:
    """Drop the monthly partitions that ended more than `keep_days` days ago and in which nothing is pending.

    Those of `KEPT_LONGER` know nothing that could be pending. With a folder `archive`, months of `ARCHIVED` tables are
    taken out of their table, archived there, and dropped only then: one in each call, and none in two at once. A month
    that could not be archived stays as a table of its own and is tried again the next time.

    `pending` are questions of tables that have no index for `PENDING`: everybody waits for the answer.

    `conn` is in autocommit mode; the clock is the database's. Each partition goes in a transaction of its own that
    gives up after a short wait for its lock, since everybody queues behind it. Returns the names of those dropped.
    """
    dropped = []
    for table in tables:
        is_archived = archive is not None and table in ARCHIVED
        for partition in _partitions(conn, table):
            with conn.transaction():
                conn.execute("SET LOCAL lock_timeout = '1s'")
                now = conn.execute("SELECT clock_timestamp(), pg_advisory_xact_lock(%s)", (LOCK_KEY,)).fetchone()
                assert now is not None
                ended = _end_of(partition)
                if ended is None or ended > now[0] - timedelta(days=keep_days):
                    continue
                asked = (pending or {}).get(table, PENDING)
                left = _leave_unless_pending(conn, table, partition, asked=asked, drop=not is_archived)
                if left and not is_archived:
                    dropped.append(f"{table.split('.')[0]}.{partition}")
    return dropped + _drop_detached(conn, tables, archive)


def _drop_detached(conn: psycopg.Connection[Any], tables: tuple[str, ...], archive: Path | None) -> list[str]:
    """Archive, and then drop, the first month that is a table of its own by now."""
    waiting = [(table, month) for table in tables if table in ARCHIVED for month in _detached(conn, table)]
    got = conn.execute("SELECT pg_try_advisory_lock(%s)", (ARCHIVE_KEY,)).fetchone() if waiting else None
    if got is None or not got[0]:
        return []
    try:
        for table, month in waiting:
            name = f"{table.split('.')[0]}.{month}"
            try:
                kept = None if archive is None else write_archive(conn, archive, table=table, partition=month)
            except psycopg.errors.UndefinedTable:
                continue
            except (OSError, ArchiveBroken) as error:
                NOT_ARCHIVED.inc()
                log.error("month_not_archived", month=name, folder=str(archive), error=describe_error(error))
                continue
            conn.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(*name.split("."))))
            log.info("month_dropped", month=name, rows_archived=None if kept is None else kept.rows)
            return [name]
        return []
    finally:
        conn.execute("SELECT pg_advisory_unlock(%s)", (ARCHIVE_KEY,))


async def months_waiting(conn: Connection, *, table: str) -> list[str]:
    """Months of a table that are tables of their own until they are archived."""
    return [row[0] for row in await (await conn.execute(DETACHED, _named(table))).fetchall()]


def _detached(conn: psycopg.Connection[Any], table: str) -> list[str]:
    """The same, at once."""
    return [row[0] for row in conn.execute(DETACHED, _named(table)).fetchall()]


def _named(table: str) -> tuple[str, str]:
    schema, name = table.split(".")
    return schema, f"^{name}_[0-9]{{4}}_[0-9]{{2}}$"


def _partitions(conn: psycopg.Connection[Any], table: str) -> list[str]:
    rows = conn.execute(
        """
        SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
        WHERE inhparent = %s::regclass ORDER BY child.relname
        """,
        (table,),
    ).fetchall()
    return [row[0] for row in rows]


def _end_of(partition: str) -> datetime | None:
    """The first moment after a monthly partition, by its name; None for the default one."""
    match = MONTHLY.fullmatch(partition)
    if match is None:
        return None
    month = int(match["year"]) * 12 + int(match["month"])
    return datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)


def _leave_unless_pending(conn: psycopg.Connection[Any], table: str, partition: str, *, asked: str, drop: bool) -> bool:
    """Drop a partition, or make it a table of its own; whether that could be done."""
    name, parent = sql.Identifier(table.split(".", maxsplit=1)[0], partition), sql.Identifier(*table.split("."))
    try:
        with conn.transaction():
            # In the order of whoever reads the table.
            conn.execute(sql.SQL("LOCK TABLE ONLY {} IN ACCESS EXCLUSIVE MODE").format(parent))
            # Locked before looking, so that nothing becomes pending in between. Old ids are no longer written.
            conn.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(name))
            if table not in KEPT_LONGER:
                found = conn.execute(sql.SQL(asked).format(month=name))
                if found.fetchone() is not None:
                    return False
            if drop:
                conn.execute(sql.SQL("DROP TABLE {}").format(name))
            else:
                conn.execute(sql.SQL("ALTER TABLE {} DETACH PARTITION {}").format(parent, name))
    except (psycopg.errors.LockNotAvailable, psycopg.errors.UndefinedTable):
        return False
    return True


async def delete_old_keys(conn: Connection, *, keep_days: int, limit: int) -> int:
    """Remove up to `limit` idempotency keys that were claimed more than `keep_days` days ago; returns how many."""
    done = await conn.execute(
        """
        WITH old AS MATERIALIZED (
            SELECT buyer_id, key FROM platform.idempotency_keys
            WHERE claimed_at < clock_timestamp() - make_interval(days => %s) AND pending_sealed IS NULL
            LIMIT %s FOR UPDATE SKIP LOCKED
        )
        DELETE FROM platform.idempotency_keys k USING old WHERE (k.buyer_id, k.key) = (old.buyer_id, old.key)
        """,
        (keep_days, limit),
    )
    return done.rowcount


async def delete_old_commits(conn: Connection, *, keep_s: int, limit: int) -> int:
    """Remove up to `limit` marks of batches older than `keep_s` seconds, about which nobody asks; returns how many."""
    old = id_floor(datetime.now(UTC) - timedelta(seconds=keep_s))
    done = await conn.execute(
        "DELETE FROM platform.commits WHERE id IN (SELECT id FROM platform.commits WHERE id < %s ORDER BY id LIMIT %s)",
        (old, limit),
    )
    return done.rowcount
