"""What staff see and set of an open room: how the line moves, how fast it may, and a word to all who wait."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from tidegate.gate.contracts import Phase, Room, RoomUnknown
from tidegate.gate.controller import Limits, Memory, begin
from tidegate.gate.rooms import find_room, lock_room
from tidegate.platform.database import Connection
from tidegate.platform.problems import InvalidRequest
from tidegate.platform.settings_gate import AdmissionSettings
from tidegate.platform.texts import text as _

MAX_MESSAGE = 500
MAX_PER_MIN = 1_000_000


class RoomView(Struct, frozen=True):
    """A room as staff see it. Counts are people since it opened, `held` and `sold` items, rates shares from 0 to 1.

    `waiting` counts those who left while they waited too, until their number comes up. `inside`: let in, and nothing
    held yet. `absent`: let in and did nothing with it. `reach`: how many more than those inside will probably get
    something; None while nobody is let in. `rate_per_s`: the pace that the loop would go at most.
    """

    room: Room
    waiting: int
    admitted: int
    inside: int
    spent: int
    absent: int
    held: int
    sold: int
    reach: int | None
    no_show_rate: float
    completion_rate: float
    finish_s: float
    rate_per_s: float
    speed_limit_per_min: int | None


async def view_room(conn: Connection, *, slug: str, settings: AdmissionSettings) -> RoomView | None:
    """The newest room of a drop, or None."""
    room = await find_room(conn, slug=slug)
    if room is None:
        return None
    rows = await conn.execute(
        "SELECT memory::text, admitted, inside, held, sold, reach, speed_limit_per_min FROM gate.admissions"
        " WHERE room_id = %s",
        (room.id,),
    )
    row = await rows.fetchone() or (None, 0, 0, 0, 0, None, None)
    fresh = begin(Limits(1, settings.start_per_s, settings.objective_ms))
    memory = fresh if row[0] is None else msgspec.json.decode(row[0], type=Memory)
    opened = room.phase in (Phase.OPEN, Phase.SOLD_OUT)
    return RoomView(
        room=room,
        waiting=max(room.size + 1 - room.serving, 0),
        admitted=row[1],
        inside=row[2] if opened else 0,
        spent=memory.spent,
        absent=memory.absent,
        held=row[3],
        sold=row[4],
        reach=row[5],
        no_show_rate=memory.no_show_rate,
        completion_rate=memory.completion_rate,
        finish_s=memory.finish_s,
        rate_per_s=memory.rate_per_s,
        speed_limit_per_min=row[6],
    )


async def limit_speed(conn: Connection, *, slug: str, per_min: int | None) -> None:
    """Let at most so many people in per minute, or as many as the loop decides. Raises: RoomUnknown, InvalidRequest."""
    if per_min is not None and not 1 <= per_min <= MAX_PER_MIN:
        raise InvalidRequest(_("A speed limit is a whole number of people per minute, 1 or more; pause to stop."))
    room = await find_room(conn, slug=slug)
    if room is None or room.phase is Phase.CLOSED:
        raise RoomUnknown()
    await conn.execute(
        "INSERT INTO gate.admissions (room_id, speed_limit_per_min) VALUES (%s, %s)"
        " ON CONFLICT (room_id) DO UPDATE SET speed_limit_per_min = excluded.speed_limit_per_min",
        (room.id, per_min),
    )


async def tell_waiting(conn: Connection, *, slug: str, message: str) -> None:
    """Say something to all who wait in a room; an empty message takes it back. Raises: RoomUnknown, InvalidRequest."""
    text = " ".join(message.split())
    if len(text) > MAX_MESSAGE or not text.isprintable():
        raise InvalidRequest(_("Write a message of at most %(most)s characters.", most=MAX_MESSAGE))
    room = await lock_room(conn, slug=slug)
    await conn.execute("UPDATE gate.rooms SET message = %s WHERE id = %s", (text, room.id))
