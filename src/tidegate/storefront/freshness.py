"""Keeping kept answers true: one connection per process hears of the catalogue's changes and reads stock.

A change of the catalogue is heard of by a notice, which its transaction sends; stock is read every
`catalog.stock_refresh_ms`, together with the revision, since a notice may be lost. No request asks for either.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from math import inf

import structlog
from psycopg import Error

from tidegate import catalog, inventory
from tidegate.catalog.contracts import Drop
from tidegate.platform.backoff import backoff_s
from tidegate.platform.database import OUTAGE, Connection, Database
from tidegate.platform.failures import describe_error
from tidegate.platform.problems import Overloaded
from tidegate.platform.settings import Settings
from tidegate.storefront.offers import FEW_LEFT, DropOffer, DropPhase, Offer
from tidegate.web import Answers, Level, MadeFrom

log = structlog.get_logger(__name__)

READ_AT_ONCE = 1_000
"""Variants per query: more rows in one go would keep requests waiting."""

STEP_TIMEOUT_S = 2.0
"""Longest that one look may take before the connection counts as lost."""


class Freshness:
    """Watches what `answers` were made from."""

    def __init__(self, database: Database, settings: Settings, answers: Answers) -> None:
        self._database = database
        self._every_s = settings.catalog.stock_refresh_ms / 1000
        self._answers = answers

    async def run(self) -> None:
        """Watch until cancelled. While the database is away, what is kept stays as it is."""
        failures = 0
        while True:
            try:
                async with asyncio.timeout(STEP_TIMEOUT_S):
                    conn = await self._database.connect()
                async with conn:
                    await conn.execute(f"LISTEN {catalog.CHANGED}")
                    await self._look(conn)
                    failures = 0
                    self._answers.connected = True
                    while True:
                        await self._wait(conn)
                        await self._look(conn)
            except (*OUTAGE, Error, OSError, TimeoutError) as error:
                self._answers.connected = False
                failures += 1
                if failures == 1:
                    log.warning("catalogue not watched", error=describe_error(error))
            await asyncio.sleep(backoff_s(failures=failures, base_s=0.1, cap_s=1.0, draw=random.random()))  # noqa: S311 - jitter

    async def catch_up(self) -> None:
        """Ask for the revision now, for somebody who may just have changed it."""
        with suppress(*OUTAGE, Overloaded):
            async with self._database.connection() as conn:
                self._answers.heard(await catalog.read_revision(conn))

    async def _wait(self, conn: Connection) -> None:
        """Return when it is time to look; a notice is acted on at once."""
        look_at = time.monotonic() + self._every_s
        while (left_s := look_at - time.monotonic()) > 0:
            async for _notice in conn.notifies(timeout=left_s, stop_after=1):
                self._answers.heard(None)
            if self._answers.revision is None:  # asked for out here, since listening occupies the connection
                async with asyncio.timeout(STEP_TIMEOUT_S):
                    self._answers.heard(await catalog.read_revision(conn))

    async def _look(self, conn: Connection) -> None:
        async with asyncio.timeout(STEP_TIMEOUT_S):
            self._answers.heard(await catalog.read_revision(conn))
            watched = self._answers.watched()
            for start in range(0, len(watched), READ_AT_ONCE):
                part = watched[start : start + READ_AT_ONCE]
                levels = await inventory.stock_levels(conn, variant_ids=part)
                self._answers.stock_is(
                    {each: (levels[each].available, levels[each].held) if each in levels else (0, 0) for each in part}
                )


@asynccontextmanager
async def open_answers(database: Database, settings: Settings) -> AsyncIterator[tuple[Answers, Freshness]]:
    """What this process keeps, watched for the length of a block."""
    limits = settings.catalog
    answers = Answers(
        max_bytes=limits.kept_max_bytes, max_variants=limits.kept_max_variants, stale_s=limits.kept_stale_s
    )
    freshness = Freshness(database, settings, answers)
    if not limits.kept_max_bytes:
        yield answers, freshness
        return
    task = asyncio.create_task(freshness.run(), name="freshness")
    try:
        yield answers, freshness
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def one_state(database: Database) -> AsyncIterator[Connection]:
    """A transaction whose reads all see the same state, so that an answer is true as a whole or not at all."""
    async with database.transaction() as conn:
        await conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield conn


async def made_from(
    conn: Connection,
    *,
    offers: Sequence[Offer] = (),
    drops: Sequence[Drop] = (),
    leading: DropOffer | None = None,
    shown: DropOffer | None = None,
    up_to: int | None = FEW_LEFT + 1,
    soon_s: int = 0,
) -> MadeFrom:
    """What an answer that shows these was made from, read in the transaction in which they were.

    Of each variant it shows `up_to` items, and the same for all that are more: else it would be made anew at each sale;
    None where it tells how many there are. `drops` were looked at to choose `leading`, and `shown` is the drop whose
    page it is: what is left of either may be in the gap for it. The page tells what is held of it when nothing is left,
    and something else from `soon_s` before its opening on.
    """
    began_s = time.monotonic()
    row = await (await conn.execute("SELECT transaction_timestamp(), clock_timestamp()")).fetchone()
    assert row is not None
    begun, now = row
    all_drops = [*drops, *([shown.drop] if shown else [])]
    items = {item.variant_id for drop in all_drops for item in drop.items}
    levels = await inventory.stock_levels(conn, variant_ids=list(items)) if items else {}
    tells_held = shown is not None and shown.phase == DropPhase.SOLD_OUT
    stock = {each.variant.id: Level(each.left, up_to=up_to) for offer in offers for each in offer.variants}
    for item in items:
        level = levels.get(item)
        available, held = (level.available, level.held) if level else (0, 0)
        stock[item] = Level(available, held if tells_held else None, up_to)
    opens = {each.drop.opens_at for offer in offers for each in offer.variants if each.drop}
    opens |= {drop.opens_at for drop in all_drops if drop.closed_at is None}
    if shown is not None:
        opens.add(shown.drop.opens_at - timedelta(seconds=soon_s))
    waits_s = [(moment - now).total_seconds() for moment in opens if moment > begun]  # one may have come meanwhile
    counted = leading or shown
    return MadeFrom(
        revision=await catalog.read_revision(conn),
        stock=stock,
        counted=tuple(item.variant_id for item in counted.drop.items) if counted else (),
        until_s=began_s + min(waits_s) if waits_s else inf,
        strangers_only=shown is not None,
    )
