"""Time. Opening, expiry and limits use the database's clock, so that all processes agree."""

from __future__ import annotations

from datetime import UTC, datetime

from tidegate.platform.database import Connection


async def database_now(conn: Connection) -> datetime:
    """The database's clock at this moment (not at the start of the transaction), in UTC."""
    row = await (await conn.execute("SELECT clock_timestamp()")).fetchone()
    assert row is not None
    moment: datetime = row[0]
    return moment.astimezone(UTC)
