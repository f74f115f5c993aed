"""Bulk sends yield to the shop: the scheduler decides how much of their time workers may give them, workers keep to it.

What passes between them is in Valkey. Where that is away, or nobody has decided of late, workers go at the pace of the
setting `pacing.unknown_share`: slow, but on.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, cast

import msgspec
from prometheus_client import Gauge
from redis.asyncio import Redis

from tidegate.notify.pace_rules import Facts, Limits, Memory, decide, idle_ms, objective_ms
from tidegate.platform.cpu import backend_beside, waited_for_cpu_s
from tidegate.platform.database import Connection
from tidegate.platform.latency_sharing import read_latency
from tidegate.platform.settings import Settings
from tidegate.platform.valkey import OUTAGE

PACE: Final = "tidegate:pace"
PACE_KEPT_S: Final = 5
MEMORY: Final = "tidegate:pace:memory"
MEMORY_KEPT_S: Final = 86_400
SENDING: Final = "tidegate:pace:sending"
SENDING_KEPT_S: Final = 12
"""A worker says so before each task of a bulk send, and may rest for some seconds after it."""

ROUND_S: Final = 1.0
NAP_MOST_S: Final = 0.1
"""Longest rest between two statements of one transaction: whoever pauses a send waits for its locks."""
LEAST_S: Final = 0.001
ASK_EVERY_S: Final = 0.5
ASKED_FOR_S: Final = 0.2
"""What was asked is not asked again for so long."""
REST_MOST_S: Final = 5.0
"""Longest rest between two tasks: a worker of all lanes is asked for receipts as well."""

SHARE = Gauge("tidegate_pace_share", "Share of their time that workers may give to bulk sends.")
OBJECTIVE = Gauge("tidegate_pace_objective_seconds", "How long the slowest percent of shoppers may wait meanwhile.")
WAITED = Gauge("tidegate_pace_p99_seconds", "How long the slowest percent of shoppers waited in the last seconds.")


class Pace(msgspec.Struct, frozen=True):
    """What was decided last. `p99_ms` is None where nobody asked for anything, or nobody knows."""

    share: float
    objective_ms: float
    p99_ms: float | None
    idle_ms: float | None
    sending: bool
    told: bool


class Breather:
    """Rests of a task, so that it takes no more than a share of its worker's time; the share is asked for anew.

    What goes on beside each other in a task naps in turns: nothing new begins while a rest is owed. Time for which
    others had the CPU while the task wanted it is no work, and costs it no rest: else it would yield twice.
    """

    def __init__(self, share: float, ask: Callable[[], Awaitable[float]] | None = None) -> None:
        self.share = share
        self._ask = ask
        self._asked_s = -math.inf
        self._turn = asyncio.Lock()
        self._backend: int | None = None
        self._worked_s = 0.0
        self._rested_s = 0.0
        self._since = self._clocks()

    def beside(self, conn: Connection) -> None:
        """The task works through this connection from now on."""
        self._count()
        self._backend = backend_beside(conn)
        self._since = self._clocks()

    async def nap(self, *, until: float = math.inf) -> None:
        """Rest for a moment, between two statements or two calls, and not beyond `until` (monotonic seconds)."""
        async with self._turn:
            await self._rest(min(NAP_MOST_S, until - time.monotonic()))

    async def rest(self) -> None:
        """Rest for what is still owed."""
        until_s = time.monotonic() + REST_MOST_S
        while await self._rest(min(ASK_EVERY_S, until_s - time.monotonic())):
            pass

    async def _rest(self, most_s: float) -> bool:
        """Rest for at most so long; says whether there was something to rest for."""
        self._count()
        owed_s = min(self._worked_s * (1.0 / self.share - 1.0) - self._rested_s, most_s)
        if owed_s <= LEAST_S:
            return False
        began_s = time.monotonic()
        await asyncio.sleep(owed_s)
        if self._ask is not None and time.monotonic() - self._asked_s >= ASKED_FOR_S:
            self.share = await self._ask()
            self._asked_s = time.monotonic()
        self._rested_s += time.monotonic() - began_s
        self._since = self._clocks()
        return True

    def _count(self) -> None:
        """Add what was worked since the last rest."""
        (then_s, waited_s), self._since = self._since, self._clocks()
        passed_s = self._since[0] - then_s
        waited_s = max(self._since[1] - waited_s, 0.0)  # a process that has ended tells 0
        self._worked_s += max(passed_s - waited_s, 0.0)

    def _clocks(self) -> tuple[float, float]:
        """Seconds that passed, and for how many of them this worker and the process behind it waited for a CPU."""
        waited_s = waited_for_cpu_s() + (waited_for_cpu_s(self._backend) if self._backend else 0.0)
        return time.monotonic(), waited_s


@asynccontextmanager
async def task_with_rests(valkey: Redis, settings: Settings) -> AsyncIterator[Breather]:
    """A task of bulk, which rests: says that one is under way, and asks how much of its time it may have."""

    async def ask() -> float:
        with suppress(*OUTAGE, msgspec.MsgspecError):
            line: Any = valkey.pipeline(transaction=False)
            line.set(SENDING, b"1", ex=SENDING_KEPT_S)
            line.get(PACE)
            _, told = await line.execute()
            if told is not None:
                return msgspec.json.decode(told, type=Pace).share
        return settings.pacing.unknown_share

    breather = Breather(await ask(), ask)
    yield breather
    await breather.rest()


async def decide_once(valkey: Redis, settings: Settings) -> int:
    """Measure and decide; a loop of the scheduler. Two schedulers decide in turns. Raises: one of `OUTAGE`."""
    waits = await read_latency(valkey)
    sending, kept = await cast("Awaitable[list[bytes | None]]", valkey.mget(SENDING, MEMORY))
    memory = _remembered(kept)
    now_s = time.time()
    if 0.0 <= now_s - memory.at_s < ROUND_S / 2:
        return 0
    p99_ms = None if waits is None else waits.p99_ms
    facts = Facts(
        now_s=now_s,
        sending=sending is not None,
        told=waits is not None,
        requests=0 if waits is None else waits.count,
        p99_ms=p99_ms,
    )
    limits = limits_of(settings)
    memory = decide(facts, memory, limits)
    objective = objective_ms(memory, limits)
    pace = Pace(memory.share, objective, p99_ms, idle_ms(memory), facts.sending, facts.told)
    line: Any = valkey.pipeline(transaction=False)
    line.set(PACE, msgspec.json.encode(pace), ex=PACE_KEPT_S)
    line.set(MEMORY, msgspec.json.encode(memory), ex=MEMORY_KEPT_S)
    await line.execute()
    SHARE.set(memory.share)
    OBJECTIVE.set(objective / 1000)
    WAITED.set((p99_ms or 0.0) / 1000)
    return 0


async def read_pace(valkey: Redis) -> Pace | None:
    """What was decided last; None where nobody decides, or nobody can be asked."""
    with suppress(*OUTAGE, msgspec.MsgspecError):
        told = await valkey.get(PACE)
        return None if told is None else msgspec.json.decode(told, type=Pace)
    return None


def limits_of(settings: Settings) -> Limits:
    """The settings of the loop."""
    pacing = settings.pacing
    return Limits(
        objective_ms=pacing.objective_ms,
        guess_ms=pacing.idle_guess_ms,
        floor=pacing.floor_share,
        unknown=pacing.unknown_share,
    )


def _remembered(text: bytes | None) -> Memory:
    with suppress(msgspec.MsgspecError):
        return Memory() if text is None else msgspec.json.decode(text, type=Memory)
    return Memory()
