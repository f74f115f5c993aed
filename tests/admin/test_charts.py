"""Charts: whatever was measured, they stay inside their picture and their names apart."""

from __future__ import annotations

import itertools
import re

from hypothesis import example, given
from hypothesis import strategies as st

from tidegate.platform.charts import BOTTOM, HEIGHT, LEFT, NAME_GAP, RIGHT, TOP, WIDTH, Series, draw_chart

START, END = 1_795_000_000.0, 1_795_003_600.0
VALUES = st.none() | st.floats(min_value=0, max_value=1e12, allow_nan=False)
POINTS = st.lists(st.tuples(st.floats(min_value=START, max_value=END), VALUES), max_size=40).map(
    lambda points: tuple(sorted(points, key=lambda point: point[0]))
)


@given(st.lists(POINTS, min_size=1, max_size=3))
@example([((START, 5e-324),)])
def test_everything_is_inside(curves: list[tuple[tuple[float, float | None], ...]]) -> None:
    chart = draw_chart(
        "T", "u", [Series(str(n), points) for n, points in enumerate(curves)], start=START, end=END, gap_s=35
    )
    for curve in chart.curves:
        for x, y in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", curve.path):
            assert LEFT <= float(x) <= WIDTH - RIGHT
            assert TOP <= float(y) <= HEIGHT - BOTTOM
    names = sorted(curve.name_y for curve in chart.curves)
    assert all(TOP <= name <= HEIGHT - BOTTOM for name in names)
    assert all(after - before >= NAME_GAP - 0.2 for before, after in itertools.pairwise(names))
    assert 2 <= len(chart.numbers) <= 6
    assert 1 <= len(chart.times) <= 5


def test_a_gap_interrupts_the_curve() -> None:
    points = ((START, 1.0), (START + 10, 2.0), (START + 100, 3.0), (START + 110, None), (START + 120, 4.0))
    chart = draw_chart("T", "u", [Series("a", points)], start=START, end=START + 120, gap_s=35)
    assert chart.curves[0].path.count("M") == 3
    assert (chart.curves[0].last, chart.curves[0].most) == (4.0, 4.0)


def test_numbers_at_the_side_are_round() -> None:
    chart = draw_chart("T", "u", [Series("a", ((START, 730.0),))], start=START, end=END, gap_s=35)
    assert [tick.value for tick in chart.numbers] == [0, 200, 400, 600, 800]
    assert not chart.empty


def test_nothing_measured() -> None:
    assert draw_chart("T", "u", [Series("a", ())], start=START, end=END, gap_s=35).empty
