"""Whether people without an account take part in a drop."""

from __future__ import annotations

from tidegate import gate
from tidegate.catalog.contracts import Drop, Room
from tidegate.platform.database import Connection


async def takes_guests(conn: Connection, drop: Drop) -> bool:
    """Whether people without an account take part: where a drop has a room, that says who waits."""
    room = None if drop.room is Room.NONE else await gate.find_room(conn, slug=drop.slug)
    return drop.guests if room is None else room.guests
