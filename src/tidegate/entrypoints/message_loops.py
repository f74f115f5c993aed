"""What must happen though nobody asks, so that messages are sent: the scheduler's part, and that of notify alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial

import psycopg

from tidegate import notify
from tidegate.entrypoints.subscriptions import SUBSCRIPTIONS
from tidegate.notify import tasks as notify_tasks
from tidegate.platform.archives import delete_old_archives
from tidegate.platform.database import Connection, Database
from tidegate.platform.loops import Loop
from tidegate.platform.partitions import make_partitions
from tidegate.platform.relay import measure_outbox, relay_once
from tidegate.platform.retention import FINISHED, KEPT_LONGER, drop_finished_partitions
from tidegate.platform.settings import Settings

HOUR_S = 3_600.0
CONNECT_S = 5
"""Longest wait for a connection of its own."""

FOLLOWS_KEPT_DAYS = 30
"""How long it is kept that somebody was told, and what applications asked for."""

DELETE_BATCH = 1_000
"""Most rows removed in one statement; rounds follow one another until nothing is left."""


def make_message_loops(database: Database, settings: Settings, *, wake: asyncio.Event) -> list[Loop]:
    """`wake` is set when an outbox event was written. Two processes with these do no harm."""
    jobs = settings.jobs
    relay = partial(relay_once, database, settings, SUBSCRIPTIONS)
    return [
        Loop("relay", relay, jobs.relay_poll_ms / 1000, wake=wake, gap_s=jobs.relay_gap_ms / 1000),
        Loop("outbox-gauges", partial(measure_outbox, database), 5.0),
        Loop("pace", partial(notify_tasks.pace, database, settings), 1.0),
        Loop("notify-sweep", partial(notify_tasks.sweep, database, settings), jobs.notify_sweep_s),
        Loop("webhooks", partial(notify_tasks.sweep_webhooks, database, settings), settings.webhooks.sweep_ms / 1000),
        Loop("partitions", partial(asyncio.to_thread, _make_partitions, settings), HOUR_S),
        Loop("drop-partitions", partial(asyncio.to_thread, _drop_partitions, settings), HOUR_S, timeout_s=HOUR_S),
        Loop("delete-follows", in_transaction(database, _delete_follows), HOUR_S),
        Loop("delete-words", in_transaction(database, partial(_delete_words, settings)), HOUR_S),
        Loop("delete-events", in_transaction(database, _delete_events), HOUR_S),
        Loop("delete-leftovers", in_transaction(database, partial(_delete_leftovers, settings)), HOUR_S),
    ]


def in_transaction(database: Database, work: Callable[[Connection], Awaitable[int]]) -> Callable[[], Awaitable[int]]:
    """A loop's round that is one transaction."""

    async def once() -> int:
        async with database.transaction() as conn:
            return await work(conn)

    return once


async def _delete_follows(conn: Connection) -> int:
    return await notify.delete_spent(conn, keep_days=FOLLOWS_KEPT_DAYS, limit=DELETE_BATCH)


async def _delete_words(settings: Settings, conn: Connection) -> int:
    return await notify.delete_old_words(conn, inbox_days=settings.jobs.inbox_days, limit=DELETE_BATCH)


async def _delete_events(conn: Connection) -> int:
    return await notify.delete_old_events(conn, keep_days=FOLLOWS_KEPT_DAYS, limit=DELETE_BATCH)


async def _delete_leftovers(settings: Settings, conn: Connection) -> int:
    endpoints = await notify.remove_deleted_endpoints(conn, keep_days=FOLLOWS_KEPT_DAYS, limit=DELETE_BATCH)
    changes = await notify.delete_old_changes(conn, keep_days=settings.jobs.inbox_days, limit=DELETE_BATCH)
    return max(endpoints, changes)


def _make_partitions(settings: Settings) -> int:
    with psycopg.connect(settings.require_database_url(), autocommit=True, connect_timeout=CONNECT_S) as conn:
        return make_partitions(conn, months_ahead=settings.database.partitions_ahead_months)


def _drop_partitions(settings: Settings) -> int:
    archive = settings.archive_folder if settings.archive.enabled else None
    kept = ((settings.jobs.retention_days, FINISHED), (settings.jobs.inbox_days, KEPT_LONGER))
    with psycopg.connect(settings.require_database_url(), autocommit=True, connect_timeout=CONNECT_S) as conn:
        dropped = [
            drop_finished_partitions(
                conn, keep_days=days, tables=tables, archive=archive, pending=notify.PENDING_MONTHS
            )
            for days, tables in kept
        ]
    old = delete_old_archives(settings.archive_folder, keep_days=settings.archive.keep_days, now=datetime.now(UTC))
    return sum(map(len, dropped)) + len(old)
