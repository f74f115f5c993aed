"""The rehearsal's crowd: 200,000 people in one room at once, and its requests beside those of wrk and locust.

First every client asks one static page of an nginx for some seconds, in turns (`benchmarks/static_target.py`): wrk, the
crowd with all that its shoppers are, its wire client alone, aiohttp, httpx, and locust's FastHttpUser. Then the crowd
plays the scenario `multitude` on a whole shop of its own that shares the cores with it.

wrk, nginx and locust are no dependencies of this project; the benchmark says how they are had when one is missing.

Options: `--shoppers 215000`, `--seconds 5` for each client, `--rounds 2`, `--connections 64`, `--locust PATH` of a
program `locust`, `--clients wrk locust` for some of them, `--only clients` or `--only sale`, `--report FOLDER` for the
report of the sale, `--smoke`: small, and without what is missing.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.static_target import clients, measure, missing, static_target
from tidegate.rehearse.contracts import Report, Second
from tidegate.rehearse.report import write_report
from tidegate.rehearse.running import Rehearsal, rehearse_at_home
from tidegate.rehearse.scenario import Sizes, load_scenario

SMOKE = {"shoppers": 60, "units": 12, "seconds": 0.4, "rounds": 1, "connections": 8}
SCENARIO = "multitude"
CLIENTS = ("wrk", "crowd", "wire", "aiohttp", "httpx", "locust")
SALE_CONNECTIONS = 1_000
PROGRESS_S = 10


def run(options: Sequence[str]) -> Mapping[str, object]:
    """Measure; see `docs/benchmarks.md` for the keys."""
    wanted = _options(options)
    figures: dict[str, Any] = {"cores": len(os.sched_getaffinity(0))}
    if wanted.only != "sale":
        figures |= _clients(wanted)
    if wanted.only != "clients":
        figures |= _sale(wanted)
    return figures


def _options(options: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="rehearse")
    parser.add_argument("--shoppers", type=int, default=215_000)
    parser.add_argument("--units", type=int)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--locust", default="locust")
    parser.add_argument("--clients", nargs="+", choices=CLIENTS, default=CLIENTS)
    parser.add_argument("--only", choices=("clients", "sale"))
    parser.add_argument("--report", type=Path, help="a folder for the report of the sale")
    parser.add_argument("--smoke", action="store_true")
    wanted = parser.parse_args(options)
    wanted.clients = {"crowd", *wanted.clients}
    if wanted.smoke:
        for name, value in SMOKE.items():
            setattr(wanted, name, value)
    return wanted


def _clients(wanted: argparse.Namespace) -> dict[str, Any]:
    """What each client gets of the static page; ratios by requests in a second of the client's CPU time."""
    absent = missing(wanted.locust)
    if absent and not wanted.smoke:
        print("This needs programs that are not here:", file=sys.stderr)
        for name, command in absent.items():
            print(f"  {name:<8} {command}", file=sys.stderr)
        print("or leave the comparison out: --only sale", file=sys.stderr)
        raise SystemExit(2)
    if "nginx" in absent:
        return {"missing": sorted(absent)}
    with tempfile.TemporaryDirectory(prefix="tidegate-static-") as place:
        folder = Path(place)
        with static_target(folder) as port:
            commands = clients(port, connections=wanted.connections, locust=wanted.locust, folder=folder)
            chosen = {each: commands[each] for each in commands if each in wanted.clients and each not in absent}
            rounds: dict[str, list[Mapping[str, float]]] = {each: [] for each in chosen}
            for _ in range(wanted.rounds):
                for client, line in chosen.items():
                    rounds[client].append(measure(line, port=port, seconds=wanted.seconds))
                    print(f"{client}: {rounds[client][-1]}", file=sys.stderr)
    return _compared(rounds) | {"missing": sorted(absent)}


def _compared(rounds: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    found = {
        name: {key: median(each[key] for each in measured) for key in measured[0]} for name, measured in rounds.items()
    }
    crowd = found["crowd"]
    ratios = {
        f"ratio_to_{name}": round(crowd["per_core_s"] / measured["per_core_s"], 3)
        for name, measured in found.items()
        if name != "crowd"
    }
    return {
        "requests_per_s": crowd["requests_per_s"],
        "cpu_us_per_request": crowd["cpu_us"],
        **ratios,
        "clients": found,
    }


def _sale(wanted: argparse.Namespace) -> dict[str, Any]:
    """A whole sale with as many people; the shop is beside the crowd on the same cores."""
    scenario = load_scenario("smoke" if wanted.smoke else SCENARIO, Sizes(wanted.shoppers, wanted.units))
    connections = wanted.connections if wanted.smoke else SALE_CONNECTIONS
    rehearsal = Rehearsal(name="benchmark", scenario=scenario, seed=1, connections=connections, on_second=_progress)
    report = rehearse_at_home(rehearsal)
    if wanted.report:
        write_report(report, wanted.report)
    return figures_of(report)


def _progress(second: Second) -> None:
    if round(second.at) % PROGRESS_S == 0:
        print(
            f"{second.at:.0f} s: {second.inside:,} inside, {second.answered:,} answers/s, {second.bought:,} orders/s",
            file=sys.stderr,
        )


def figures_of(report: Report) -> dict[str, Any]:
    """What the report of a sale says; `books_clean`: nothing lost, nothing oversold, no rule of the books broken."""
    told = report.told
    return {
        "shoppers": told.most_inside,
        "came": told.shoppers,
        "purchases": len(told.orders),
        "books_clean": not report.books and not report.lost and _not_oversold(report),
        "bytes_per_shopper": told.bytes_per_shopper,
        "max_lateness_ms": told.late_most_ms,
        "lateness_p99_ms": told.late_p99_ms,
        "sale_requests_per_s": round(told.requests / max(told.seconds, 0.1)),
        "sale_most_requests_per_s": max((second.answered for second in told.timeline), default=0),
        "sale_cpu_us_per_request": told.cpu_us_per_request,
        "sale_seconds": told.seconds,
        "sockets": told.most_sockets,
        "in_flight": told.most_in_flight,
        "ends": told.ends,
        "problems": told.problems,
        "p99_ms": {step: latency.p99_ms for step, latency in told.latencies.items()},
        "most_cores": _most(report, "cpu"),
        "most_memory_mb": _most(report, "memory_mb"),
        "passed": report.passed,
    }


def _not_oversold(report: Report) -> bool:
    return report.sold is not None and report.sold <= report.scenario.sale.units


def _most(report: Report, name: str) -> dict[str, float]:
    most: dict[str, float] = {}
    for second in report.told.timeline:
        for kind, value in getattr(second, name).items():
            most[kind] = max(most.get(kind, 0.0), value)
    return most
