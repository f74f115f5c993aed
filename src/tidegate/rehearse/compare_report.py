"""The comparison of two rehearsals as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from tidegate.platform.charts import Chart, Series, draw_chart
from tidegate.rehearse.comparing import Comparison, summary
from tidegate.rehearse.contracts import Report, Second
from tidegate.rehearse.report import GAP_S, LOCALE
from tidegate.web import environment


@dataclass(frozen=True, slots=True)
class CompareContext:
    """Context of `rehearse/compare.html`."""

    before: Report
    after: Report
    comparison: Comparison
    summary: str
    charts: tuple[Chart, ...]
    style: str


def write_comparison(before: Report, after: Report, comparison: Comparison, folder: Path) -> Path:
    """Write `compare.html` into a folder; its place."""
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "compare.html"
    style = (files("tidegate.web") / "static" / "site.css").read_text(encoding="utf-8")
    context = CompareContext(before, after, comparison, summary(comparison), _charts(before, after), style)
    template = environment(LOCALE).get_template("rehearse/compare.html")
    text = template.render({name: getattr(context, name) for name in CompareContext.__slots__})
    page.write_text(text, encoding="utf-8")
    return page


def _charts(before: Report, after: Report) -> tuple[Chart, ...]:
    wanted: tuple[tuple[str, str, Callable[[Second], float | None]], ...] = (
        ("Orders", "a second", lambda second: second.bought),
        ("Requests", "a second", lambda second: second.answered),
        ("Time to answer, p99", "milliseconds", lambda second: second.p99_ms),
        ("People in the shop", "people", lambda second: second.inside),
        ("Cores used", "cores", lambda second: sum(second.cpu.values())),
        ("Memory", "MiB", lambda second: sum(second.memory_mb.values())),
    )
    end = max((report.told.timeline[-1].at for report in (before, after) if report.told.timeline), default=1.0)
    return tuple(
        draw_chart(
            title,
            unit,
            [
                Series(name, tuple((second.at, read(second)) for second in report.told.timeline))
                for name, report in (("1st", before), ("2nd", after))
            ],
            start=0.0,
            end=end,
            gap_s=GAP_S,
        )
        for title, unit, read in wanted
    )
