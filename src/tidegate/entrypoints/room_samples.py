"""What the rooms of a gate on its own were like in the last hour, in one process's memory, for its staff's curves."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence

from tidegate.gate import find_foreign_rooms, live_rooms, view_room
from tidegate.ops import DropSample
from tidegate.platform.database import Database
from tidegate.platform.settings import Settings

EVERY_S = 10.0
KEPT = 360
"""Samples of a room: an hour of them."""


class RoomSamples:
    """Looks at the rooms before other shops; call `take` every `EVERY_S`."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._taken: dict[str, deque[DropSample]] = {}

    @property
    def taken(self) -> Mapping[str, Sequence[DropSample]]:
        """The samples of each room that is not closed, by its drop's address, the oldest first."""
        return self._taken

    async def take(self) -> int:
        """Look once; returns how many rooms there were."""
        at = time.time()
        async with self._database.connection() as conn:
            rooms = await live_rooms(conn, limit=self._settings.gate.rooms_max)
            foreign = await find_foreign_rooms(conn, room_ids=[room.id for room in rooms])
            views = [
                await view_room(conn, slug=room.slug, settings=self._settings.admission)
                for room in rooms
                if room.id in foreign
            ]
        known = [view for view in views if view is not None]
        for gone in self._taken.keys() - {view.room.slug for view in known}:
            del self._taken[gone]
        for view in known:
            left = foreign[view.room.id].free if view.room.id in foreign else None
            sample = DropSample(at, view.held, view.sold, left, view.waiting, view.inside, view.absent, view.admitted)
            self._taken.setdefault(view.room.slug, deque(maxlen=KEPT)).append(sample)
        return len(known)
