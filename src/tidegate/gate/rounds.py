"""What happens to rooms by itself: lobbies open, rooms open and are drawn. Two schedulers at once do no harm."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

import structlog
from prometheus_client import Histogram

from tidegate.gate.beacon import Fetch
from tidegate.gate.contracts import Room
from tidegate.gate.rooms import STAFF, draw_room, hear_beacon, look_at_clock, open_room, undrawn_rooms
from tidegate.platform.database import Database
from tidegate.platform.failures import describe_error
from tidegate.platform.ids import RoomId
from tidegate.platform.settings_gate import GateSettings

log = structlog.get_logger(__name__)

OPENED_S = Histogram("tidegate_gate_open_seconds", "How long it took to open a room, its draw included.")


LOOK_S = 1.0
"""Longest pause between two looks at the rooms' times, which staff may change."""


async def open_rooms_once(database: Database) -> int:
    """Open the lobbies and rooms whose time has come; returns how many. What ails one room stops no other."""
    return (await _look(database))[0]


class RoomClock:
    """Opens lobbies and rooms on time; between two times it asks the database once a second only."""

    def __init__(self, database: Database, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._monotonic = monotonic
        self._look_at = -math.inf

    async def once(self) -> int:
        """Open what is due; returns how many lobbies and rooms that were."""
        now = self._monotonic()
        if now < self._look_at:
            return 0
        opened, next_s = await _look(self._database)
        self._look_at = now + max(0.0, min(LOOK_S, next_s))
        return opened


async def _look(database: Database) -> tuple[int, float]:
    """How many were opened, and the seconds until the next is due."""
    async with database.connection() as conn:
        look = await look_at_clock(conn)
    opened = look.lobbies
    for room_id in look.due:
        opened += await _open(database, room_id)
    return opened, LOOK_S if look.next_s is None else look.next_s


async def draw_rooms_once(database: Database, limits: GateSettings, fetch: Fetch) -> int:
    """Draw the rooms that have opened and whose beacon has spoken, or has been silent for too long."""
    async with database.connection() as conn:
        waiting = await undrawn_rooms(conn)
    return sum(await asyncio.gather(*(_draw(database, room, limits, fetch) for room in waiting)))


async def _open(database: Database, room_id: RoomId) -> int:
    started = time.perf_counter()
    try:
        async with database.transaction() as conn:
            done = await open_room(conn, room_id=room_id)
    except Exception as error:
        log.error("room_not_opened", room_id=str(room_id), error=describe_error(error))
        return 0
    if done:
        OPENED_S.observe(time.perf_counter() - started)
        log.info("room_opened", room_id=str(room_id))
    return int(done)


async def _draw(database: Database, room: Room, limits: GateSettings, fetch: Fetch) -> int:
    try:
        asked = room.beacon_source not in ("", STAFF) and room.beacon is None
        shown = await fetch(room.beacon_source) if asked else None
        async with database.transaction() as conn:
            if asked:
                await hear_beacon(conn, room_id=room.id, shown=shown)
            done = await draw_room(conn, room_id=room.id, limits=limits)
    except Exception as error:
        log.error("room_not_drawn", room_id=str(room.id), error=describe_error(error))
        return 0
    if done:
        log.info("room_drawn", room_id=str(room.id))
    return int(done)
