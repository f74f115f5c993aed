"""The count of the catalogue's committed changes, and the notice that there is one more."""

from __future__ import annotations

from typing import Final

from tidegate.platform.database import Connection

CHANGED: Final = "tidegate_catalog"
"""LISTEN channel that says "the catalogue has changed"; sent by the triggers that count."""


async def read_revision(conn: Connection) -> int:
    """The revision that the caller's transaction sees: what is made from its reads is right while this is current."""
    row = await (await conn.execute("SELECT sum(counter)::bigint FROM catalog.revision", prepare=True)).fetchone()
    assert row is not None
    return int(row[0])
