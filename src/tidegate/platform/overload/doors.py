"""The doors of a serving process: count who is inside, measure how long they take, refuse who is too many.

A request takes its place when its head was read, and gives it back when its answer begins: a browser that reads slowly
keeps nobody out. While it waits for a server of somebody else (`outside`) or for the rest of its own body it holds no
place, and that time is not counted as ours.

Belongs to one event loop; metrics are read from another thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from time import perf_counter

import structlog
from prometheus_client import REGISTRY, Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from tidegate.platform.overload.rules import (
    Bounds,
    Priority,
    Window,
    longest_s,
    most_doublings,
    next_doublings,
    next_limit,
    own_places,
    slowest_s,
    thresholds,
    window_s,
)
from tidegate.platform.settings import Settings

log = structlog.get_logger("tidegate.overload")

LOG_EVERY_S = 5.0
TOO_MANY = 429
BROKEN = 500
PRIORITIES = tuple(Priority)


class Place:
    """One request inside. `since_s` is when all of it had come."""

    __slots__ = ("_away", "_away_s", "_doors", "_left_s", "priority", "reserved", "since_s")

    def __init__(self, doors: Doors, priority: Priority, *, reserved: bool) -> None:
        self._doors = doors
        self.priority = priority
        self.reserved = reserved
        """Whether it stands in the reserve of its priority."""
        self.since_s = doors.clock()
        self._away = 0
        """How many times over it waits for somebody else; below zero once it has left."""
        self._away_s = 0.0
        self._left_s = 0.0

    def start(self) -> None:
        """Count its time from now."""
        self.since_s = self._doors.clock()
        self._away_s = 0.0

    def step_out(self) -> None:
        """Hold no place for a while."""
        if self._away < 0:
            return
        self._away += 1
        if self._away == 1:
            self._left_s = self._doors.clock()
            self._doors.give_back(self)

    def step_in(self) -> None:
        """Go on; whoever was inside before is not refused."""
        if self._away <= 0:
            return
        self._away -= 1
        if self._away == 0:
            self._away_s += self._doors.clock() - self._left_s
            self._doors.take(self)

    def leave(self, status: int) -> None:
        """The answer begins; 0 when there is none. Only the first call counts."""
        if self._away < 0:
            return
        away, self._away = self._away, -1
        if away:
            return  # answered while it still waits for somebody: its time says nothing about us
        self._doors.give_back(self)
        if status and status != TOO_MANY and not self.reserved:
            self._doors.answered(self.priority, self.since_s, self._away_s, failed=status >= BROKEN)


PLACE: ContextVar[Place | None] = ContextVar("tidegate_place", default=None)
"""The place of the request that is being served."""


class outside:  # noqa: N801 - reads as what it stands for; a generator would cost each purchase twice as much
    """While we wait for a server of somebody else, such as a payment provider's."""

    __slots__ = ("_place",)

    def __enter__(self) -> None:
        self._place = PLACE.get()
        if self._place is not None:
            self._place.step_out()

    def __exit__(self, *error: object) -> None:
        if self._place is not None:
            self._place.step_in()


class Doors:
    """Lets requests in up to a limit that follows their latency (`rules`)."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = perf_counter) -> None:
        """`clock` tells seconds and never goes back."""
        knobs = settings.overload
        self.bounds = Bounds(target_s=knobs.target_ms / 1000, least=knobs.least, first=knobs.first, most=knobs.most)
        self.clock = clock
        self.limit = self.bounds.within(float(knobs.first))
        self.inside = 0
        """Requests in work, without those in a reserve."""
        self.by_priority = [0] * len(PRIORITIES)
        self.reserved = [0] * len(PRIORITIES)
        self.refused = [0] * len(PRIORITIES)
        """Refused so far, by priority."""
        self.crowded = False
        """Whether somebody was refused in this window or the last: it is worth a glance whether the next one is."""
        self.doublings = 0
        """How often the longest time is doubled that the refused are asked to wait."""
        self._refused_before = 0
        self._shortest_s, self._most_s = knobs.retry_after_s, knobs.retry_after_most_s
        self._most_doublings = most_doublings(shortest_s=self._shortest_s, most_s=self._most_s)
        self._served = 0
        self._waits = (0, 0, clock() + self._longest_s)
        """Answers and refusals when the time to wait was last looked at, and when it is again."""
        self._reserve = knobs.reserve
        self._thresholds = thresholds(self.limit)
        self._own = own_places(self.limit)
        self._peak = 0
        self._sums_s = dict.fromkeys(PRIORITIES, 0.0)
        self._counts = dict.fromkeys(PRIORITIES, 0)
        self._until_s = clock() + window_s(0.0)
        self._told = (0, clock())

    def admit(self, priority: Priority) -> Place | None:
        """A place for a request of this priority; None when it is refused."""
        reserved = priority >= Priority.STAFF and self.reserved[priority] < self._reserve
        if not reserved and (priority is Priority.HEALTH or self._is_full(priority)):
            self.refused[priority] += 1
            self.crowded = True
            return None
        return self.let_in(priority, reserved=reserved)

    def turn_away(self, priority: Priority) -> bool:
        """Whether a request of a priority without a reserve is refused; counts it then."""
        full = self._is_full(priority)
        self.refused[priority] += full
        return full

    def _is_full(self, priority: Priority) -> bool:
        return self.inside >= self._thresholds[priority] and self.by_priority[priority] >= self._own

    def let_in(self, priority: Priority, *, reserved: bool = False) -> Place:
        """A place for a request that is not refused, whoever else is inside."""
        place = Place(self, priority, reserved=reserved)
        self.take(place)
        return place

    def take(self, place: Place) -> None:
        """Count it."""
        if place.reserved:
            self.reserved[place.priority] += 1
            return
        self.inside += 1
        self.by_priority[place.priority] += 1
        if self.inside > self._peak:  # noqa: PLR1730 - max() costs more than all else here
            self._peak = self.inside

    def give_back(self, place: Place) -> None:
        """Count it no longer."""
        if place.reserved:
            self.reserved[place.priority] -= 1
            return
        self.inside -= 1
        self.by_priority[place.priority] -= 1

    def answered(self, priority: Priority, since_s: float, away_s: float, *, failed: bool) -> None:
        """Learn from an answer. One that failed fast says nothing about how long answers take."""
        now_s = self.clock()
        took_s = now_s - since_s - away_s
        self._served += not failed
        if not failed or took_s > self.bounds.target_s:
            self._sums_s[priority] += took_s
            self._counts[priority] += 1
        if now_s >= self._until_s:
            self._end_window(now_s)

    def _end_window(self, now_s: float) -> None:
        latency_s = slowest_s(self._sums_s, self._counts)
        total = sum(self.refused)
        self.crowded, self._refused_before = total > self._refused_before, total
        self._tell(now_s, total)
        if now_s >= self._waits[2]:
            self._set_waits(now_s, total)
        if latency_s is None:
            self._until_s = now_s + window_s(0.0)  # too few to learn from: go on collecting
            return
        self.limit = next_limit(self.limit, Window(latency_s, self._peak), self.bounds)
        self._thresholds = thresholds(self.limit)
        self._own = own_places(self.limit)
        for priority in PRIORITIES:
            self._sums_s[priority], self._counts[priority] = 0.0, 0
        self._peak = self.inside
        self._until_s = now_s + window_s(latency_s)

    @property
    def _longest_s(self) -> float:
        """The longest that somebody refused now is asked to wait."""
        return float(longest_s(self.doublings, shortest_s=self._shortest_s, most_s=self._most_s))

    def _set_waits(self, now_s: float, total: int) -> None:
        """Let the refused wait longer, or less long, and look again when all of the last time have come again.

        After a silence of as long again, what was counted before it says nothing any more.
        """
        served, refused, due_s = self._waits
        again_s = self._longest_s
        if now_s > due_s + again_s:
            refused = total
        self.doublings = next_doublings(
            self.doublings, refused=total - refused, served=self._served - served, most=self._most_doublings
        )
        self._waits = (self._served, total, now_s + again_s)

    def _tell(self, now_s: float, total: int) -> None:
        """One line for many refusals."""
        told, when_s = self._told
        if total > told and now_s - when_s >= LOG_EVERY_S:
            self._told = (total, now_s)
            log.warning("requests_refused", refused=total - told, limit=int(self.limit), inside=self.inside)


class _Metrics(Collector):
    """What Prometheus asks for: read from plain numbers, since counting there would cost a refusal's tenth."""

    def __init__(self) -> None:
        self.doors: Doors | None = None

    def collect(self) -> Iterable[Metric]:
        """Refusals by priority, the limit, and how many are inside."""
        shed = CounterMetricFamily("tidegate_http_shed", "Requests refused early with 503.", labels=["priority"])
        doors = self.doors
        if doors is None:
            return
        for priority in PRIORITIES:
            shed.add_metric([priority.name.lower()], doors.refused[priority])
        yield shed
        yield GaugeMetricFamily("tidegate_http_limit", "Requests that are let in at once.", value=doors.limit)
        yield GaugeMetricFamily("tidegate_http_inside", "Requests that hold a place.", value=doors.inside)
        yield GaugeMetricFamily(
            "tidegate_http_retry_doublings",
            "How often the longest Retry-After of refusals is doubled.",
            value=doors.doublings,
        )


METRICS = _Metrics()
REGISTRY.register(METRICS)


def show(doors: Doors) -> None:
    """Let the process's metrics tell of these doors."""
    METRICS.doors = doors
