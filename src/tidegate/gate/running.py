"""The gate as a process has it: batches of joins and look-ups, keys, and the rooms' status in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import structlog

from tidegate.gate.contracts import Room, RoomUnknown
from tidegate.gate.pace import FollowersPace, Pace
from tidegate.gate.places import RACE, Joined, JoinWish, PlaceQuestion, find_places, settle_joins
from tidegate.gate.rooms import list_rooms
from tidegate.gate.shops import ForeignRoom, find_foreign_rooms
from tidegate.gate.signing import KeyRing, load_keys
from tidegate.gate.status import KeptStatus, keep_statuses
from tidegate.platform.batcher import Batcher
from tidegate.platform.clock import database_now
from tidegate.platform.database import Database
from tidegate.platform.failures import describe_error
from tidegate.platform.group_commit import GroupCommit
from tidegate.platform.ids import RoomId
from tidegate.platform.reading import ReadLine
from tidegate.platform.settings import Settings
from tidegate.platform.transactions import PostgresTransactions

log = structlog.get_logger(__name__)

KEYS_EVERY = 20
"""Rounds of the status between two looks for new keys: well within the minute in which a new key does not sign."""

PROOFS_AT_ONCE = 8
"""Public proofs that a process makes at the same time, each a few milliseconds; more are asked to come again."""


Statuses = Mapping[str, KeptStatus]
"""Rooms and their documents by the drops' slugs."""


class Gate:
    """What the gate's use cases stand on. `open_gate` makes one; it belongs to one event loop."""

    def __init__(
        self, database: Database, settings: Settings, ring: KeyRing, *, show: Callable[[Statuses], None]
    ) -> None:
        self.database = database
        self.settings = settings
        self.ring = ring
        self._show = show
        self.statuses: dict[str, KeptStatus] = {}
        self.foreign: dict[RoomId, ForeignRoom] = {}
        """Those of the rooms that stand before other shops."""
        self.pace = Pace(settings.gate.asks_per_minute)
        self.followers = FollowersPace(
            per_minute=settings.gate.status_per_minute,
            per_minute_per_network=settings.gate.status_per_minute_per_network,
        )
        self.slowed = 0
        """Refusals that are held back."""
        self.downloads = asyncio.Semaphore(settings.gate.downloads)
        self.proofs = asyncio.Semaphore(PROOFS_AT_ONCE)
        self._joins: GroupCommit[JoinWish, Joined] = GroupCommit(
            PostgresTransactions(database.connect, is_race=lambda constraint: constraint == RACE),
            partial(settle_joins, max_joins=settings.gate.max_joins),
            name="joins",
            limits=settings.engine,
        )
        self._line = ReadLine(database)
        self._questions: Batcher[PlaceQuestion, Joined | None] = Batcher(
            self._find, name="places", limits=settings.engine, apart_ms=settings.engine.lookups_apart_ms
        )

    def start(self) -> None:
        """Begin to take joins and questions."""
        self._joins.start()
        self._questions.start()

    async def close(self) -> None:
        """Settle what waits, and end."""
        await asyncio.gather(self._joins.drain(), self._questions.drain())
        await self._line.close()

    def kept(self, slug: str) -> KeptStatus:
        """The room of a drop as of the last second. Raises: RoomUnknown."""
        found = self.statuses.get(slug)
        if found is None:
            raise RoomUnknown()
        return found

    def kept_foreign(self, slug: str) -> tuple[Room, ForeignRoom]:
        """A room before another shop, and what that is and said, as of the last second. Raises: RoomUnknown."""
        room = self.kept(slug).room
        found = self.foreign.get(room.id)
        if found is None:
            raise RoomUnknown()
        return room, found

    async def join(self, wish: JoinWish) -> Joined:
        """Give somebody their place, with whatever batch it lands in. Raises: as `why_not_join`, JoinedTooOften."""
        return await self._joins.submit(wish)

    async def find(self, question: PlaceQuestion) -> Joined | None:
        """Somebody's place and its room, or None."""
        return await self._questions.submit(question)

    def ask(self, question: PlaceQuestion) -> asyncio.Future[Joined | None]:
        """The same for a caller that has something else to wait for meanwhile. Raises: Overloaded."""
        return self._questions.hand_in(question)

    async def refresh(self, *, with_keys: bool = False) -> None:
        """Read the rooms, and the keys if asked, once for everybody who will ask."""
        limits = self.settings.gate
        async with self.database.connection() as conn:
            rooms = await list_rooms(conn, limit=limits.rooms_max)
            foreign = await find_foreign_rooms(conn, room_ids=[room.id for room in rooms])
            now = await database_now(conn)
            if with_keys:
                self.ring = await load_keys(conn)
        self.foreign = foreign
        self.statuses = keep_statuses(rooms, now=now, limits=limits)
        self._show(self.statuses)

    async def _find(self, questions: Sequence[PlaceQuestion]) -> list[Joined | Exception | None]:
        return [*await self._line.run(partial(find_places, questions=questions))]


def forget(asked: asyncio.Future[Joined | None]) -> None:
    """Withdraw what is still asked; an answer that nobody has heard is none that was forgotten."""
    if not asked.cancel() and not asked.cancelled():
        asked.exception()


@asynccontextmanager
async def open_gate(
    database: Database, settings: Settings, *, show: Callable[[Statuses], None] = lambda _: None
) -> AsyncIterator[Gate]:
    """A gate for the length of a block; joins that wait at its end are still settled.

    `show` is told of the rooms' status each time that it is read anew.

    Raises: OUTAGE when PostgreSQL is away; SealBroken when the keys were sealed with one that is not configured.
    """
    async with database.connection() as conn:
        ring = await load_keys(conn)
    gate = Gate(database, settings, ring, show=show)
    await gate.refresh()
    gate.start()
    renewing = asyncio.create_task(_renew(gate), name="gate-status")
    try:
        yield gate
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        await gate.close()


async def _renew(gate: Gate) -> None:
    """Keep the status fresh. While the database is away the last one is served, whose `at` tells its age."""
    rounds, failures = 0, 0
    while True:
        await asyncio.sleep(gate.settings.gate.status_refresh_ms / 1000)
        rounds += 1
        try:
            await gate.refresh(with_keys=rounds % KEYS_EVERY == 0)
        except Exception as error:
            failures += 1
            if failures == 1:
                log.warning("rooms_not_read", error=describe_error(error))
        else:
            failures = 0
