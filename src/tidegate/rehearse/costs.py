"""What a rehearsal says about costs: CPU seconds of a request by its step and by kind of process. Pure.

Each second of the timeline has the answers by step and the cores that each kind of process used. The cost of a step is
what fits all seconds best, drawn towards usual proportions where the seconds do not tell steps apart (ridge regression,
Hoerl and Kennard 1970, with costs of at least zero), and scaled so that all steps together cost what was used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tidegate.rehearse.contracts import Report, Second, Step

USUAL: Mapping[str, float] = {
    Step.STATUS: 1.0,
    Step.DRAW: 2.0,
    Step.LEAVE: 4.0,
    Step.PLACE: 5.0,
    Step.JOIN: 6.0,
    Step.PAGE: 6.0,
    Step.PURCHASE: 16.0,
}
"""What steps cost in proportion to each other, as far as a rehearsal does not say."""

PULL = 0.02
"""How strongly costs are drawn to usual proportions, as a share of the weight of the measurements."""

ROUNDS = 200
LEAST_SECONDS = 5
WINDOW_S = 5
"""Seconds over which the busiest time is taken."""

CROWD = "crowd"
SERVING = ("site", "gate", "checkout")
DATABASE = "postgres"


@dataclass(frozen=True, slots=True)
class Costs:
    """What was learnt. Times are CPU seconds, `idle` are cores without any request.

    `cpu_s` is by kind of process and step. `per_shopper` are requests of one shopper by step, without the status, which
    is asked `polls_per_waiting_s` times a second by each who waits. `tries` are purchases asked for to one that is
    paid. `rush` is how many times the mean of arrivals and joins came in their busiest `WINDOW_S` seconds.
    """

    cpu_s: Mapping[str, Mapping[str, float]]
    idle: Mapping[str, float]
    per_shopper: Mapping[str, float]
    polls_per_waiting_s: float
    waited_s: float
    tries: float
    rush: float
    memory_mb: Mapping[str, float]

    def of(self, step: str, kinds: Sequence[str]) -> float:
        """CPU seconds of one request for a step, in all processes of some kinds."""
        return sum(self.cpu_s[kind].get(step, 0.0) for kind in kinds if kind in self.cpu_s)


def why_no_costs(report: Report) -> str:
    """Why nothing can be learnt from a report; empty when something can."""
    timeline = report.told.timeline
    if not any(second.cpu.get("site") for second in timeline):
        return "it does not say what the shop's processes used: rehearse on a shop of its own, without --target"
    if not any(second.steps for second in timeline):
        return "it was written by an older version: rehearse again"
    if len(timeline) < LEAST_SECONDS or not report.told.funnel.get("bought"):
        return "nobody bought anything in it: rehearse again"
    return ""


def learn(report: Report) -> Costs:
    """The costs that a report tells of, for which `why_no_costs` says nothing."""
    timeline, told = report.told.timeline, report.told
    kinds = sorted({kind for second in timeline for kind in second.cpu} - {CROWD})
    fitted = {kind: fit([second.steps for second in timeline], _cores(timeline, kind)) for kind in kinds}
    counts = {step: sum(second.steps.get(step, 0) for second in timeline) for step in USUAL}
    waiting_s = float(sum(second.waiting for second in timeline))
    shoppers = max(told.shoppers, 1)
    joins = [second.steps.get(Step.JOIN, 0) + second.arrived for second in timeline]
    return Costs(
        cpu_s={kind: costs for kind, (_, costs) in fitted.items()},
        idle={kind: idle for kind, (idle, _) in fitted.items()},
        per_shopper={
            step: count / shoppers for step, count in counts.items() if step not in (Step.STATUS, Step.PURCHASE)
        },
        polls_per_waiting_s=counts[Step.STATUS] / max(waiting_s, 1.0),
        waited_s=waiting_s / shoppers,
        tries=counts[Step.PURCHASE] / max(told.funnel.get("bought", 0), 1),
        rush=busiest(joins) / max(sum(joins) / report.scenario.arrivals.within_s, 1e-9),
        memory_mb={kind: max(second.memory_mb.get(kind, 0.0) for second in timeline) for kind in kinds},
    )


def fit(steps: Sequence[Mapping[str, int]], cores: Sequence[float]) -> tuple[float, dict[str, float]]:
    """Cores without work, and CPU seconds of each step, that explain the cores used in each second."""
    used = sum(cores)
    counts = {step: [second.get(step, 0) for second in steps] for step in USUAL}
    usual = {step: weight * used / max(_weighed(counts), 1e-9) for step, weight in USUAL.items()}
    costs, idle = dict(usual), 0.0
    left = [core - sum(costs[step] * counts[step][at] for step in USUAL) for at, core in enumerate(cores)]
    for _ in range(ROUNDS):
        shift = max(idle + sum(left) / len(left), 0.0) - idle
        idle, left = idle + shift, [each - shift for each in left]
        for step, asked in counts.items():
            weight = float(sum(count * count for count in asked))
            if not weight:
                continue
            against = sum(count * (each + costs[step] * count) for count, each in zip(asked, left, strict=True))
            better = max((against + PULL * weight * usual[step]) / (weight + PULL * weight), 0.0)
            change, costs[step] = better - costs[step], better
            left = [each - change * count for each, count in zip(left, asked, strict=True)]
    idle = min(idle, used / len(cores))
    explained = sum(costs[step] * sum(asked) for step, asked in counts.items())
    scale = (used - idle * len(cores)) / explained if explained else 0.0
    return idle, {step: cost * scale for step, cost in costs.items()}


def busiest(values: Sequence[float]) -> float:
    """The highest mean of `WINDOW_S` values in a row."""
    width = min(WINDOW_S, len(values))
    return max(sum(values[at : at + width]) / width for at in range(len(values) - width + 1)) if width else 0.0


def _cores(timeline: Sequence[Second], kind: str) -> list[float]:
    return [second.cpu.get(kind, 0.0) for second in timeline]


def _weighed(counts: Mapping[str, Sequence[int]]) -> float:
    return sum(USUAL[step] * sum(asked) for step, asked in counts.items())
