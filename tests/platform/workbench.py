"""A worker for tests: `python -m tests.platform.workbench`. Its subscriber notes runs and effects in the database.

An event's payload says how it goes: `wait_for` keeps the handler waiting until a row of that name is in `bench.signs`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Final

from tidegate.platform.database import Database
from tidegate.platform.jobs import LANES, RECEIPTS, Subscription, one_by_one, run_worker
from tidegate.platform.observability import configure_logging
from tidegate.platform.outbox import Event
from tidegate.platform.settings import Settings, current_settings

TABLES: Final = """
CREATE SCHEMA IF NOT EXISTS bench;
CREATE TABLE IF NOT EXISTS bench.runs (event_id uuid NOT NULL);
CREATE TABLE IF NOT EXISTS bench.effects (event_id uuid PRIMARY KEY);
CREATE TABLE IF NOT EXISTS bench.signs (name text PRIMARY KEY);
"""


async def work(database: Database, settings: Settings, event: Event) -> None:
    """Note the run, wait if told to, then have the effect."""
    async with database.connection() as conn:
        await conn.execute("INSERT INTO bench.runs VALUES (%s)", (event.id,))
    sign = event.payload.get("wait_for")
    while sign and not await _is_up(database, sign):
        await asyncio.sleep(0.05)
    async with database.transaction() as conn:
        await conn.execute("INSERT INTO bench.effects VALUES (%s) ON CONFLICT DO NOTHING", (event.id,))


async def _is_up(database: Database, sign: str) -> bool:
    async with database.connection() as conn:
        found = await conn.execute("SELECT 1 FROM bench.signs WHERE name = %s", (sign,))
        return await found.fetchone() is not None


SUBSCRIPTIONS: Final[Mapping[str, Subscription]] = {"bench": Subscription(RECEIPTS, (one_by_one(work),))}

if __name__ == "__main__":
    settings = current_settings()
    configure_logging(settings, process_name="workbench")
    sys.exit(run_worker(settings, SUBSCRIPTIONS, lanes=LANES))
