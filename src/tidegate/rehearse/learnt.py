"""What a rehearsal teaches about the next sale: what a request costs, and how much each shopper asks for. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from tidegate.rehearse.contracts import Report, Second, Step
from tidegate.rehearse.costs import FULL_SHARE, REFUSED, windows
from tidegate.rehearse.rules import CROWD, OTHERS

LEAST_SECONDS = 10
WINDOW_S = 5
"""Seconds over which the busiest time is taken."""

MOST_SPANS = 300
STEPS = frozenset(Step)
"""Those of today: an older version's report may have others."""

WAITING = (Step.STATUS,)
"""Who waits asks for these, as often as the room says."""

SELLING = (Step.PLACE, Step.PURCHASE, Step.HOLD, Step.PAY, Step.ORDER)
"""Asked for as fast as the room lets people in."""

SERVING = ("site", "gate", "checkout")
DATABASE = "postgres"


@dataclass(frozen=True, slots=True)
class Span:
    """Some seconds of a rehearsal: requests a second by step, and cores by kind of process."""

    rates: Mapping[str, float]
    cores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Costs:
    """What was learnt. Times are CPU seconds, `idle` are cores without any request.

    `cpu_s` is by kind of process and step. `spans` are all stretches of `WINDOW_S` seconds. `per_shopper` are requests
    of one shopper by step, but for `SELLING`, of which there are so many `per_sold`; `sold_per_s` is the most that were
    sold. `shoppers` came within `within_s`. `full`: all cores were in use in some stretch.
    """

    cpu_s: Mapping[str, Mapping[str, float]]
    idle: Mapping[str, float]
    spans: Sequence[Span]
    per_shopper: Mapping[str, float]
    per_sold: Mapping[str, float]
    sold_per_s: float
    shoppers: int
    within_s: float
    full: bool
    timeline: Sequence[Second]

    def of(self, step: str, kinds: Sequence[str]) -> float:
        """CPU seconds of one request for a step, in all processes of some kinds."""
        return sum(self.cpu_s[kind].get(step, 0.0) for kind in kinds if kind in self.cpu_s)

    def of_order(self, kinds: Sequence[str]) -> float:
        """The same of all requests for one that is sold."""
        return sum(count * self.of(step, kinds) for step, count in self.per_sold.items())


def why_no_costs(report: Report) -> str:
    """Why nothing can be learnt from a report; empty when something can."""
    if not report.processes or not any(second.cpu.get("site") for second in report.told.timeline):
        return "it does not say what the shop's processes used: rehearse on a shop of its own, without --target"
    if report.was_broken:
        return "something was broken in it on purpose, which is no usual cost: rehearse without faults"
    if not report.costs or len(report.told.timeline) < LEAST_SECONDS:
        return "it was too short, or written by an older version: rehearse again"
    if not report.told.funnel.get("bought"):
        return "nobody bought anything in it: rehearse again"
    return ""


def learn(report: Report) -> Costs:
    """The costs that a report tells of, for which `why_no_costs` says nothing.

    What a kind of process used is divided among the steps as the report does it, and scaled so that all of it is.
    """
    timeline, told = report.told.timeline, report.told
    counts = {str(step): sum(asked(second, step) for second in timeline) for step in Step}
    counted = counts | {REFUSED: sum(second.refused for second in timeline)}
    shoppers, seconds = max(told.shoppers, 1), timeline[-1].at
    bought = max(told.funnel.get("bought", 0), 1)
    cpu_s, idle = {}, {}
    for cost in report.costs:
        if cost.kind in (CROWD, OTHERS):
            continue
        used = cpu_seconds(timeline, [cost.kind])
        idle[cost.kind] = min(cost.idle_cores, used / seconds)
        explained = sum(us * counted.get(step, 0) for step, us in cost.request_us.items()) / 1e6
        scale = (used - idle[cost.kind] * seconds) / explained if explained else 0.0
        cpu_s[cost.kind] = {step: scale * us / 1e6 for step, us in cost.request_us.items()}
    return Costs(
        cpu_s=cpu_s,
        idle=idle,
        spans=spans(timeline),
        per_shopper={step: count / shoppers for step, count in counts.items() if step not in SELLING},
        per_sold={step: counts[step] / bought for step in SELLING},
        sold_per_s=_most_sold_per_s(timeline),
        shoppers=shoppers,
        within_s=report.scenario.arrivals.within_s,
        full=was_full(report),
        timeline=timeline,
    )


def spans(timeline: Sequence[Second]) -> list[Span]:
    """All stretches of `WINDOW_S` seconds; of a long rehearsal `MOST_SPANS`.

    What was refused for load is not asked for in another sale, and stays with what nothing explains.
    """
    every = len(timeline) // MOST_SPANS + 1
    return [
        Span(
            {step: count / each.seconds for step, count in each.counts.items() if step in STEPS},
            {kind: used / each.seconds for kind, used in each.cpu_s.items() if kind not in (CROWD, OTHERS)},
        )
        for each in windows(timeline, size=min(WINDOW_S, len(timeline)), every=every)
    ]


def is_selling(span: Span) -> bool:
    """Whether people bought then."""
    return any(span.rates.get(step) for step in SELLING if step != Step.PLACE)


def was_full(report: Report) -> bool:
    """Whether all cores were in use for a while, so that more could not be used, whatever was asked for."""
    stretches = windows(report.told.timeline, size=WINDOW_S, every=1)
    return any(sum(each.cpu_s.values()) >= FULL_SHARE * report.cores * each.seconds for each in stretches)


def work_us(timeline: Sequence[Second]) -> float:
    """What the fixed piece of work took, above all while most was done; 0 where it was not measured."""
    used = [sum(second.cpu.values()) if second.work_us else 0.0 for second in timeline]
    took = sum(second.work_us * cores for second, cores in zip(timeline, used, strict=True))
    return took / sum(used) if any(used) else 0.0


def slowness(before: Sequence[Second], after: Sequence[Second]) -> float | None:
    """How many times as long the same work took in the second; None where that is not known of both."""
    first, second = work_us(before), work_us(after)
    return round(second / first, 3) if first and second else None


def cpu_seconds(timeline: Sequence[Second], kinds: Collection[str]) -> float:
    """CPU seconds of some kinds of processes."""
    (whole,) = windows(timeline, size=len(timeline))
    return sum(used for kind, used in whole.cpu_s.items() if kind in kinds)


def _most_sold_per_s(timeline: Sequence[Second]) -> float:
    sold = [0, *accumulate(second.bought for second in timeline)]
    ends = [0.0, *(second.at for second in timeline)]
    width = min(WINDOW_S, len(timeline))
    starts = range(len(timeline) - width + 1)
    return max((sold[at + width] - sold[at]) / (ends[at + width] - ends[at]) for at in starts)


def asked(second: Second, step: str) -> int:
    """Answers to a step in a second."""
    found = second.steps.get(step)
    return found.count if found else 0
