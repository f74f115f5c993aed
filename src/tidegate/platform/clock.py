"""Time. Opening, expiry and limits use the database's clock, so that all processes agree."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from psycopg import AsyncCursor

from tidegate.platform.database import Connection

AskedClock = AsyncCursor[tuple[Any, ...]]
"""The time as a transaction was asked for it."""


async def database_now(conn: Connection) -> datetime:
    """The database's clock at this moment (not at the start of the transaction), in UTC."""
    return await read_now(await ask_now(conn))


async def ask_now(conn: Connection) -> AskedClock:
    """Ask for it; in pipeline mode this waits for nothing."""
    return await conn.execute("SELECT clock_timestamp()")


async def read_now(asked: AskedClock) -> datetime:
    """What the clock said, in UTC."""
    row = await asked.fetchone()
    assert row is not None
    moment: datetime = row[0]
    return moment.astimezone(UTC)
