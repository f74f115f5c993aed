"""Drops that have a waiting room, kept in memory: a crowd that waits reads none of them from the database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tidegate import catalog
from tidegate.catalog import Drop
from tidegate.platform.database import Database
from tidegate.storefront.freshness import one_state
from tidegate.web import Answers

MOST_KEPT = 1_000

RoomTitle = Callable[[str], Awaitable[str | None]]
"""What a room is for, by its drop's address; `app.state.room_title`."""


@dataclass(slots=True)
class RoomDrops:
    """The drops of one process. Each is true as long as the catalogue's revision is the one that it was read at."""

    database: Database
    answers: Answers
    _kept: dict[str, tuple[int, Drop]] = field(default_factory=dict)

    async def title(self, slug: str) -> str | None:
        """What a drop is called, or None."""
        drop = await self.find(slug)
        return None if drop is None else drop.title

    async def find(self, slug: str) -> Drop | None:
        """The drop, or None."""
        revision, known = self._kept.get(slug, (None, None))
        if known is not None and revision == self.answers.revision:
            return known
        async with one_state(self.database) as conn:
            found = await catalog.find_drop(conn, slug=slug)
            read_at = await catalog.read_revision(conn)
        if found is not None:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[slug] = (read_at, found)
        return found
