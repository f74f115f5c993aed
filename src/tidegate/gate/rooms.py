"""Rooms: making one, its times and phases, and the draw when it opens. Each in the caller's transaction."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.errors import UniqueViolation

from tidegate.gate.contracts import DrawIsOver, Phase, Room, RoomExists, RoomMode, RoomUnknown, ValueTooEarly
from tidegate.gate.draw import commitment_of
from tidegate.gate.log import EMPTY_ROOT
from tidegate.platform.database import Connection
from tidegate.platform.ids import DropId, RoomId, new_id
from tidegate.platform.problems import InvalidRequest
from tidegate.platform.sealing import current_sealer
from tidegate.platform.settings_gate import GateSettings
from tidegate.platform.texts import text as _

SEED_COLUMN = "gate.rooms.seed_sealed"
SEED_BYTES = 32
MAX_BEACON = 1_000
STAFF = "staff"
"""Source of a beacon's value that somebody types in after the cut, in public."""

ROOM = (
    "id, drop_id, slug, mode, guests, phase, paused, lobby_opens_at, opens_at, size, cut, serving, pace_per_s,"
    " stock_left, commitment, seed, beacon_source, beacon, root, cut_root, drawn_at,"
    " message, entries_gone, cut_at, beacon_at"
)
ROOM_COLUMNS = ROOM.count(",") + 1

MAKE = f"""
INSERT INTO gate.rooms (
    id, drop_id, slug, mode, guests, lobby_opens_at, opens_at, commitment, seed_sealed, beacon_source, root
) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING {ROOM}
"""  # noqa: S608
CUT = """
UPDATE gate.rooms SET phase = 'open', cut = size, cut_root = root, cut_at = clock_timestamp()
WHERE id = %s AND phase IN ('scheduled', 'lobby') AND opens_at <= clock_timestamp()
"""
"""T0. Whoever got the row's lock before is in the draw; a second scheduler finds nothing to do."""

HEAR = """
UPDATE gate.rooms SET
    beacon_first = coalesce(beacon_first, %(shown)s::text),
    beacon_since = CASE WHEN beacon_since IS NULL OR (beacon_first IS NULL AND %(shown)s::text IS NOT NULL)
        THEN clock_timestamp() ELSE beacon_since END,
    beacon = CASE WHEN beacon_first <> %(shown)s::text THEN %(shown)s::text END,
    beacon_at = CASE WHEN beacon_first <> %(shown)s::text THEN clock_timestamp() END
WHERE id = %(room)s AND phase = 'open' AND drawn_at IS NULL AND beacon IS NULL
"""
"""One answer of a beacon. What it shows first may be older than the cut; what it shows next is not."""

LOOK = """
WITH lobbies AS (
    UPDATE gate.rooms SET phase = 'lobby'
    WHERE phase = 'scheduled' AND lobby_opens_at <= clock_timestamp() AND opens_at > clock_timestamp() RETURNING id
), coming AS (
    SELECT id, opens_at, CASE WHEN lobby_opens_at > clock_timestamp() THEN lobby_opens_at ELSE opens_at END AS next_at
    FROM gate.rooms WHERE phase IN ('scheduled', 'lobby')
)
SELECT (SELECT count(*)::int FROM lobbies),
    array(SELECT id FROM coming WHERE opens_at <= clock_timestamp() ORDER BY opens_at, id),
    (SELECT extract(epoch FROM min(next_at) - clock_timestamp())::float8 FROM coming)
"""


def room_of(row: Sequence[Any]) -> Room:
    """The room of a row that begins with the columns of ROOM."""
    return Room(row[0], row[1], row[2], RoomMode(row[3]), row[4], Phase(row[5]), *row[6:ROOM_COLUMNS])


async def create_room(
    conn: Connection,
    *,
    drop_id: DropId,
    slug: str,
    mode: RoomMode,
    opens_at: datetime,
    lobby_opens_at: datetime,
    guests: bool = False,
    beacon_source: str = "",
) -> Room:
    """Make a drop's room and commit to its seed. `beacon_source`: a URL, `staff`, or empty for no beacon.

    Raises: RoomExists while the drop has one that is not closed; InvalidRequest when the lobby would open too late.
    """
    if lobby_opens_at > opens_at:
        raise InvalidRequest(_("The lobby must open before the drop does."))
    seed = secrets.token_bytes(SEED_BYTES)
    sealed = current_sealer().seal(seed.hex(), column=SEED_COLUMN)
    try:
        async with conn.transaction():
            rows = await conn.execute(
                MAKE,
                (
                    RoomId(new_id()),
                    drop_id,
                    slug,
                    mode.value,
                    guests,
                    lobby_opens_at,
                    opens_at,
                    commitment_of(seed),
                    sealed,
                    beacon_source,
                    EMPTY_ROOT,
                ),
            )
            made = await rows.fetchone()
    except UniqueViolation:
        raise RoomExists(f"the drop {slug} has a waiting room already: close that one first.") from None
    assert made is not None
    return room_of(made)


async def find_room(conn: Connection, *, slug: str) -> Room | None:
    """The newest room of a drop, closed or not."""
    rows = await conn.execute(
        f"SELECT {ROOM} FROM gate.rooms WHERE slug = %s ORDER BY id DESC LIMIT 1",  # noqa: S608
        (slug,),
    )
    found = await rows.fetchone()
    return None if found is None else room_of(found)


async def list_rooms(conn: Connection, *, limit: int) -> list[Room]:
    """The newest rooms, those that are not closed first."""
    rows = await conn.execute(
        f"SELECT {ROOM} FROM gate.rooms ORDER BY phase = 'closed', id DESC LIMIT %s",  # noqa: S608
        (limit,),
    )
    return [room_of(row) for row in await rows.fetchall()]


async def lock_room(conn: Connection, *, slug: str) -> Room:
    """The live room of a drop, locked until the transaction ends. Raises: RoomUnknown."""
    rows = await conn.execute(
        f"SELECT {ROOM} FROM gate.rooms WHERE slug = %s AND phase <> 'closed' FOR NO KEY UPDATE",  # noqa: S608
        (slug,),
    )
    found = await rows.fetchone()
    if found is None:
        raise RoomUnknown()
    return room_of(found)


async def reschedule(conn: Connection, *, slug: str, opens_at: datetime) -> Room:
    """Move a room's opening, and its lobby's by as much; where it is due by that, it opens here.

    Nobody who waits sees a lobby whose time is over. Raises: RoomUnknown; DrawIsOver once it has opened.
    """
    room = await lock_room(conn, slug=slug)
    if room.cut is not None:
        raise DrawIsOver(_("This room has opened already, so its time stays as it is. Nothing was changed."))
    lead: timedelta = room.opens_at - room.lobby_opens_at
    await conn.execute(
        "UPDATE gate.rooms SET opens_at = %s, lobby_opens_at = %s WHERE id = %s", (opens_at, opens_at - lead, room.id)
    )
    await open_room(conn, room_id=room.id)
    return await lock_room(conn, slug=slug)


async def pause_room(conn: Connection, *, slug: str, paused: bool) -> Room:
    """Let nobody in for now, or go on; joining and the draw are not touched. Raises: RoomUnknown."""
    room = await lock_room(conn, slug=slug)
    await conn.execute("UPDATE gate.rooms SET paused = %s WHERE id = %s", (paused, room.id))
    return await lock_room(conn, slug=slug)


async def close_room(conn: Connection, *, slug: str) -> None:
    """End a room for good; one that is closed stays closed. A room that never opened has no draw."""
    await conn.execute(
        "UPDATE gate.rooms SET phase = 'closed', closed_at = clock_timestamp() WHERE slug = %s AND phase <> 'closed'",
        (slug,),
    )


async def set_beacon(conn: Connection, *, slug: str, value: str) -> Room:
    """Put a value from outside into the draw that is to come, once, as staff read it out in public after the cut.

    Raises: RoomUnknown; InvalidRequest when the room's beacon is not the staff's; ValueTooEarly before the cut;
    DrawIsOver when it has one, or is drawn: nobody may try several.
    """
    room = await lock_room(conn, slug=slug)
    text = value.strip()
    if room.beacon_source != STAFF:
        raise InvalidRequest(_("This room said before that its draw takes no value from the staff."))
    if room.cut is None:
        raise ValueTooEarly(
            _(
                "People can still join, and whoever knew the value could add places until the order suits them. "
                "Draw it in public and type it in right after the room has opened. Nothing was changed."
            )
        )
    if room.beacon is not None:
        raise DrawIsOver(_("This draw has its value already, and it can have one only. Nothing was changed."))
    if room.drawn_at is not None:
        raise DrawIsOver(_("The value came too late: the lots are drawn without one. Nothing was changed."))
    if not 1 <= len(text) <= MAX_BEACON or not text.isprintable():
        raise InvalidRequest(_("Type in the value as one line of up to %(most)s characters.", most=MAX_BEACON))
    await conn.execute(
        "UPDATE gate.rooms SET beacon = %s, beacon_at = clock_timestamp() WHERE id = %s", (text, room.id)
    )
    return await lock_room(conn, slug=slug)


async def hear_beacon(conn: Connection, *, room_id: RoomId, shown: str | None) -> None:
    """Note what a room's source shows after the cut, None when it is silent; a second value goes into the draw.

    The wait begins when it is first asked, and anew when it first answers, whichever process asks.
    """
    await conn.execute(HEAR, {"shown": shown, "room": room_id})


@dataclass(frozen=True, slots=True)
class Look:
    """What the clock says of the rooms: lobbies that were opened, rooms to open, and the time until the next of both.

    `next_s`: seconds, or None where nothing is to come.
    """

    lobbies: int
    due: Sequence[RoomId]
    next_s: float | None


async def look_at_clock(conn: Connection) -> Look:
    """Open the lobbies whose time has come, and find the rooms whose time to open has come."""
    rows = await conn.execute(LOOK)
    found = await rows.fetchone()
    assert found is not None, "an aggregate has one row"
    return Look(*found)


async def undrawn_rooms(conn: Connection) -> list[Room]:
    """Rooms that have opened and wait for their beacon to be drawn."""
    rows = await conn.execute(
        f"SELECT {ROOM} FROM gate.rooms WHERE phase = 'open' AND mode = 'draw' AND drawn_at IS NULL ORDER BY id"  # noqa: S608
    )
    return [room_of(row) for row in await rows.fetchall()]


async def open_room(conn: Connection, *, room_id: RoomId) -> bool:
    """T0 of one room: cut its log, and draw unless a beacon's value is to come; whether this call did it."""
    done = await conn.execute(CUT, (room_id,))
    if done.rowcount:
        await draw_room(conn, room_id=room_id, limits=None)
    return done.rowcount == 1


async def draw_room(conn: Connection, *, room_id: RoomId, limits: GateSettings | None) -> bool:
    """Draw the lots of a room that was cut: one row, written once, however many wait; whether this call did it.

    It is drawn with its beacon's value, or without one when that was awaited for as long as `limits` say; without
    `limits` somebody else decides that.
    """
    rows = await conn.execute(
        "SELECT seed_sealed, beacon_source = '' OR beacon IS NOT NULL OR coalesce("
        " CASE WHEN beacon_source = %s THEN cut_at + make_interval(secs => %s::float8)"
        " ELSE beacon_since + make_interval(secs => %s::float8) END <= clock_timestamp(), false)"
        " FROM gate.rooms WHERE id = %s AND phase = 'open' AND mode = 'draw' AND drawn_at IS NULL FOR NO KEY UPDATE",
        (STAFF, limits and limits.beacon_staff_wait_s, limits and limits.beacon_wait_s, room_id),
    )
    found = await rows.fetchone()
    if found is None or not found[1]:
        return False
    seed = bytes.fromhex(current_sealer().open(found[0], column=SEED_COLUMN))
    await conn.execute(
        "UPDATE gate.rooms SET seed = %s, seed_sealed = NULL, drawn_at = clock_timestamp() WHERE id = %s",
        (seed, room_id),
    )
    return True
