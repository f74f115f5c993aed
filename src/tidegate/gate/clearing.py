"""Rooms that are long over: their places leave, block by block, and later what was published of their draws.

A block of the log is 1,024 entries. What was drawn from is kept as the bare entries, an eighth of the size, which name
nobody: so the draw stays as checkable as it was. The room's own row, with the seed and the root, stays for good.
"""

from __future__ import annotations

from uuid import UUID

from tidegate.gate.entries import read_entries
from tidegate.gate.log import BLOCK
from tidegate.platform.database import Connection
from tidegate.platform.ids import RoomId

BLOCKS_A_ROUND = 10
"""About ten thousand places: a tenth of a second."""

NEXT = """
SELECT id, cleared, size, coalesce(cut, 0) FROM gate.rooms
WHERE phase = 'closed' AND NOT entries_gone AND cleared < size
    AND closed_at < clock_timestamp() - make_interval(days => %s)
ORDER BY closed_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
"""
OLD = """
UPDATE gate.rooms SET entries_gone = true
WHERE phase = 'closed' AND NOT entries_gone AND cleared = size
    AND closed_at < clock_timestamp() - make_interval(days => %s)
"""
"""A round later, when every process knows, the entries themselves leave."""

GONE = """
SELECT id FROM gate.rooms AS r WHERE entries_gone AND EXISTS (SELECT FROM gate.kept_entries WHERE room_id = r.id)
ORDER BY closed_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
"""
FORGET = """
DELETE FROM gate.kept_entries WHERE room_id = %(room)s AND block IN (
    SELECT block FROM gate.kept_entries WHERE room_id = %(room)s ORDER BY block LIMIT %(most)s
)
"""


async def clear_places(conn: Connection, *, keep_days: int, draw_keep_days: int) -> int:
    """Let some thousand places leave whose room was closed `keep_days` days ago, or a draw's entries after theirs.

    Returns how many entries were dealt with; nothing is left to do at 0. Two schedulers at once take turns.
    """
    rows = await conn.execute(NEXT, (keep_days,))
    found = await rows.fetchone()
    if found is not None:
        return await _clear(conn, *found)
    rows = await conn.execute(GONE)
    gone = await rows.fetchone()
    if gone is not None:
        await conn.execute("DELETE FROM gate.log_blocks WHERE room_id = %s", gone)
        return (await conn.execute(FORGET, {"room": gone[0], "most": BLOCKS_A_ROUND})).rowcount
    await conn.execute(OLD, (draw_keep_days,))
    return 0


async def _clear(conn: Connection, room_id: UUID, cleared: int, size: int, cut: int) -> int:
    end = min((cleared // BLOCK + BLOCKS_A_ROUND) * BLOCK, size)
    kept_end = min(end, cut)
    if cleared < kept_end:
        entries = await read_entries(conn, room_id=RoomId(room_id), start=cleared, end=kept_end)
        blocks = range(cleared // BLOCK, -(-kept_end // BLOCK))
        pages = [b"".join(entries[block * BLOCK - cleared : (block + 1) * BLOCK - cleared]) for block in blocks]
        await conn.execute(
            "INSERT INTO gate.kept_entries (room_id, block, entries)"
            " SELECT %s, * FROM unnest(%s::bigint[], %s::bytea[])",
            (room_id, list(blocks), pages),
        )
    for table in ("places", "former_entries"):
        await conn.execute(
            f"DELETE FROM gate.{table} WHERE room_id = %s AND index >= %s AND index < %s",  # noqa: S608
            (room_id, cleared, end),
        )
    await conn.execute("UPDATE gate.rooms SET cleared = %s WHERE id = %s", (end, room_id))
    return end - cleared
