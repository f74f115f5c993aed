"""The report: one HTML file that needs nothing else, and the same as JSON beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.resources import files
from operator import attrgetter
from pathlib import Path

import msgspec

from tidegate.platform.charts import Chart, Period, Series, draw_chart, mark_periods
from tidegate.platform.problems import StartupError
from tidegate.rehearse.contracts import Report, Second
from tidegate.rehearse.measures import Cost
from tidegate.rehearse.rules import CONNECTION_LOST, description, sentence
from tidegate.web import environment

LOCALE = "en_GB"
GAP_S = 3.0
SHORT = {
    "worker-urgent": "urgent", "mail-catcher": "mails", "scheduler": "sched.", "postgres": "pg",
    "overloaded": "busy", "too-many-requests": "limits", CONNECTION_LOST: "cut off", "sold-out": "sold",
    "payment not settled at once": "unpaid", "internal-error": "bug", "key-in-flight": "twice", "unanswered": "silent",
    "ConnectionRefusedError": "closed", "ConnectionResetError": "reset",
}  # fmt: skip
MOST_NAME = 7
CURVES = 3
"""Most that one chart has."""

LEAST_US = 1.0
"""Processes that cost less for any request are not shown."""

LEAST_PEOPLE = 1_000
"""Of fewer people in the shop at once the memory tells nothing: it is the crowd's program."""


Read = Callable[[Second], float | None]
"""Reads one figure of a second."""


@dataclass(frozen=True, slots=True)
class ReportContext:
    """Context of `rehearse/report.html`."""

    report: Report
    sentence: str
    description: str
    charts: tuple[Chart, ...]
    style: str
    began: str
    costs: tuple[Cost, ...]
    cost_steps: tuple[str, ...]
    tells_bytes: bool


def prepare_folder(folder: Path) -> None:
    """Make the folder for reports. Raises: StartupError where none can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StartupError(f"no report can be written to {folder}: {error.strerror or error}") from error


def write_report(report: Report, folder: Path) -> tuple[Path, Path]:
    """Write `NAME.html` and `NAME.json` into a folder; their places."""
    folder.mkdir(parents=True, exist_ok=True)
    page, data = folder / f"{report.name}.html", folder / f"{report.name}.json"
    data.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    page.write_text(render_report(report), encoding="utf-8")
    return page, data


def render_report(report: Report) -> str:
    """The page."""
    style = (files("tidegate.web") / "static" / "site.css").read_text(encoding="utf-8")
    told = sentence(report.verdicts, report.told, units=report.scenario.sale.units)
    costs = tuple(cost for cost in report.costs if max(cost.request_us.values(), default=0.0) >= LEAST_US)
    steps = tuple(dict.fromkeys(step for cost in costs for step in cost.request_us))
    context = ReportContext(
        report=report,
        sentence=told,
        description=description(report.scenario),
        charts=_charts(report),
        style=style,
        began=_clock(report.told.began_at),
        costs=costs,
        cost_steps=steps,
        tells_bytes=report.told.most_inside >= LEAST_PEOPLE,
    )
    template = environment(LOCALE).get_template("rehearse/report.html")
    return template.render({name: getattr(context, name) for name in ReportContext.__slots__})


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%d %b %Y, %H:%M:%S UTC")


def _charts(report: Report) -> tuple[Chart, ...]:
    timeline, began = report.told.timeline, report.told.began_at
    kinds = sorted({kind for second in timeline for kind in second.cpu})
    top = sorted(kinds, key=lambda kind: -max((second.cpu.get(kind, 0.0) for second in timeline), default=0.0))
    common = sorted(report.told.problems, key=lambda slug: -report.told.problems[slug])
    large = sorted(kinds, key=lambda kind: -max((second.memory_mb.get(kind, 0.0) for second in timeline), default=0.0))
    refusals: dict[str, Read] = {_short(slug): partial(_problems, slug) for slug in common[:CURVES]}
    refusals = refusals or {"Refused": attrgetter("refused")}
    wanted: tuple[tuple[str, str, dict[str, Read]], ...] = (
        ("Arrivals", "people a second", {"Arrived": attrgetter("arrived")}),
        ("People in the shop", "people", {"Inside": attrgetter("inside"), "Waiting": attrgetter("waiting")}),
        ("Let in", "people a second", {"Let in": attrgetter("let_in")}),
        ("Orders", "a second", {"Bought": attrgetter("bought")}),
        ("Stock", "units left", {"Left": attrgetter("left")}),
        ("Requests", "a second", {"All": attrgetter("answered")}),
        ("Time to answer", "milliseconds", {"p50": attrgetter("p50_ms"), "p99": attrgetter("p99_ms")}),
        ("Time to buy", "milliseconds", {"p99": attrgetter("purchase_p99_ms")}),
        ("Sockets and requests", "at once", {"Open": attrgetter("sockets"), "Asking": attrgetter("in_flight")}),
        ("Failures", "shoppers a second", {"Failed": attrgetter("failed")}),
        ("Refusals and errors", "a second", refusals),
        ("Cores used", "cores", {_short(kind): partial(_cores, kind) for kind in top[:CURVES]}),
        ("Memory", "MiB", {_short(kind): partial(_memory, kind) for kind in large[:CURVES]}),
    )
    broken = tuple(Period(each.name, began + each.began_s, began + each.ended_s) for each in report.faults)
    return tuple(_chart(title, unit, curves, timeline, began, broken) for title, unit, curves in wanted)


def _short(kind: str) -> str:
    """A name that fits beside a chart."""
    return SHORT.get(kind, kind)[:MOST_NAME]


def _cores(kind: str, second: Second) -> float | None:
    return second.cpu.get(kind)


def _problems(slug: str, second: Second) -> float | None:
    return second.problems.get(slug, 0)


def _memory(kind: str, second: Second) -> float | None:
    return second.memory_mb.get(kind)


def _chart(
    title: str,
    unit: str,
    curves: Mapping[str, Read],
    timeline: tuple[Second, ...],
    began: float,
    periods: Sequence[Period] = (),
) -> Chart:
    series = [
        Series(name, tuple((began + second.at, value(second)) for second in timeline)) for name, value in curves.items()
    ]
    over = max((each.ended for each in periods), default=began)  # a fault may outlast the crowd
    end = max(began + (timeline[-1].at if timeline else 1.0), over)
    chart = draw_chart(title, unit, series, start=began, end=end, gap_s=GAP_S)
    return mark_periods(chart, periods, start=began, end=end)
