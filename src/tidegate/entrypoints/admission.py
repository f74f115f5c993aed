"""Rooms let people in: the loop that joins what the gate, the catalogue, the stock and the engine's speed know."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import structlog
from prometheus_client import Counter, Gauge, Histogram

from tidegate import catalog, gate, inventory
from tidegate.ops import read_samples
from tidegate.platform.database import Connection, Database
from tidegate.platform.failures import describe_error
from tidegate.platform.ids import PlaceId, RoomId
from tidegate.platform.settings import Settings

log = structlog.get_logger(__name__)

ADMITTED = Counter("tidegate_gate_admitted", "People who were let in.", ["drop"])
EXPIRED = Counter("tidegate_gate_no_shows", "People who were let in and held nothing in time.", ["drop"])
INSIDE = Gauge("tidegate_gate_inside", "People who were let in and hold nothing yet.", ["drop"])
ROUND_S = Histogram("tidegate_gate_round_seconds", "Length of one room's round.")

LOOK_S = 5.0
"""How often the engine's speed is looked up; it is measured every `observability.sample_s`."""

STALE_S = 60.0
"""What was measured longer ago says nothing of now."""


@dataclass(slots=True)
class Admission:
    """The rounds of all open rooms. It remembers which rooms are broken, so that a room's trouble is told once."""

    database: Database
    settings: Settings
    goods_of: Callable[[Connection, gate.LiveRoom], Awaitable[Goods | None]]
    measure: Callable[[], Awaitable[gate.Engine | None]]
    _engine: gate.Engine | None = None
    _looked_s: float = float("-inf")
    _broken: set[RoomId] = field(default_factory=set)

    async def once(self) -> int:
        """One round of every room, some at once; what ails one room stops no other. Always 0: a round waits its turn.

        Raises: OUTAGE when the database is away.
        """
        limits = self.settings.admission
        async with self.database.connection() as conn:
            rooms = await gate.live_rooms(conn, limit=self.settings.gate.rooms_max)
        engine = await self._measured()
        turn = asyncio.Semaphore(limits.rooms_at_once)
        await asyncio.gather(*(self._guarded(room, engine, turn) for room in rooms))
        return 0

    async def _guarded(self, room: gate.LiveRoom, engine: gate.Engine | None, turn: asyncio.Semaphore) -> None:
        async with turn:
            started = time.perf_counter()
            try:
                async with asyncio.timeout(self.settings.admission.round_timeout_s):
                    async with self.database.transaction() as conn:
                        outcome = await self._round(conn, room, engine)
            except Exception as error:
                if room.id not in self._broken:
                    self._broken.add(room.id)
                    log.error("room_not_served", drop=room.slug, error=describe_error(error))
                return
            if room.id in self._broken:
                self._broken.discard(room.id)
                log.info("room_served_again", drop=room.slug)
            if outcome is None:
                return
            ROUND_S.observe(time.perf_counter() - started)
            ADMITTED.labels(room.slug).inc(outcome.admitted)
            EXPIRED.labels(room.slug).inc(outcome.expired)
            INSIDE.labels(room.slug).set(outcome.inside)
            if outcome.phase is not room.phase:
                log.info("room_changed", drop=room.slug, phase=outcome.phase.value)

    async def _round(self, conn: Connection, room: gate.LiveRoom, engine: gate.Engine | None) -> gate.Outcome | None:
        goods = await self.goods_of(conn, room)
        if goods is None:
            return None
        if goods.over:
            await gate.close_room(conn, slug=room.slug)
            return None
        if room.phase not in (gate.Phase.OPEN, gate.Phase.SOLD_OUT):
            return None
        taken = await gate.begin_round(conn, room_id=room.id)
        if taken is None:
            return None
        spends = await goods.spends([each.place_id for each in taken.inside])
        return await gate.end_round(
            conn,
            taken,
            spends=spends,
            counts=await goods.counts(),
            per_buyer=goods.per_buyer,
            engine=goods.engine or engine,
            settings=self.settings.admission,
        )

    async def _measured(self) -> gate.Engine | None:
        """How fast the engine was of late; None when nobody knows, and then the pace stays as it is."""
        now_s = time.monotonic()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            self._engine = await self.measure()
        return self._engine


class Goods(Protocol):
    """What a room stands before. `counts` are asked for after `spends`: see `gate.end_round`."""

    @property
    def over(self) -> bool:
        """Whether it was closed, and the room with it."""

    @property
    def per_buyer(self) -> int:
        """Items that one buyer may take."""

    @property
    def engine(self) -> gate.Engine | None:
        """How fast whoever sells it is, where that is not this shop."""

    async def spends(self, place_ids: Sequence[PlaceId]) -> list[gate.Spend]:
        """Which of these places spent their pass."""

    async def counts(self) -> gate.Counts:
        """Items as they stand."""


@dataclass(frozen=True, slots=True)
class OwnGoods:
    """A drop of this shop."""

    conn: Connection
    drop: catalog.Drop
    engine: None = None

    @property
    def over(self) -> bool:
        """Whether staff closed the drop."""
        return self.drop.closed_at is not None

    @property
    def per_buyer(self) -> int:
        """As the drop says."""
        return self.drop.per_buyer

    async def spends(self, place_ids: Sequence[PlaceId]) -> list[gate.Spend]:
        """Those who hold something."""
        found = await inventory.spent_passes(self.conn, place_ids=place_ids)
        return [gate.Spend(each.place_id, each.items, each.spent_at) for each in found]

    async def counts(self) -> gate.Counts:
        """Stock of all that the drop sells."""
        levels = await inventory.stock_levels(self.conn, variant_ids=[item.variant_id for item in self.drop.items])
        return gate.Counts(
            free=sum(level.available for level in levels.values()),
            held=sum(level.held for level in levels.values()),
            sold=sum(level.sold for level in levels.values()),
        )


@dataclass(frozen=True, slots=True)
class ForeignGoods:
    """What a shop elsewhere says it has."""

    conn: Connection
    room: gate.ForeignRoom
    inside_max: int
    over: bool = False

    @property
    def per_buyer(self) -> int:
        """As the room says."""
        return self.room.per_buyer

    @property
    def engine(self) -> gate.Engine | None:
        """As the shop says."""
        return self.room.engine

    async def spends(self, place_ids: Sequence[PlaceId]) -> list[gate.Spend]:
        """As the shop says."""
        return await gate.foreign_spends(self.conn, place_ids=place_ids)

    async def counts(self) -> gate.Counts:
        """As the shop says; as long as it says nothing there is always something for those inside."""
        return self.room.counts(unknown=self.inside_max)


async def foreign_goods(settings: Settings, conn: Connection, room: gate.LiveRoom) -> ForeignGoods | None:
    """What a room before another shop stands before; None for other rooms."""
    found = (await gate.find_foreign_rooms(conn, room_ids=[room.id])).get(room.id)
    return None if found is None else ForeignGoods(conn, found, settings.admission.inside_max)


async def any_goods(settings: Settings, conn: Connection, room: gate.LiveRoom) -> Goods:
    """What any room stands before; a drop that is nowhere says nothing of its goods."""
    drop = await catalog.find_drop(conn, slug=room.slug)
    if drop is not None:
        return OwnGoods(conn, drop)
    silent = gate.ForeignRoom(room.id, room.slug, "", b"", 1, None, 0, 0, None, None)
    return await foreign_goods(settings, conn, room) or ForeignGoods(conn, silent, settings.admission.inside_max)


def shop_admission(database: Database, settings: Settings) -> Admission:
    """The rounds of a whole shop: of its own rooms, and of those before other shops."""
    return Admission(database, settings, partial(any_goods, settings), partial(_last_engine, settings))


def gate_admission(database: Database, settings: Settings) -> Admission:
    """The rounds of a gate on its own: of rooms before other shops, which say themselves how fast they are."""
    return Admission(database, settings, partial(foreign_goods, settings), _no_engine)


async def clear_rooms(settings: Settings, conn: Connection) -> int:
    """Let go of what rooms that are long over have left."""
    limits = settings.gate
    return await gate.clear_places(conn, keep_days=limits.keep_days, draw_keep_days=limits.draw_keep_days)


async def _last_engine(settings: Settings) -> gate.Engine | None:
    samples = await read_samples(settings, limit=1)
    last = samples[-1] if samples else None
    if last is None or last.engine_p99_ms is None or last.at < time.time() - STALE_S:
        return None
    return gate.Engine(last.engine_p99_ms, last.at)


async def _no_engine() -> gate.Engine | None:
    return None
