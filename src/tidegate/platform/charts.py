"""Charts over time as plain geometry, which `web/chart.html` draws as SVG. Pure: no clock, no I/O.

Sizes are in units of the picture, which is WIDTH x HEIGHT; a browser scales it to its column.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import floor, log10

WIDTH, HEIGHT = 400, 224
LEFT, RIGHT, TOP, BOTTOM = 56, 100, 28, 44
"""Room around the curves: for the numbers, for the curves' names, for the unit, for the times."""

NAME_GAP = 16
STEPS = (1, 2, 5, 10)
TIME_STEPS_S = (10, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 21_600, 86_400)
MOST_TIMES, MOST_NUMBERS = 4, 4
LEAST_WIDE = 1.5
"""Of a band, so that a moment can be seen."""

LEAST_SEEN = 1e-12
"""What is measured below this is drawn as nothing."""


@dataclass(frozen=True, slots=True)
class Series:
    """A curve: its name, and values at moments (Unix time, in order); None where nothing was measured."""

    name: str
    points: tuple[tuple[float, float | None], ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark at an axis: where it is, and its label (a time) or its value."""

    at: float
    label: str
    value: float


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve as an SVG path, its name beside its end, and its last and greatest value."""

    name: str
    path: str
    name_y: float
    last: float | None
    most: float


@dataclass(frozen=True, slots=True)
class Period:
    """Something that went on from one moment to another (Unix time), to be marked behind the curves."""

    name: str
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Band:
    """A period as a band of a chart: where it begins, and how wide it is."""

    name: str
    at: float
    wide: float


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart with labelled axes. `unit` is what the numbers at its side count."""

    title: str
    unit: str
    curves: tuple[Curve, ...]
    times: tuple[Tick, ...]
    numbers: tuple[Tick, ...]
    empty: bool
    bands: tuple[Band, ...] = ()
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def draw_chart(title: str, unit: str, series: Sequence[Series], *, start: float, end: float, gap_s: float) -> Chart:
    """Lay out `series` between two moments (Unix time).

    Where neighbours are more than `gap_s` seconds apart the curve is interrupted: nothing was measured there.
    """
    seen = [value for each in series for at, value in each.points if value is not None and start <= at <= end]
    step = _step(max(seen, default=0.0))
    top = max(step, step * -(-max(seen, default=0.0) // step))

    def x(at: float) -> float:
        return _across(at, start, end)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM), 1)

    drawn = []
    for each in series:
        inside = [(at, value) for at, value in each.points if start <= at <= end]
        known = [value for _, value in inside if value is not None]
        path = _path([(at, x(at), None if value is None else y(value)) for at, value in inside], gap_s)
        drawn.append((each.name, path, known[-1] if known else None, max(known, default=0.0)))
    places = _apart([y(last or 0.0) for _, _, last, _ in drawn])
    return Chart(
        title=title,
        unit=unit,
        curves=tuple(
            Curve(name, path, place, last, most) for (name, path, last, most), place in zip(drawn, places, strict=True)
        ),
        times=_times(start, end, x),
        numbers=tuple(Tick(y(step * n), "", step * n) for n in range(floor(top / step + 0.5) + 1)),
        empty=not seen,
    )


def mark_periods(chart: Chart, periods: Sequence[Period], *, start: float, end: float) -> Chart:
    """The same chart of the time from `start` to `end` with what went on meanwhile behind its curves."""
    bands = []
    for each in periods:
        if each.began <= end and each.ended >= start:
            left, right = _across(max(each.began, start), start, end), _across(min(each.ended, end), start, end)
            bands.append(Band(each.name, left, max(round(right - left, 1), LEAST_WIDE)))
    return replace(chart, bands=tuple(bands))


def _across(at: float, start: float, end: float) -> float:
    """Where a moment is."""
    return round(LEFT + (at - start) / max(end - start, 1.0) * (WIDTH - LEFT - RIGHT), 1)


def _path(points: Sequence[tuple[float, float, float | None]], gap_s: float) -> str:
    """Points (moment, x, y) as an SVG path; a lone point is a short dash, so that it can be seen."""
    parts: list[str] = []
    before: float | None = None
    for at, across, down in points:
        if down is None:
            before = None
            continue
        if before is None or at - before > gap_s:
            parts.append(f"M{across} {down}h2")
        else:
            parts.append(f"L{across} {down}")
        before = at
    return "".join(parts)


def _step(most: float) -> float:
    """A round distance of marks, so that there are few of them."""
    if most < LEAST_SEEN:
        return 1.0
    power = 10.0 ** floor(log10(most / MOST_NUMBERS))
    return next(power * step for step in STEPS if power * step * MOST_NUMBERS >= most * 0.999_999)


def _times(start: float, end: float, x: Callable[[float], float]) -> tuple[Tick, ...]:
    span = end - start
    step = next((step for step in TIME_STEPS_S if span / step <= MOST_TIMES), TIME_STEPS_S[-1])
    first = -(-start // step) * step
    form = "%H:%M:%S" if step < 60 else "%H:%M" if step < 86_400 else "%d %b"
    marks = [first + step * n for n in range(MOST_TIMES + 1) if first + step * n <= end]
    return tuple(Tick(x(at), datetime.fromtimestamp(at, UTC).strftime(form), at) for at in marks)


def _apart(places: Sequence[float]) -> list[float]:
    """The same places in the same order from top to bottom, none nearer than NAME_GAP to the next, inside the chart."""
    order = sorted(range(len(places)), key=lambda n: places[n])
    moved = list(places)
    lowest = HEIGHT - BOTTOM - NAME_GAP * (len(places) - 1)
    above: float = TOP - NAME_GAP
    for rank, n in enumerate(order):
        moved[n] = min(max(places[n], above + NAME_GAP), lowest + NAME_GAP * rank)
        above = moved[n]
    return [round(place, 1) for place in moved]
