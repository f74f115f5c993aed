"""A simulated crowd before a simulated engine, in virtual time: what the controller of admission is judged by."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field, replace

from tidegate.gate.controller import Facts, Limits, Memory, begin, decide

TICK_S = 0.5
SAMPLE_S = 10.0
"""How often the engine's p99 becomes known, as in the shop."""


@dataclass(frozen=True)
class World:
    """What the controller cannot know. `think_s` and `pay_s` are medians; shares are probabilities."""

    stock: int
    crowd: int
    capacity_per_s: float
    no_show: float = 0.2
    completion: float = 0.9
    think_s: float = 15.0
    pay_s: float = 30.0
    pass_s: float = 180.0
    hold_s: float = 300.0
    per_buyer: int = 1
    seed: int = 1
    base_ms: float = 10.0
    slow_from_s: float = math.inf
    """From here on the engine has a tenth of its capacity for a minute."""

    def capacity(self, now_s: float) -> float:
        """Holds a second that the engine can place now."""
        return self.capacity_per_s * (0.1 if self.slow_from_s <= now_s < self.slow_from_s + 60 else 1.0)


@dataclass
class Crowd:
    """One sale. `omniscient`: the oracle lets people in who knows the capacity, and who will come."""

    world: World
    limits: Limits
    omniscient: bool = False

    now_s: float = 0.0
    done_s: float = math.inf
    """When nothing was left or nobody was left in line."""
    sold: int = 0
    turned_away: int = 0
    """People with a pass who found nothing free."""
    over_s: float = 0.0
    """Seconds in which the engine was slower than its objective."""
    rates: list[tuple[float, float]] = field(default_factory=list)
    entered: list[tuple[float, int, int, int]] = field(default_factory=list)
    """Time, people admitted, people inside with them, items free."""

    sales: list[tuple[float, int]] = field(default_factory=list)
    """Time, and items sold until then."""

    def __post_init__(self) -> None:
        self.draw = random.Random(self.world.seed)
        self.memory: Memory = begin(self.limits)
        self.free, self.held, self.inside, self.coming, self.waiting = self.world.stock, 0, 0, 0, self.world.crowd
        self.arrivals: list[tuple[float, float]] = []
        self.ends: list[tuple[float, int, bool]] = []
        self.lapses: deque[tuple[float, bool]] = deque()
        self.queue: deque[float] = deque()
        self.budget, self.worst_ms, self.load, self.arrived = 0.0, 0.0, 0.0, 0
        self.p99_ms: float | None = None
        self.measured_s = 0.0

    def run(self, most_s: float = 7_200.0) -> Crowd:
        """Live until the sale is over."""
        while self.now_s < most_s:
            self._end_holds()
            self._lapse()
            self._serve()
            self._measure()
            if self.now_s.is_integer():
                self._admit()
            gone = self.free == 0 and self.held == 0
            if gone or (self.waiting == 0 and self.inside == 0 and self.held == 0):
                self.done_s = self.now_s
                break
            self.now_s += TICK_S
        return self

    def _end_holds(self) -> None:
        while self.ends and self.ends[0][0] <= self.now_s:
            _, items, pays = heapq.heappop(self.ends)
            self.held -= items
            if pays:
                self.sold += items
                self.sales.append((self.now_s, self.sold))
                self.memory = replace(self.memory, sold=self.memory.sold + items)
            else:
                self.free += items
                self.memory = replace(self.memory, returned=self.memory.returned + items)

    def _lapse(self) -> None:
        while self.lapses and self.lapses[0][0] <= self.now_s:
            _, came = self.lapses.popleft()
            if not came:
                self.inside -= 1
                self.memory = replace(self.memory, absent=self.memory.absent + 1)

    def _serve(self) -> None:
        self.arrived = 0
        while self.arrivals and self.arrivals[0][0] <= self.now_s:
            self.queue.append(heapq.heappop(self.arrivals)[1])
            self.arrived += 1
        tick = self.world.capacity(self.now_s) * TICK_S
        self.budget = min(self.budget + tick, max(tick, 1.0))
        while self.queue and self.budget >= 1.0:
            self.budget -= 1.0
            self._hold(self.queue.popleft())

    def _hold(self, entered_s: float) -> None:
        self.inside -= 1
        self.coming -= 1
        items = min(self.draw.randint(1, self.world.per_buyer), self.free)
        if items == 0:
            self.turned_away += 1
            return
        self.free, self.held = self.free - items, self.held + items
        known = self.memory
        weight = max(1.0 / (known.spent + 1), 0.01)
        finish_s = known.finish_s + (self.now_s - entered_s - known.finish_s) * weight
        self.memory = replace(known, spent=known.spent + 1, items=known.items + items, finish_s=finish_s)
        pays = self.draw.random() < self.world.completion
        lasts_s = self.draw.lognormvariate(0.0, 0.5) * self.world.pay_s if pays else self.world.hold_s
        heapq.heappush(self.ends, (self.now_s + min(lasts_s, self.world.hold_s), items, pays))

    def _measure(self) -> None:
        capacity = self.world.capacity(self.now_s)
        self.load += (self.arrived / TICK_S / capacity - self.load) * 0.1
        now_ms = self.world.base_ms / (1.0 - min(self.load, 0.99)) + 1000.0 * len(self.queue) / capacity
        self.worst_ms = max(self.worst_ms, now_ms)
        self.over_s += TICK_S if now_ms > self.limits.objective_ms else 0.0
        if self.now_s - self.measured_s >= SAMPLE_S:
            self.p99_ms, self.measured_s, self.worst_ms = self.worst_ms, self.now_s, 0.0

    def _admit(self) -> None:
        if self.omniscient:
            each = (1 + self.world.per_buyer) / 2
            count = int(min(self.free / each - self.coming, self.world.capacity_per_s)) if self.free else 0
            count = max(count, 1 if self.free and not self.coming else 0)
            self._enter(min(int(count / (1 - self.world.no_show)), self.waiting))
            return
        seen = Facts(self.now_s, self.free, self.held, self.inside, self.waiting, self.p99_ms, self.measured_s)
        step = decide(seen, self.memory, self.limits)
        self.memory = step.memory
        self.rates.append((self.now_s, step.memory.rate_per_s))
        self._enter(step.admit)

    def _enter(self, count: int) -> None:
        self.waiting -= count
        self.inside += count
        if count:
            self.entered.append((self.now_s, count, self.inside, self.free))
        for _ in range(count):
            comes = self.draw.random() >= self.world.no_show
            self.lapses.append((self.now_s + self.world.pass_s, comes))
            if comes:
                self.coming += 1
                think_s = min(self.draw.lognormvariate(0.0, 0.6) * self.world.think_s, self.world.pass_s)
                heapq.heappush(self.arrivals, (self.now_s + think_s, self.now_s))
