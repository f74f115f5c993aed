"""What a request costs each kind of process, and what one more process would give. Pure.

In every few seconds a process spent so much CPU time, and so many requests of each kind were served: what one request
costs is what explains the CPU time best (least squares, no cost below nothing). Kinds of request that always come
together cannot be told apart by that, so costs are drawn a little towards the proportions in USUAL_US. What was refused
for load is a kind of its own, whatever was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tidegate.rehearse.contracts import Second, Step
from tidegate.rehearse.measures import Cost
from tidegate.rehearse.rules import CROWD, OTHERS

REFUSED = "refused"
"""Stands among the steps for all that was refused for load."""

WINDOW = 3
"""Seconds that are looked at together: CPU time and counts are not taken at the same instant."""

USUAL_US: Mapping[str, float] = {
    Step.PAGE: 120.0,
    Step.STATUS: 28.0,
    Step.JOIN: 165.0,
    Step.PLACE: 160.0,
    Step.PURCHASE: 700.0,
    Step.HOLD: 300.0,
    Step.PAY: 500.0,
    Step.ORDER: 160.0,
    Step.LEAVE: 160.0,
    Step.SIGN_IN: 3_000.0,
    REFUSED: 20.0,
}
"""About what a site process spends, in microseconds; only proportions matter."""

NAMES = {Step.PURCHASE: "orders", Step.STATUS: "statuses", Step.SIGN_IN: "sign-ins", REFUSED: "refusals"}

PULL = 0.02
"""How much the usual proportions weigh against what was measured."""

RARE = 0.0002
"""The same for requests that are too rare to explain anything, beside those that cost most."""

ROUNDS = 2_000
CLOSE = 1e-6
BUSY_SHARE = 0.85
"""A process that uses so much of a core cannot do much more."""

FULL_SHARE = 0.9
"""The same of all cores of the machine."""

TOP = 3
OTHERS_CORES = 0.1
"""Other programs that use more than this disturb."""


@dataclass(frozen=True, slots=True)
class Window:
    """Some seconds: CPU seconds by kind of process, and requests by kind."""

    at: float
    seconds: float
    cpu_s: Mapping[str, float]
    counts: Mapping[str, int]


def windows(timeline: Sequence[Second], *, size: int = WINDOW, every: int = WINDOW) -> list[Window]:
    """The timeline in pieces of `size` seconds, one from every so many seconds on, less what is left over."""
    found = []
    for first in range(0, len(timeline) - size + 1, every):
        part = timeline[first : first + size]
        cpu_s: dict[str, float] = {}
        counts: dict[str, int] = {}
        began = before = timeline[first - 1].at if first else 0.0
        for second in part:
            length, before = second.at - before, second.at
            for kind, cores in second.cpu.items():
                cpu_s[kind] = cpu_s.get(kind, 0.0) + cores * length
            for step, told in second.steps.items():
                counts[step] = counts.get(step, 0) + told.count
            if second.refused:
                counts[REFUSED] = counts.get(REFUSED, 0) + second.refused
        if before > began:
            found.append(Window(began, before - began, cpu_s, counts))
    return found


def costs_of(timeline: Sequence[Second]) -> tuple[Cost, ...]:
    """What each kind of request costs each kind of process; none of a rehearsal too short for it."""
    looked = windows(timeline)
    steps = sorted({step for window in looked for step in window.counts})
    kinds = sorted({kind for window in looked for kind in window.cpu_s} - {OTHERS})
    if len(looked) <= 2 or not steps:
        return ()
    return tuple(_cost(kind, steps, looked) for kind in kinds)


def _cost(kind: str, steps: Sequence[str], looked: Sequence[Window]) -> Cost:
    """First how far everything is from the usual, then each kind of request; the time itself is a column, too."""
    spent = [window.cpu_s.get(kind, 0.0) for window in looked]
    columns = [[float(window.counts.get(step, 0)) for window in looked] for step in steps]
    times = [window.seconds for window in looked]
    usual = [USUAL_US.get(step, 100.0) / 1e6 for step in steps]
    expected = [_dot(usual, [column[n] for column in columns]) for n in range(len(looked))]
    scale, idle = _fit([expected, times], spent, likely=[0.0, 0.0], pull=[0.0, 0.0])
    squares = [_dot(column, column) for column in columns]
    most = max(square * each * each for square, each in zip(squares, usual, strict=True))
    pull = [PULL * square + RARE * most / (each * each) for square, each in zip(squares, usual, strict=True)]
    likely = [*(scale * each for each in usual), idle]
    cost = _fit([*columns, times], spent, likely=likely, pull=[*pull, 0.0])
    of_steps = {step: round(1e6 * seconds, 1) for step, seconds in zip(steps, cost[:-1], strict=True)}
    return Cost(kind, round(cost[-1], 3), of_steps)


def _fit(
    columns: Sequence[Sequence[float]], wanted: Sequence[float], *, likely: Sequence[float], pull: Sequence[float]
) -> list[float]:
    """Non-negative least squares by coordinate descent, drawn to what is likely by the weights `pull`."""
    products = [[_dot(one, other) for other in columns] for one in columns]
    aims = [_dot(column, wanted) for column in columns]
    found = list(likely)
    for _ in range(ROUNDS):
        before = found[:]
        for n, row in enumerate(products):
            rest = aims[n] - _dot(row, found) + row[n] * found[n]
            found[n] = max((rest + pull[n] * likely[n]) / max(row[n] + pull[n], 1e-12), 0.0)
        if all(abs(now - then) <= CLOSE * then for now, then in zip(found, before, strict=True)):
            break
    return found


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def limits(
    timeline: Sequence[Second], costs: Sequence[Cost], *, processes: Mapping[str, int], cores: int
) -> tuple[str, ...]:
    """Which processes were at their limit, and what one more of them would give."""
    found = []
    for cost in costs:
        count = processes.get(cost.kind, 0)
        busiest = max(windows(timeline), key=lambda window: window.cpu_s.get(cost.kind, 0.0), default=None)
        if busiest is None or not count:
            continue
        used = busiest.cpu_s.get(cost.kind, 0.0) / busiest.seconds
        if used >= BUSY_SHARE * count and any(busiest.counts.values()):
            found.append(_at_limit(cost, busiest, used=used, count=count, cores=cores))
    return (*found, *_machine(timeline, costs, cores=cores))


def _at_limit(cost: Cost, window: Window, *, used: float, count: int, cores: int) -> str:
    per_s = {step: n / window.seconds for step, n in window.counts.items()}
    shares = {step: each * cost.request_us.get(step, 0.0) / 1e6 / used for step, each in per_s.items()}
    top = max(shares, key=lambda step: (step != REFUSED, shares[step]))
    step = Step.PURCHASE if per_s.get(Step.PURCHASE, 0.0) >= 1 and shares[Step.PURCHASE] >= 0.1 else top
    us = max(cost.request_us.get(step, 0.0), 1.0)
    name = _named(step)
    full = cores and sum(window.cpu_s.values()) / window.seconds >= FULL_SHARE * cores
    return (
        f"{cost.kind} CPU was the limit {window.at:,.0f} s after the begin: {used:.2f} cores in {_processes(count)}, at"
        f" {per_s[step]:,.0f} {name}/s, of which each costs it {us / 1e3:,.2f} ms ({shares[step]:.0%} of its time);"
        f" one more process gives about +{1e6 / us:,.0f} {name}/s"
        + (", on a core of its own: all of this machine's were in use." if full else ".")
    )


def _named(step: str) -> str:
    return NAMES.get(step, f"{step}s")


def _processes(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"


def _machine(timeline: Sequence[Second], costs: Sequence[Cost], *, cores: int) -> tuple[str, ...]:
    """Whether all cores were in use, and by whom."""
    full = [w for w in windows(timeline) if cores and sum(w.cpu_s.values()) >= FULL_SHARE * cores * w.seconds]
    if not full:
        return ()
    seconds = sum(window.seconds for window in full)
    by: dict[str, float] = {}
    for window in full:
        for kind, cpu_s in window.cpu_s.items():
            by[kind] = by.get(kind, 0.0) + cpu_s / seconds
    top = sorted(by, key=lambda kind: -by[kind])[:TOP]
    words = ", ".join(f"{kind} {by[kind]:.2f}" for kind in top)
    own = " The crowd's share is not there on the day." if CROWD in top else ""
    if by.get(OTHERS, 0.0) >= OTHERS_CORES:
        own += " Other programs ran meanwhile: play it again without them."
    order_us = sum(cost.request_us.get(Step.PURCHASE, 0.0) for cost in costs if cost.kind != CROWD)
    more = (
        f" An order takes {order_us / 1e3:,.2f} ms of all the shop's processes together:"
        f" one more core gives about +{1e6 / order_us:,.0f} orders/s."
        if order_us >= 1.0
        else ""
    )
    return (f"All {cores} cores of this machine were in use for {seconds:,.0f} s: {words}.{own}{more}",)
