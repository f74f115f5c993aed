"""What a rehearsal teaches about the next sale: what a request costs, and how much each shopper asks for. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tidegate.rehearse.contracts import Report, Second, Step
from tidegate.rehearse.rules import CROWD, OTHERS

LEAST_SECONDS = 10
WINDOW_S = 5
"""Seconds over which the busiest time is taken."""

SERVING = ("site", "gate", "checkout")
DATABASE = "postgres"


@dataclass(frozen=True, slots=True)
class Costs:
    """What was learnt. Times are CPU seconds, `idle` are cores without any request.

    `cpu_s` is by kind of process and step. `per_shopper` are requests of one shopper by step, but for purchases; each
    who waits asks for the status `polls_per_waiting_s` times a second, in the busiest time in which most waited.
    `tries` are purchases asked for to one that is paid, `sold_per_s` the most that were paid. `rush` is how many times
    the mean of arrivals and joins came at most. Busiest and most are means of `WINDOW_S` seconds. `shoppers`: how many
    came.
    """

    cpu_s: Mapping[str, Mapping[str, float]]
    idle: Mapping[str, float]
    per_shopper: Mapping[str, float]
    polls_per_waiting_s: float
    tries: float
    sold_per_s: float
    rush: float
    shoppers: int

    def of(self, step: str, kinds: Sequence[str]) -> float:
        """CPU seconds of one request for a step, in all processes of some kinds."""
        return sum(self.cpu_s[kind].get(step, 0.0) for kind in kinds if kind in self.cpu_s)


def why_no_costs(report: Report) -> str:
    """Why nothing can be learnt from a report; empty when something can."""
    if not report.processes or not any(second.cpu.get("site") for second in report.told.timeline):
        return "it does not say what the shop's processes used: rehearse on a shop of its own, without --target"
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
    crowded = max(second.waiting for second in timeline) / 2
    shoppers = max(told.shoppers, 1)
    coming = [second.arrived + asked(second, Step.JOIN) for second in timeline]
    cpu_s, idle = {}, {}
    for cost in report.costs:
        if cost.kind in (CROWD, OTHERS):
            continue
        used = sum(second.cpu.get(cost.kind, 0.0) for second in timeline)
        idle[cost.kind] = min(cost.idle_cores, used / len(timeline))
        explained = sum(cost.request_us.get(step, 0.0) * count for step, count in counts.items()) / 1e6
        scale = (used - idle[cost.kind] * len(timeline)) / explained if explained else 0.0
        cpu_s[cost.kind] = {step: scale * us / 1e6 for step, us in cost.request_us.items()}
    return Costs(
        cpu_s=cpu_s,
        idle=idle,
        per_shopper={step: count / shoppers for step, count in counts.items() if step != Step.PURCHASE},
        polls_per_waiting_s=busiest(
            [
                asked(second, Step.STATUS) / max(second.waiting, 1) if second.waiting >= crowded else 0.0
                for second in timeline
            ]
        ),
        sold_per_s=busiest([second.bought for second in timeline]),
        shoppers=shoppers,
        tries=counts[Step.PURCHASE] / max(told.funnel.get("bought", 0), 1),
        rush=busiest(coming) / max(sum(coming) / report.scenario.arrivals.within_s, 1e-9),
    )


def asked(second: Second, step: str) -> int:
    """Answers to a step in a second."""
    found = second.steps.get(step)
    return found.count if found else 0


def busiest(values: Sequence[float]) -> float:
    """The highest mean of `WINDOW_S` values in a row."""
    width = min(WINDOW_S, len(values))
    return max(sum(values[at : at + width]) / width for at in range(len(values) - width + 1)) if width else 0.0
