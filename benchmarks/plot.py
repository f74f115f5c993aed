"""A small line chart as SVG: panels side by side on one scale, categories on the x axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

PANEL_W, PANEL_H, LEFT, TOP, BOTTOM, GAP = 300, 220, 64, 52, 44, 28
LEGEND_H = 26
COLOURS = ("#0b6e99", "#b4540a", "#3a7d34", "#7a3e9d", "#8a1c3b", "#4a4a4a")
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#222}.title{font-weight:600}.grid{stroke:#ddd}"
    ".line{fill:none;stroke-width:2}rect.back{fill:#fff}"
)

Series = Mapping[str, Sequence[float | None]]


def line_chart(*, title: str, unit: str, categories: Sequence[str], panels: Mapping[str, Series]) -> str:
    """The chart; values of a series are in the order of `categories`, None where nothing was measured."""
    values = [value for series in panels.values() for line in series.values() for value in line if value is not None]
    top = _nice(max(values, default=1.0))
    width = LEFT + len(panels) * (PANEL_W + GAP)
    height = TOP + PANEL_H + BOTTOM + LEGEND_H
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        f' role="img" aria-label="{escape(title)}"><style>{STYLE}</style>'
        f'<rect class="back" width="{width}" height="{height}"/>'
    )
    parts = [
        head,
        f'<text class="title" x="12" y="20">{escape(title)}</text><text x="12" y="38">{escape(unit)}</text>',
    ]
    names: list[str] = []
    for number, (label, series) in enumerate(panels.items()):
        left = LEFT + number * (PANEL_W + GAP)
        parts += _frame(left, label, categories, top, axis=number == 0)
        for name, line in series.items():
            if name not in names:
                names.append(name)
            parts += _line(left, line, top, COLOURS[names.index(name) % len(COLOURS)])
    parts += _legend(names, TOP + PANEL_H + BOTTOM + 8)
    return "\n".join([*parts, "</svg>", ""])


def _frame(left: int, label: str, categories: Sequence[str], top: float, *, axis: bool) -> list[str]:
    parts = [f'<text x="{left + PANEL_W // 2}" y="{TOP - 8}" text-anchor="middle">{escape(label)}</text>']
    for step in range(5):
        y = _y(top * step / 4, top)
        parts.append(f'<line class="grid" x1="{left}" x2="{left + PANEL_W}" y1="{y:.1f}" y2="{y:.1f}"/>')
        if axis:
            parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{top * step / 4:,.0f}</text>')
    for number, category in enumerate(categories):
        x = _x(left, number, len(categories))
        parts.append(f'<text x="{x:.1f}" y="{TOP + PANEL_H + 18}" text-anchor="middle">{escape(category)}</text>')
    return parts


def _line(left: int, values: Sequence[float | None], top: float, colour: str) -> list[str]:
    points = [(_x(left, n, len(values)), _y(value, top)) for n, value in enumerate(values) if value is not None]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
    return [f'<polyline class="line" stroke="{colour}" points="{path}"/>', *dots]


def _legend(names: Sequence[str], y: int) -> list[str]:
    parts = []
    x = LEFT
    for number, name in enumerate(names):
        colour = COLOURS[number % len(COLOURS)]
        parts.append(
            f'<circle cx="{x}" cy="{y}" r="4" fill="{colour}"/><text x="{x + 9}" y="{y + 4}">{escape(name)}</text>'
        )
        x += 24 + 7 * len(name)
    return parts


def _x(left: int, number: int, count: int) -> float:
    return left + PANEL_W * (number + 0.5) / max(count, 1)


def _y(value: float, top: float) -> float:
    return TOP + PANEL_H * (1 - value / top)


def _nice(value: float) -> float:
    """The next 1, 2, 4 or 5 times a power of ten from `value` up."""
    power: float = 10.0 ** math.floor(math.log10(max(value, 1e-9)))
    return next(power * step for step in (1, 2, 4, 5, 10) if power * step >= value)
