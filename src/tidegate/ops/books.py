"""The books: every module's invariants, checked in one snapshot of the database that nothing can change."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import structlog
from prometheus_client import Gauge
from psycopg.errors import DataError, LockNotAvailable, QueryCanceled

from tidegate import checkout, gate, inventory, payments
from tidegate.ops.contracts import Books, BooksNotChecked, Checked
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection, Database
from tidegate.platform.invariants import Bounds, Invariant
from tidegate.platform.settings import Settings

log = structlog.get_logger(__name__)

RULES: tuple[Invariant, ...] = (
    *inventory.INVARIANTS,
    *gate.INVARIANTS,
    *payments.INVARIANTS,
    *checkout.INVARIANTS,
)
"""All rules, in the order in which they are checked and shown."""

OFFENCES = Gauge("tidegate_books_offences", "Rows that break a rule of the books, as last checked.", ["rule"])
CHECKED_AT = Gauge("tidegate_books_checked_at_seconds", "When the books were last checked to their end (Unix time).")
SECONDS = Gauge("tidegate_books_seconds", "How long the last check of the books took.")

HOUR_S = 3_600
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A connection that sees the database as it was at one moment, for `deadline_s` (monotonic clock) at most."""

    conn: Connection
    settings: Settings
    deadline_s: float


async def check_books(database: Database, settings: Settings) -> Books:
    """Check all rules in one snapshot. Raises: BooksNotChecked when they took longer than `books.timeout_s`."""
    began_s = time.monotonic()
    async with read_snapshot(database, settings) as snapshot:
        checked_at = await database_now(snapshot.conn)
        results = [await check_rule(snapshot, rule) for rule in RULES]
    return Books(checked_at, tuple(results), time.monotonic() - began_s)


@asynccontextmanager
async def read_snapshot(database: Database, settings: Settings) -> AsyncIterator[Snapshot]:
    """One read-only transaction in which every rule sees the same moment, whatever is bought meanwhile.

    It uses one core of the database server, so that a check leaves the others to the sale.
    """
    deadline_s = time.monotonic() + settings.books.timeout_s
    async with database.transaction() as conn:
        await conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        # Rules read whole tables: a loop of look-ups, planned for a few rows by a wrong estimate, would take for ever.
        await conn.execute("SET LOCAL enable_nestloop = off")
        await conn.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        await conn.execute("SELECT set_config('work_mem', %s, true)", (f"{settings.books.work_mem_mb}MB",))
        yield Snapshot(conn, settings, deadline_s)


async def check_rule(snapshot: Snapshot, rule: Invariant) -> Checked:
    """Check one rule; at most `books.max_rows` of the rows that break it leave the database.

    Raises: BooksNotChecked when the snapshot's time is over, or the rule cannot read what it looks at.
    """
    books = snapshot.settings.books
    began_s = time.monotonic()
    left_ms = int((snapshot.deadline_s - began_s) * 1000)
    if left_ms <= 0:
        raise _too_slow(snapshot, rule)
    await snapshot.conn.execute("SELECT set_config('statement_timeout', %s, true)", (str(left_ms),))
    # The count makes the server look for all rows: it must not plan for the first few, which are rarely there.
    bounded = f"SELECT offence.*, count(*) OVER () FROM ({rule.sql}) AS offence LIMIT %(max_rows)s"  # noqa: S608
    try:
        cursor = await snapshot.conn.execute(
            bounded.encode(), asdict(_bounds(snapshot.settings)) | {"max_rows": books.max_rows}
        )
        rows = await cursor.fetchall()
    except QueryCanceled as error:
        raise _too_slow(snapshot, rule) from error
    except (LockNotAvailable, DataError) as error:
        # A migration holds a table, or a row is so broken that no rule can read it.
        raise BooksNotChecked(f"the books were not checked: {rule.name}: {error.diag.message_primary}") from error
    assert cursor.description is not None
    return Checked(
        name=rule.name,
        says=rule.says,
        offences=rows[0][-1] if rows else 0,
        columns=tuple(column.name for column in cursor.description[:-1]),
        rows=tuple(tuple(_plain(value) for value in row[:-1]) for row in rows),
        seconds=time.monotonic() - began_s,
    )


async def watch_books(database: Database, settings: Settings) -> int:
    """Check the books for the metrics, and log each broken rule as an error. One round of a loop; returns 0."""
    books = await check_books(database, settings)
    for result in books.results:
        OFFENCES.labels(result.name).set(result.offences)
        if result.offences:
            rows = [dict(zip(result.columns, row, strict=True)) for row in result.rows]
            log.error("books_broken", rule=result.name, says=result.says, offences=result.offences, rows=rows)
    CHECKED_AT.set(books.checked_at.timestamp())
    SECONDS.set(books.seconds)
    return 0


def _bounds(settings: Settings) -> Bounds:
    return Bounds(
        hold_late_s=settings.books.hold_late_s,
        order_late_s=settings.books.order_late_s,
        unresolved_s=settings.holds.payment_window_s + settings.books.unresolved_s,
        # An hour less than the retention: an event's id has its writer's clock, the order has the database's.
        events_kept_s=settings.jobs.retention_days * DAY_S - HOUR_S,
    )


def _too_slow(snapshot: Snapshot, rule: Invariant) -> BooksNotChecked:
    return BooksNotChecked(
        f"the books were not checked: at the rule {rule.name} the {snapshot.settings.books.timeout_s} s of "
        "TIDEGATE_BOOKS__TIMEOUT_S were over"
    )


def _plain(value: Any) -> str | int | None:
    """A value as it is shown and logged: numbers stay numbers."""
    if value is None or isinstance(value, int):
        return value
    return str(value) if isinstance(value, UUID | str) else value.isoformat()
