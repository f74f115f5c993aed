"""How the cost of an order grows: with variants, with past orders in the tables, with site processes.

    python -m benchmarks growth [--variants 1 10 1000 100000] [--past 0 1000000 10000000] [--processes 1 2]
        [--seconds 10] [--docs docs] [--smoke] --json
    python -m benchmarks growth --memory [--orders 1000000] --json

Express purchases in a closed loop (a saturating probe of `--seconds`), each of another buyer, over HTTP on servers of
the benchmark's own; the generator shares their cores. The catalogue always has as many variants as the largest number
says, and buyers choose among the first N of them. Past orders are those of the last 90 days, in all tables that a
purchase touches. The table goes into `benchmarks.md` and the plot into `images/growth.svg` below `--docs`; an empty
`--docs` writes neither. `--memory` watches one site process over a million orders instead.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.goods import sell
from benchmarks.history import add_orders, make_past_partitions
from benchmarks.plot import line_chart
from benchmarks.probes import Kind, Market, say
from benchmarks.recount import recount
from benchmarks.servers import ROOT, Servers, fleet, machine, servers
from tidegate.platform.ids import new_id

WARM_UP_S = 3.0
CONNECTIONS = 256
MARGIN = 1.6
"""How many times the last rate buyers are made for, so that a closed loop does not run out of them."""
MEMORY_SLICE_S = 20.0
BEGIN, END = "<!-- growth: written by `python -m benchmarks growth` -->", "<!-- /growth -->"
SMOKE = ("--variants", "1", "10", "--past", "0", "200", "--processes", "1", "--seconds", "0.5", "--orders", "50")


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    variants: tuple[int, ...]
    past: tuple[int, ...]
    processes: tuple[int, ...]
    seconds: float
    docs: str
    kind: Kind
    memory: bool
    orders: int


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement."""

    past: int
    processes: int
    variants: int
    orders_per_s: float
    p99_ms: float
    cpu_ms_per_order: float
    errors: int
    others_cores: float


def run(options: Sequence[str]) -> Mapping[str, object]:
    """Measure; see the module's docstring for what is written where."""
    asked = parse(options)
    with servers() as these, psycopg.connect(these.database_url, autocommit=True) as conn:
        return _memory(these, conn, asked) if asked.memory else _growth(these, conn, asked)


def parse(options: Sequence[str]) -> Options:
    """The options, checked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks growth")
    parser.add_argument("--variants", type=int, nargs="+", default=[1, 10, 1_000, 100_000])
    parser.add_argument("--past", type=int, nargs="+", default=[0, 1_000_000, 10_000_000], help="past orders")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="site processes")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each probe")
    parser.add_argument("--docs", default=str(ROOT / "docs"), help="folder of the table and the plot; empty: none")
    parser.add_argument("--kind", choices=("express", "two_step"), default="express", help="how everyone buys")
    parser.add_argument("--memory", action="store_true", help="memory of a site process over many orders")
    parser.add_argument("--orders", type=int, default=1_000_000, help="how many orders --memory watches")
    parser.add_argument("--smoke", action="store_true", help="a few seconds: does it work at all?")
    given = list(options)
    found = parser.parse_args([*SMOKE, *given] if "--smoke" in given else given)
    return Options(
        variants=tuple(sorted(set(found.variants))),
        past=tuple(sorted(set(found.past))),
        processes=tuple(sorted(set(found.processes))),
        seconds=found.seconds,
        docs=found.docs,
        kind=found.kind,
        memory=found.memory,
        orders=found.orders,
    )


def _growth(these: Servers, conn: psycopg.Connection[tuple[Any, ...]], asked: Options) -> dict[str, object]:
    began, since = datetime.now(UTC), new_id()
    _, variants = sell(conn, variants=max(asked.variants))
    make_past_partitions(conn, now=began)
    points: list[Point] = []
    told: list[str] = []
    unknown = there = buyers = 0
    for past in asked.past:
        add_orders(conn, count=past - there, end=began)
        there = past
        for processes in asked.processes:
            with fleet(these.home, "benchmarks.site", processes=processes) as site:
                market = Market(these, site, conn, connections=CONNECTIONS, buyers=buyers)
                points += _probe_all(market, asked, past=past, processes=processes)
            buyers, unknown = market.buyers, unknown + market.unknown
            told += market.told()
    books = recount(conn, variants=variants, told=told, unknown=unknown, since=since)
    figures = machine(these, processes=max(asked.processes)) | books.figures()
    figures["table"] = [[p.past, p.processes, p.variants, p.orders_per_s, p.cpu_ms_per_order] for p in points]
    figures["errors"] = sum(point.errors for point in points)
    figures["others_cores"] = max(point.others_cores for point in points)
    figures["slowest_to_fastest"] = _spread(points)
    if asked.docs:
        write_documents(Path(asked.docs), points, seconds=asked.seconds, cores=figures["cores"])
    return figures


def _probe_all(market: Market, asked: Options, *, past: int, processes: int) -> list[Point]:
    market.skus = 1
    warm = market.run(asked.kind, rate_per_s=0, seconds=min(WARM_UP_S, asked.seconds))
    points = []
    for count in asked.variants:
        market.skus = count
        market.most_per_s = _enough(warm.report.per_s)
        probe = market.run(asked.kind, rate_per_s=0, seconds=asked.seconds)
        report = probe.report
        cost, others = probe.cpu_ms_per_order, probe.cores["others"]
        points.append(Point(past, processes, count, report.per_s, report.p99_ms, cost, report.errors, others))
        say(
            f"{past:,} past orders, {processes} processes, {count:,} variants: {report.per_s:,.0f}/s, "
            f"p99 {report.p99_ms:.0f} ms, {probe.cpu_ms_per_order} ms CPU an order, {report.errors} errors, "
            f"cores {probe.cores}"
        )
    return points


def _enough(per_s: float) -> int:
    return int(per_s * MARGIN) + 200


def _spread(points: Sequence[Point]) -> float | None:
    """The slowest point's rate as a share of the fastest's."""
    rates = sorted(point.orders_per_s for point in points)
    return round(rates[0] / rates[-1], 3) if rates and rates[-1] > 0 else None


def _memory(these: Servers, conn: psycopg.Connection[tuple[Any, ...]], asked: Options) -> dict[str, object]:
    since = new_id()
    _, variants = sell(conn, variants=1)
    with fleet(these.home, "benchmarks.site", processes=1) as site:
        market = Market(these, site, conn, connections=CONNECTIONS)
        samples = [(0, site.rss_mb())]
        paid, seconds = 0, min(WARM_UP_S, asked.seconds)
        say("   orders   resident MB")
        while paid < asked.orders:
            report = market.run(asked.kind, rate_per_s=0, seconds=seconds).report
            if report.paid == 0:
                raise RuntimeError(f"no order was paid: {report.problems} {report.statuses}")
            paid += report.paid
            samples.append((paid, site.rss_mb()))
            say(f"{paid:>9,}   {samples[-1][1]:>11.1f}")
            market.most_per_s = _enough(report.per_s)
            seconds = min(MEMORY_SLICE_S, max((asked.orders - paid) / report.per_s, 1.0))
    books = recount(conn, variants=variants, told=market.told(), unknown=market.unknown, since=since)
    first, last = samples[1], samples[-1]
    return machine(these, processes=1) | {
        "rss_mb_by_orders": samples,
        "rss_mb_start": samples[0][1],
        "rss_mb_warm": first[1],
        "rss_mb_end": last[1],
        "kb_per_1000_orders": round((last[1] - first[1]) * 1024 / max((last[0] - first[0]) / 1000, 1), 2),
        **books.figures(),
    }


# --- the documents


def write_documents(docs: Path, points: Sequence[Point], *, seconds: float, cores: object) -> None:
    """Put the table into `benchmarks.md`, between its marks or at its end, and the plot beside it."""
    (docs / "images").mkdir(parents=True, exist_ok=True)
    (docs / "images" / "growth.svg").write_text(chart(points))
    page = docs / "benchmarks.md"
    text = page.read_text() if page.exists() else "# Benchmarks\n"
    about = (
        f"Express purchases a second in a closed loop, probes of {seconds:g} s, {cores} cores shared by site,"
        " PostgreSQL and load generator; in brackets CPU milliseconds of site and PostgreSQL for one order."
    )
    section = "\n".join(
        [
            BEGIN,
            "",
            about,
            "",
            *table(points),
            "",
            "![Orders a second by past orders](images/growth.svg)",
            "",
            END,
        ]
    )
    head, begin, rest = text.partition(BEGIN)
    if begin:
        page.write_text(head + section + rest.partition(END)[2])
    else:
        page.write_text(text.rstrip("\n") + "\n\n" + section + "\n")


def table(points: Sequence[Point]) -> list[str]:
    """Rows of a Markdown table: past orders and processes down, variants across."""
    variants = sorted({point.variants for point in points})
    rows = sorted({(point.past, point.processes) for point in points})
    by_place = {(p.past, p.processes, p.variants): p for p in points}
    lines = [
        "| past orders | processes | " + " | ".join(_count(each, "variant") for each in variants) + " |",
        "|---:|---:|" + "---:|" * len(variants),
    ]
    for past, processes in rows:
        cells = [by_place.get((past, processes, each)) for each in variants]
        texts = [f"{cell.orders_per_s:,.0f} ({cell.cpu_ms_per_order:.2f})" if cell else "" for cell in cells]
        lines.append(f"| {past:,} | {processes} | " + " | ".join(texts) + " |")
    return lines


def chart(points: Sequence[Point]) -> str:
    """The plot: a panel for each number of processes, a line for each number of variants."""
    pasts = sorted({point.past for point in points})
    panels: dict[str, dict[str, list[float | None]]] = {}
    for processes in sorted({point.processes for point in points}):
        panel = panels.setdefault(_count(processes, "site process", "site processes"), {})
        for variants in sorted({point.variants for point in points}):
            found = {p.past: p.orders_per_s for p in points if (p.processes, p.variants) == (processes, variants)}
            panel[_count(variants, "variant")] = [found.get(past) for past in pasts]
    return line_chart(
        title="Express orders a second by past orders in the tables",
        unit="orders/s",
        categories=[f"{past:,}" for past in pasts],
        panels=panels,
    )


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
