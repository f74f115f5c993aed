"""What a crowd did, counted while it does it."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping

import msgspec
import psutil

from tidegate.rehearse.contracts import End, Second, Step, Told
from tidegate.rehearse.histogram import Histogram
from tidegate.rehearse.measures import StepSecond

SIGNED_IN = "signed in"
FUNNEL = ("came", SIGNED_IN, "joined", "let in", "bought")
SLUGS_KEPT = 30


class Tally:
    """Counts, latencies and the timeline of one rehearsal."""

    def __init__(self) -> None:
        self.ends: dict[str, int] = {}
        self.problems: dict[str, int] = {}
        self.funnel = dict.fromkeys(FUNNEL, 0)
        self.late = Histogram()
        """How late the crowd itself was with what was due."""

        self.requests = self.most_inside = self.most_sockets = 0
        self._most_in_flight = 0
        self._orders: list[str] = []
        self._took = {step: Histogram() for step in Step}
        self._timeline: list[Second] = []
        self._recent, self._recent_buys = Histogram(), Histogram()
        self._counts = dict.fromkeys(("arrived", "answered", "refused", "let_in", "bought", "failed"), 0)
        self._told_problems: dict[str, int] = {}
        self._began_at = self._began_s = self._cpu_s = 0.0
        self._steps: dict[str, list[float]] = {}
        self._late_s, self._late_count = 0.0, 0
        self._memory_before = self._memory_most = 0

    def begin(self, *, memory_before: int | None = None) -> None:
        """The first shopper is about to come. `memory_before`: bytes of this process before any was made for them."""
        self._began_at, self._began_s = time.time(), time.perf_counter()
        self._cpu_s = _cpu_s()
        self._memory_most = resident_bytes()
        self._memory_before = self._memory_most if memory_before is None else memory_before

    def was_late(self, seconds: float) -> None:
        """The crowd looked at what was due so long after it was."""
        self.late.record(seconds)
        self._late_s += seconds
        self._late_count += 1

    def came(self) -> None:
        """Somebody more."""
        self.funnel["came"] += 1
        self._counts["arrived"] += 1

    def answered(self, step: Step, took_s: float, *, own_s: float, refused: bool = False) -> None:
        """An answer, and how long after it was wanted; `own_s` of that passed before it was asked for.

        `refused`: it was no more than a refusal for load, whose haste says nothing about those who are served.
        """
        self._counts["answered"] += 1
        if refused:
            self._counts["refused"] += 1
            return
        self._took[step].record(took_s)
        self._recent.record(took_s)
        if step is Step.PURCHASE:
            self._recent_buys.record(took_s)
        sums = self._steps.get(step)
        if sums is None:
            sums = self._steps[step] = [0, 0.0, 0.0]
        sums[0] += 1
        sums[1] += took_s
        sums[2] += own_s

    def let_in(self, *, first: bool) -> None:
        """It is somebody's turn, for the `first` time."""
        self.funnel["let in"] += first
        self._counts["let_in"] += first

    def bought(self, order_id: str) -> None:
        """Somebody was told of a paid order."""
        self._orders.append(order_id)
        self.funnel["bought"] += 1
        self._counts["bought"] += 1

    def left(self, end: End) -> None:
        """A visit ended."""
        self.ends[end] = self.ends.get(end, 0) + 1
        self._counts["failed"] += end is End.FAILED

    def problem(self, slug: str) -> None:
        """A refusal or a failure, of which a bounded number of kinds is told apart."""
        if slug in self.problems or len(self.problems) < SLUGS_KEPT:
            self.problems[slug] = self.problems.get(slug, 0) + 1

    def second(
        self,
        *,
        at: float,
        inside: int,
        waiting: int,
        sockets: int,
        in_flight: int,
        left: int | None,
    ) -> Second:
        """Close a second of the timeline; `used` tells what was used in it."""
        self._most_in_flight = max(self._most_in_flight, in_flight)
        self._memory_most = max(self._memory_most, resident_bytes())
        counts, self._counts = self._counts, dict.fromkeys(self._counts, 0)
        steps, self._steps = self._steps, {}
        before, self._told_problems = self._told_problems, dict(self.problems)
        late_ms = round(1e3 * self._late_s / max(self._late_count, 1), 2)
        self._late_s, self._late_count = 0.0, 0
        second = Second(
            at=at,
            **counts,
            inside=inside,
            waiting=waiting,
            sockets=sockets,
            in_flight=in_flight,
            p50_ms=self._recent.quantile_ms(0.5) if self._recent.count else None,
            p99_ms=self._recent.quantile_ms(0.99) if self._recent.count else None,
            purchase_p99_ms=self._recent_buys.quantile_ms(0.99) if self._recent_buys.count else None,
            left=left,
            cpu={},
            memory_mb={},
            steps={
                str(step): StepSecond(int(count), round(1e3 * took_s / count, 2), round(1e3 * own_s / count, 2))
                for step, (count, took_s, own_s) in steps.items()
            },
            problems={
                slug: count - before.get(slug, 0)
                for slug, count in self.problems.items()
                if count > before.get(slug, 0)
            },
            late_ms=late_ms,
        )
        self._recent.clear()
        self._recent_buys.clear()
        self._timeline.append(second)
        return second

    def used(self, cpu: Mapping[str, float], memory: Mapping[str, float], work_us: float) -> Second:
        """The last second with what was used in it."""
        second = msgspec.structs.replace(
            self._timeline[-1], cpu=dict(cpu), memory_mb=dict(memory), work_us=round(work_us, 1)
        )
        self._timeline[-1] = second
        return second

    def told(self) -> Told:
        """All of it."""
        self._memory_most = max(self._memory_most, resident_bytes())
        return Told(
            began_at=self._began_at,
            seconds=round(time.perf_counter() - self._began_s, 1),
            shoppers=self.funnel["came"],
            requests=self.requests,
            ends=self.ends,
            funnel={step: count for step, count in self.funnel.items() if count or step != SIGNED_IN},
            latencies={step.value: took.told() for step, took in self._took.items() if took.count},
            problems=self.problems,
            timeline=tuple(self._timeline),
            orders=tuple(self._orders),
            most_inside=self.most_inside,
            most_sockets=self.most_sockets,
            most_in_flight=self._most_in_flight,
            late_p99_ms=self.late.quantile_ms(0.99),
            cpu_us_per_request=round((_cpu_s() - self._cpu_s) / max(self.requests, 1) * 1e6, 1),
            bytes_per_shopper=(self._memory_most - self._memory_before) // max(self.most_inside, 1),
            late_most_ms=self.late.told().most_ms,
        )


def _cpu_s() -> float:
    """CPU seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def resident_bytes() -> int:
    """Memory of this process at this moment."""
    return int(psutil.Process().memory_info().rss)
