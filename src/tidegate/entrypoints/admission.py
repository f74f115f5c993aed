"""Rooms let people in: the loop that joins what the gate, the catalogue, the stock and the engine's speed know."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import structlog
from prometheus_client import Counter, Gauge, Histogram

from tidegate import catalog, gate, inventory
from tidegate.ops import read_samples
from tidegate.platform.database import Connection, Database
from tidegate.platform.failures import describe_error
from tidegate.platform.ids import RoomId
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
        drop = await catalog.find_drop(conn, slug=room.slug)
        if drop is not None and drop.closed_at is not None:
            await gate.close_room(conn, slug=room.slug)
            return None
        if room.phase not in (gate.Phase.OPEN, gate.Phase.SOLD_OUT):
            return None
        taken = await gate.begin_round(conn, room_id=room.id)
        if taken is None:
            return None
        spent = await inventory.spent_passes(conn, place_ids=[each.place_id for each in taken.inside])
        counts = self._unknown if drop is None else await _counts(conn, drop)
        return await gate.end_round(
            conn,
            taken,
            spends=[gate.Spend(each.place_id, each.items, each.spent_at) for each in spent],
            counts=counts,
            per_buyer=drop.per_buyer if drop else 1,
            engine=engine,
            settings=self.settings.admission,
        )

    @property
    def _unknown(self) -> gate.Counts:
        """Of a room before something that this shop does not sell: there is always something for those inside."""
        return gate.Counts(free=self.settings.admission.inside_max, held=0, sold=0)

    async def _measured(self) -> gate.Engine | None:
        """How fast the engine was of late; None when nobody knows, and then the pace stays as it is."""
        now_s = time.monotonic()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            samples = await read_samples(self.settings, limit=1)
            last = samples[-1] if samples else None
            if last is None or last.engine_p99_ms is None or last.at < time.time() - STALE_S:
                self._engine = None
            else:
                self._engine = gate.Engine(last.engine_p99_ms, last.at)
        return self._engine


async def _counts(conn: Connection, drop: catalog.Drop) -> gate.Counts:
    """Items of a drop as they stand. To be read after who has spent their pass: see `gate.end_round`."""
    levels = await inventory.stock_levels(conn, variant_ids=[item.variant_id for item in drop.items])
    return gate.Counts(
        free=sum(level.available for level in levels.values()),
        held=sum(level.held for level in levels.values()),
        sold=sum(level.sold for level in levels.values()),
    )
