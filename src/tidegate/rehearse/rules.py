"""When people come, who they are, and what an outcome is worth. Pure: chance is handed in."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import accumulate
from statistics import median

from tidegate.rehearse.contracts import Arrivals, Curve, End, Kind, Objectives, Scenario, SignIn, Step, Told, Verdict

Draw = Callable[[], float]
"""Chance: from 0 to below 1."""

MASK = (1 << 64) - 1

OTHERS = "others"
"""Programs of the machine that are neither the shop nor the crowd."""

CROWD = "crowd"
"""The rehearsal's own process, among the kinds of processes."""

SIGN_IN_TURN = -1
"""Decisions count from 0 (which kind of shopper); this one comes before."""

RUSH_S = 1.0
"""A spike comes within so many seconds of the opening."""

MANY = 20
"""Of so many shoppers of a kind some must get as far as they want."""

CONNECTION_LOST = "connection lost"
"""A request's connection ended before its answer came."""

REASONS = 3
"""So many broken objectives are named in the verdict's sentence."""


def chance(seed: int, number: int, turn: int) -> float:
    """From 0 to below 1: what a shopper's `turn`-th decision falls on, whatever others do meanwhile.

    SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014) of the three.
    """
    mixed = (seed * 0x9E3779B97F4A7C15 + number * 0xD1B54A32D192ED03 + turn * 0x8CB92BA72F3D8DD7) & MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
    return float((mixed ^ (mixed >> 31)) >> 11) / (1 << 53)


def arrival_times(arrivals: Arrivals, *, opens_after_s: float, draw: Draw) -> array[float]:
    """Seconds after the begin at which each shopper comes, in order."""
    within = arrivals.within_s
    times = array("d", (draw() for _ in range(arrivals.shoppers)))
    if arrivals.curve is Curve.TRACE:
        return array("d", sorted(_along(arrivals.counts, times, within_s=within)))
    for n, chance in enumerate(times):
        if arrivals.curve is Curve.RAMP:
            times[n] = within * float(chance**0.5)
        elif arrivals.curve is Curve.SPIKE and n % 2:
            times[n] = min(opens_after_s, within) + RUSH_S * chance
        else:
            times[n] = within * chance
    return array("d", sorted(times))


def _along(counts: Sequence[int], chances: Sequence[float], *, within_s: float) -> Iterator[float]:
    """Moments that follow recorded counts: the inverse of their running sum, evenly within each piece of time."""
    marks = list(accumulate(counts, initial=0))
    piece_s = within_s / len(counts)
    for each in chances:
        at = each * marks[-1]
        piece = bisect_right(marks, at) - 1
        yield piece_s * (piece + (at - marks[piece]) / counts[piece])


def sign_ins(scenario: Scenario, *, seed: int) -> dict[int, SignIn]:
    """Which shoppers come without a session, and how they sign in."""
    habits = scenario.habits
    links, either = habits.sign_in_links, habits.sign_in_links + habits.sign_in_passwords
    if not either:
        return {}
    drawn = ((number, chance(seed, number, SIGN_IN_TURN)) for number in range(scenario.arrivals.shoppers))
    return {number: SignIn.LINK if each < links else SignIn.PASSWORD for number, each in drawn if each < either}


def pick_kind(mix: Mapping[Kind, float], draw: float) -> Kind:
    """How a shopper behaves for whom chance is `draw`."""
    kinds, marks = list(mix), list(accumulate(mix.values()))
    at = draw * marks[-1]
    return next(kind for kind, mark in zip(kinds, marks, strict=True) if at < mark)


def check_scenario(scenario: Scenario) -> str | None:
    """What is wrong with a scenario that its types allow; None when nothing is."""
    if not any(scenario.mix.values()):
        return "mix: nobody comes; give at least one kind of shopper a weight above 0"
    if scenario.sale.room not in ("draw", "arrival", "none"):
        return f"sale.room: {scenario.sale.room!r} is not one of draw, arrival, none"
    if scenario.arrivals.curve is Curve.TRACE and not any(scenario.arrivals.counts):
        return "arrivals.trace: a trace in which somebody comes, please"
    if scenario.habits.sign_in_links + scenario.habits.sign_in_passwords > 1:
        return "habits.sign_in_links and sign_in_passwords: together at most 1"
    if scenario.habits.think_s[0] > scenario.habits.think_s[1]:
        return "habits.think_s: the least comes first"
    if any(each.at_s >= scenario.lasts_s for each in scenario.faults):
        return "faults: at_s is before the end (lasts_s), please"
    if max(scenario.sale.opens_after_s, scenario.arrivals.within_s) >= scenario.lasts_s:
        return "lasts_s: longer than until everybody has come and the sale has opened, please"
    return None


def description(scenario: Scenario) -> str:
    """What is played, with its numbers."""
    says, arrivals = scenario.says, scenario.arrivals
    numbers = {"shoppers": arrivals.shoppers, "units": scenario.sale.units, "within_s": arrivals.within_s}
    for name, number in numbers.items():
        says = says.replace(f"{{{name}}}", f"{number:,.0f}")
    return says


def judge(
    objectives: Objectives,
    told: Told,
    *,
    units: int,
    sold: int | None,
    broken: Sequence[str] | None,
    lost: int | None,
    expected: Collection[Step] = (),
) -> tuple[Verdict, ...]:
    """What became of each objective. Of `expected` steps some must have been answered."""
    found = [*_shares(objectives, told, units=units, sold=sold)]
    for step in Step:
        most_ms, latency = getattr(objectives, f"{step}_p99_ms", None), told.latencies.get(step)
        if most_ms is None or (latency is None and step not in expected):
            continue
        asks = f"99 of 100 requests ({step}) are answered within {most_ms:,.0f} ms"
        if latency is None:
            found.append(Verdict(asks, "none was served", False))
        else:
            found.append(Verdict(asks, f"{latency.p99_ms:,.0f} ms", latency.p99_ms <= most_ms))
    found += _growth(objectives, told)
    if objectives.books and broken is not None:
        words = "they do" if not broken else f"{len(broken)} rules are broken: {', '.join(broken)}"
        found.append(Verdict("the books add up", words, not broken))
    if sold is not None:
        words = f"{sold:,} of {units:,} units"
        found.append(Verdict("nothing is oversold", words if sold <= units else f"OVERSOLD: {words}", sold <= units))
    if lost is not None:
        found.append(Verdict("every order that a buyer was told of is there", f"{lost:,} are missing", lost == 0))
    return tuple(found)


def expected_steps(scenario: Scenario) -> frozenset[Step]:
    """What some of a scenario's shoppers ask for, if the shop lets them."""
    many = {
        kind
        for kind, weight in scenario.mix.items()
        if weight * scenario.arrivals.shoppers >= MANY * sum(scenario.mix.values())
    }
    steps = {Step.PAGE} if many else set()
    if many and scenario.sale.room != "none":
        steps |= {Step.STATUS, Step.JOIN}
    if Kind.BUYER in many:
        steps |= {Step.PURCHASE} if scenario.sale.room == "none" else {Step.PLACE, Step.PURCHASE}
    if Kind.HOLDER in many and scenario.sale.room == "none":
        steps |= {Step.HOLD, Step.PAY}
    return frozenset(steps)


def _growth(objectives: Objectives, told: Told) -> list[Verdict]:
    """Whether a process grew; the crowd itself may, and of a short rehearsal nothing is said."""
    part = len(told.timeline) // 6
    if objectives.memory_growth_mb is None or not part:
        return []

    def grown_mb(kind: str) -> float:
        early, late = (
            median(second.memory_mb.get(kind, 0.0) for second in seconds)
            for seconds in (told.timeline[part : 2 * part], told.timeline[-part:])
        )
        return late - early

    kinds = {kind for second in told.timeline for kind in second.memory_mb} - {CROWD}
    grown = {kind: grown_mb(kind) for kind in kinds}
    most = max(grown, key=lambda kind: grown[kind], default=None)
    if most is None:
        return []
    asks = f"no kind of process grows by more than {objectives.memory_growth_mb:,.0f} MiB"
    return [Verdict(asks, f"{most} {grown[most]:+,.0f} MiB", grown[most] <= objectives.memory_growth_mb)]


def _shares(objectives: Objectives, told: Told, *, units: int, sold: int | None) -> list[Verdict]:
    verdicts = []
    if objectives.sold_share is not None:
        share = (told.ends.get(End.BOUGHT, 0) if sold is None else sold) / units
        asks = f"at least {objectives.sold_share:.1%} of the stock is sold"
        verdicts.append(Verdict(asks, f"{share:.1%}", share >= objectives.sold_share))
    if objectives.failed_share is not None:
        share = told.ends.get(End.FAILED, 0) / max(told.shoppers, 1)
        asks = f"at most {objectives.failed_share:.2%} of the shoppers meet a failure"
        verdicts.append(Verdict(asks, f"{share:.3%}", share <= objectives.failed_share))
    if objectives.impatient_share is not None:
        share = told.ends.get(End.IMPATIENT, 0) / max(told.shoppers, 1)
        asks = f"at most {objectives.impatient_share:.2%} of the shoppers wait too long and go"
        verdicts.append(Verdict(asks, f"{share:.3%}", share <= objectives.impatient_share))
    if objectives.lost_requests is not None:
        cut = told.problems.get(CONNECTION_LOST, 0)
        asks = f"at most {objectives.lost_requests:,} requests are cut off without an answer"
        verdicts.append(Verdict(asks, f"{cut:,}", cut <= objectives.lost_requests))
    return verdicts


def advise(told: Told, *, late_ms: float = 20.0) -> tuple[str, ...]:
    """What the figures say should be looked at next."""
    advice: list[str] = []
    if told.late_p99_ms > late_ms:
        advice.append(
            f"The crowd itself was late by {told.late_p99_ms:,.0f} ms (p99): it shares this machine's cores with the"
            " shop. Latencies contain that; let a smaller crowd come, or from another machine."
        )
    refused = told.problems.get("overloaded", 0) + told.problems.get("too-many-requests", 0)
    if refused:
        advice.append(f"{refused:,} requests were refused for load and came again later.")
    return tuple(advice)


def sentence(verdicts: Sequence[Verdict], told: Told, *, units: int) -> str:
    """The outcome in one sentence."""
    bought = told.ends.get(End.BOUGHT, 0)
    crowd = f"{told.shoppers:,} shoppers came for {units:,} units, {bought:,} bought"
    failed = [verdict for verdict in verdicts if not verdict.holds]
    if not failed:
        return f"The sale would survive: {crowd}, and all {len(verdicts)} objectives hold."
    # what costs money was judged last, and is said first
    reasons = [f"{verdict.asks} ({verdict.found})" for verdict in reversed(failed)]
    do = "does" if len(failed) == 1 else "do"
    more = f"; and {len(reasons) - REASONS} more" if len(reasons) > REASONS else ""
    return (
        f"The sale would not survive: {crowd}, and {len(failed)} of {len(verdicts)} objectives {do} not hold:"
        f" {'; '.join(reasons[:REASONS])}{more}."
    )
