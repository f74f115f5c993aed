"""Two rehearsals of one scenario beside each other: what became better, what became worse. Pure."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import msgspec

from tidegate.rehearse.contracts import End, Latency, Report, Step
from tidegate.rehearse.costs import windows
from tidegate.rehearse.learnt import slowness

LEAST_MS = 5.0
"""Latencies that differ by less are the same, however small they are."""

LATE_MS = 20.0
"""A crowd that was later than this measured itself too."""

SAME_MB, SAME_US = 16.0, 10.0
SAME_SPEED = 0.1
"""A machine that was slower or faster by a smaller share was as fast."""


class Turn(StrEnum):
    """What became of a figure."""

    BETTER = "better"
    SAME = "same"
    WORSE = "worse"


class Row(msgspec.Struct, frozen=True):
    """One figure of both: what it is, both values as text, by how much it changed, and whether that is good."""

    what: str
    before: str
    after: str
    change: str
    turn: Turn


class Comparison(msgspec.Struct, frozen=True):
    """What differs. `figures` are told and do not count: they depend on the machine and on what else it did."""

    objectives: tuple[Row, ...]
    steps: tuple[Row, ...]
    figures: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def worse(self) -> tuple[Row, ...]:
        """Objectives and steps that became worse."""
        return tuple(row for row in (*self.objectives, *self.steps) if row.turn is Turn.WORSE)

    @property
    def better(self) -> tuple[Row, ...]:
        """Objectives and steps that became better."""
        return tuple(row for row in (*self.objectives, *self.steps) if row.turn is Turn.BETTER)


def compare(before: Report, after: Report, *, tolerance: float) -> Comparison:
    """What differs; a latency within the share `tolerance`, or within LEAST_MS, is the same."""
    return Comparison(
        _objectives(before, after), _steps(before, after, tolerance), _figures(before, after), _notes(before, after)
    )


def summary(comparison: Comparison) -> str:
    """The outcome in one sentence."""
    worse, better = len(comparison.worse), len(comparison.better)
    if not worse and not better:
        return "The second run is as good as the first: no objective and no step changed."
    words = "worse" if worse else "no worse"
    return f"The second run is {words}: {worse} of the objectives and steps became worse, {better} better."


def _objectives(before: Report, after: Report) -> tuple[Row, ...]:
    first, second = ({verdict.asks: verdict for verdict in report.verdicts} for report in (before, after))
    rows = []
    for asks in dict.fromkeys((*first, *second)):
        old, new = first.get(asks), second.get(asks)
        if old is None or new is None:
            turn, change = Turn.SAME, "asked for in one of them only"
        elif old.holds == new.holds:
            turn, change = Turn.SAME, "holds in both" if new.holds else "broken in both"
        else:
            turn, change = (Turn.BETTER, "holds now") if new.holds else (Turn.WORSE, "does not hold any more")
        rows.append(Row(asks, old.found if old else "-", new.found if new else "-", change, turn))
    return tuple(rows)


def _steps(before: Report, after: Report, tolerance: float) -> tuple[Row, ...]:
    rows = []
    for step in (each.value for each in Step):
        old, new = before.told.latencies.get(step), after.told.latencies.get(step)
        if old is None or new is None:
            continue
        for name, read in PERCENTILES:
            rows.append(_latency(f"{step} {name}", read(old), read(new), tolerance))
    return tuple(rows)


def _p50(latency: Latency) -> float:
    return latency.p50_ms


def _p99(latency: Latency) -> float:
    return latency.p99_ms


PERCENTILES: tuple[tuple[str, Callable[[Latency], float]], ...] = (("p50", _p50), ("p99", _p99))


def _latency(what: str, old: float, new: float, tolerance: float) -> Row:
    turn = _turn(old, new, tolerance=tolerance, least=LEAST_MS)
    return Row(what, f"{old:,.1f} ms", f"{new:,.1f} ms", _change(old, new), turn)


def _turn(old: float, new: float, *, tolerance: float, least: float, more_is_better: bool = False) -> Turn:
    if abs(new - old) <= max(tolerance * old, least):
        return Turn.SAME
    return Turn.BETTER if (new > old) == more_is_better else Turn.WORSE


def _change(old: float, new: float) -> str:
    return f"{(new - old) / old:+.0%}" if old else f"{new - old:+,.1f}"


def _figures(before: Report, after: Report) -> tuple[Row, ...]:
    rows = [
        _figure("orders a second at best", _best(before), _best(after), "{:,.0f}", more_is_better=True),
        _figure("orders", float(_bought(before)), float(_bought(after)), "{:,.0f}", more_is_better=True),
        _figure("seconds until the end", before.told.seconds, after.told.seconds, "{:,.0f} s", least=2.0),
        _figure(
            "lateness of the crowd, p99", before.told.late_p99_ms, after.told.late_p99_ms, "{:,.1f} ms", least=LEAST_MS
        ),
    ]
    old, new = ({cost.kind: cost.request_us.get(Step.PURCHASE) for cost in report.costs} for report in (before, after))
    for kind in sorted(old.keys() & new.keys()):
        first, second = old[kind], new[kind]
        if first and second:
            rows.append(_figure(f"CPU of {kind} for an order", first, second, "{:,.0f} us", least=SAME_US))
    memory, more = _memory(before), _memory(after)
    for kind in sorted(memory.keys() & more.keys()):
        rows.append(_figure(f"most memory of {kind}", memory[kind], more[kind], "{:,.0f} MiB", least=SAME_MB))
    return tuple(rows)


def _figure(what: str, old: float, new: float, form: str, *, least: float = 0.0, more_is_better: bool = False) -> Row:
    turn = _turn(old, new, tolerance=0.1, least=least, more_is_better=more_is_better)
    return Row(what, form.format(old), form.format(new), _change(old, new), turn)


def _best(report: Report) -> float:
    return max((w.counts.get(Step.PURCHASE, 0) / w.seconds for w in windows(report.told.timeline)), default=0.0)


def _bought(report: Report) -> int:
    return report.told.ends.get(End.BOUGHT, 0)


def _memory(report: Report) -> dict[str, float]:
    most: dict[str, float] = {}
    for second in report.told.timeline:
        for kind, used in second.memory_mb.items():
            most[kind] = max(most.get(kind, 0.0), used)
    return most


def _notes(before: Report, after: Report) -> tuple[str, ...]:
    notes = []
    if before.scenario != after.scenario:
        notes.append("The scenarios differ, so the figures may for that reason alone.")
    elif before.seed != after.seed:
        notes.append("The seeds differ: other people came, in the same numbers.")
    if before.version != after.version:
        notes.append(f"Tidegate {before.version} and {after.version}.")
    times = slowness(before.told.timeline, after.told.timeline)
    if times is not None and abs(times - 1) > SAME_SPEED:
        notes.append(f"The same work took {times:.2f} times as long in the second run: so does what CPU binds.")
    for name, report in (("first", before), ("second", after)):
        if report.told.late_p99_ms > LATE_MS:
            notes.append(f"In the {name} run the crowd itself was late by {report.told.late_p99_ms:,.0f} ms (p99).")
    return tuple(notes)
