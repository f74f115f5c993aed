"""The scheduler: what must happen though nobody asks. One process is enough; two at once do no harm."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from functools import partial

import structlog
import uvloop

from tidegate import accounts, catalog, payments
from tidegate.checkout import (
    Shop,
    delete_old_carts,
    expire_holds_once,
    expire_orders_once,
    fingerprint_orders_once,
    open_shop,
    reconcile_once,
)
from tidegate.entrypoints.admission import clear_rooms, shop_admission
from tidegate.entrypoints.message_loops import DELETE_BATCH, HOUR_S, in_transaction, make_message_loops
from tidegate.gate import RoomClock, draw_rooms_once, fetch_beacon
from tidegate.ops import Sampler
from tidegate.ops.books import watch_books
from tidegate.platform.database import Connection, Database, open_database
from tidegate.platform.files import LocalFiles
from tidegate.platform.jobs import make_app
from tidegate.platform.loops import Loop, run_loops
from tidegate.platform.observability import configure_logging, start_metrics
from tidegate.platform.relay import listen
from tidegate.platform.retention import delete_old_commits, delete_old_keys
from tidegate.platform.set_aside import SetAside
from tidegate.platform.settings import Settings
from tidegate.storefront import Announcer

log = structlog.get_logger(__name__)

NAME = "scheduler"
MINUTE_S = 60.0
BOOKS_GRACE_S = 10.0
"""How much longer than the books' own limit their round may take, so that it is theirs that says what was slow."""

COMMITS_KEPT_S = 3600
"""How long it can be asked whether a batch was committed; batches ask for as long as their deadline."""


def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; rounds in progress then have `jobs.soft_shutdown_s` to end.

    Raises: StartupError when a URL or a key is missing.
    """
    configure_logging(settings, process_name=NAME)
    start_metrics(settings, process_name=NAME)
    make_app(settings)
    uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    stop, wake = asyncio.Event(), asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with (
        open_database(settings) as database,
        open_shop(database, settings, payments.make_providers(database, settings)) as shop,
    ):
        listener = asyncio.create_task(listen(settings, wake=[wake], draw=random.random), name="listen")
        log.info("scheduler ready")
        try:
            await run_loops(make_loops(shop, wake=wake), stop=stop, grace_s=settings.jobs.soft_shutdown_s)
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)


def make_loops(shop: Shop, *, wake: asyncio.Event) -> list[Loop]:
    """Everything that the scheduler repeats. `wake` is set when an outbox event was written."""
    database, settings = shop.database, shop.settings
    rooms = settings.gate
    ask = partial(fetch_beacon, timeout_s=rooms.beacon_timeout_s)
    loops = [
        *make_message_loops(database, settings, wake=wake),
        Loop("sample", Sampler(database, settings).once, settings.observability.sample_s),
        Loop("announce", Announcer(database, settings).once, settings.follows.announce_s),
        Loop("open-rooms", RoomClock(database).once, rooms.rounds_ms / 1000),
        Loop("draw-rooms", partial(draw_rooms_once, database, rooms, ask), 1.0),
        Loop("admission", shop_admission(database, settings).once, settings.admission.interval_ms / 1000),
        Loop(
            "expire-holds",
            partial(expire_holds_once, shop, SetAside("expire-holds")),
            settings.holds.sweep_interval_ms / 1000,
        ),
        Loop(
            "expire-orders",
            partial(expire_orders_once, shop, SetAside("expire-orders")),
            settings.holds.sweep_interval_ms / 1000,
        ),
        Loop("fingerprint-orders", partial(fingerprint_orders_once, shop), MINUTE_S),
        Loop(
            "reconcile",
            partial(reconcile_once, shop, SetAside("take-up")),
            settings.payments.reconcile_interval_ms / 1000,
        ),
        Loop(
            "books",
            partial(watch_books, database, settings),
            settings.books.interval_s,
            timeout_s=settings.books.timeout_s + BOOKS_GRACE_S,
        ),
        Loop("delete-keys", in_transaction(database, partial(_delete_keys, settings)), HOUR_S),
        Loop("delete-commits", in_transaction(database, _delete_commits), MINUTE_S),
        Loop("delete-webhooks", in_transaction(database, partial(_delete_webhooks, settings)), HOUR_S),
        Loop("delete-carts", in_transaction(database, partial(_delete_carts, settings)), HOUR_S),
        Loop("clear-rooms", in_transaction(database, partial(clear_rooms, settings)), HOUR_S),
        Loop("sweep-pictures", partial(_sweep_pictures, database, settings), HOUR_S),
        Loop("delete-sessions", in_transaction(database, _delete_sessions), HOUR_S),
    ]
    if settings.demo:
        deliver = partial(payments.deliver_sandbox_webhooks_once, database, settings)
        loops.append(Loop("sandbox-webhooks", deliver, 0.5))
    return loops


async def _delete_keys(settings: Settings, conn: Connection) -> int:
    return await delete_old_keys(conn, keep_days=settings.idempotency.keep_days, limit=DELETE_BATCH)


async def _delete_commits(conn: Connection) -> int:
    return await delete_old_commits(conn, keep_s=COMMITS_KEPT_S, limit=DELETE_BATCH)


async def _delete_webhooks(settings: Settings, conn: Connection) -> int:
    keep_days = settings.payments.webhook_keep_days
    return await payments.delete_old_webhooks(conn, keep_days=keep_days, limit=DELETE_BATCH)


async def _delete_carts(settings: Settings, conn: Connection) -> int:
    return await delete_old_carts(conn, keep_days=settings.carts.keep_days, limit=DELETE_BATCH)


async def _sweep_pictures(database: Database, settings: Settings) -> int:
    """Files that nothing shows; and files without a row, a part of them each hour."""
    files, limits = LocalFiles(settings.pictures_folder), settings.pictures
    turn = int(time.time() // HOUR_S)
    await catalog.sweep_strays(database, files, unused_hours=limits.keep_unused_hours, turn=turn)
    return await catalog.sweep_pictures(
        database, files, unused_hours=limits.keep_unused_hours, limit=limits.sweep_batch
    )


async def _delete_sessions(conn: Connection) -> int:
    links = await accounts.delete_old_links(conn, limit=DELETE_BATCH)
    return max(links, await accounts.delete_ended_sessions(conn, limit=DELETE_BATCH))
