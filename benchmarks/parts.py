"""Checkout as processes of its own: what one more gives, and what becomes of buyers when the workers die.

    python -m benchmarks parts [--seconds 8] [--bound] [--smoke] --json

One site process leads purchases to 0, 1 and 2 checkout processes; buyers send their next purchase as soon as the last
one is answered (a closed loop). `site_alone_per_s`, `one_checkout_per_s`, `two_checkouts_per_s` are orders a second,
`..._cores` what each kind of process kept busy meanwhile: generator, database and shop share the machine's cores.

`again_one_per_s` is one checkout process once more, after two: what the machine gave meanwhile is told by both, and by
`others` among the cores. `doubling` is what two did to the mean of both.

All of that shares the cores of one machine. `bound_one_per_s` and `bound_two_per_s` are of processes that leave most of
them idle, since their gateway binds them: it takes `CHARGES_AT_ONCE` charges of a process at once, each for 200 ms.
`bound_doubling` is what two did to one.

`worker_p99_ms` and `no_worker_p99_ms` are of buyers arriving at half of what one checkout process sells, while a worker
hands on the events of their orders, and after worker and scheduler were killed with SIGKILL.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import psutil
import psycopg

from benchmarks.goods import sell
from benchmarks.part import AT_ONCE
from benchmarks.probes import Market, Probe, say
from benchmarks.recount import recount
from benchmarks.servers import ROOT, fleet, machine, servers
from tidegate.platform.embedded.children import Program, launch_command
from tidegate.platform.embedded.running import stop

TOLD_S = 1.0
"""By then the site knows which checkout processes there are."""

Note = Callable[[str], Probe]
"""Measures, and keeps the figures under a name."""

HALF = 0.5
CHARGES_AT_ONCE = 16
BOUND_CONNECTIONS = 64
"""More buyers than two processes charge at once, and few enough for none to wait long."""

BOUND_MOST_PER_S = 500


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    seconds: float
    smoke: bool
    bound: bool


def run(options: Sequence[str]) -> Mapping[str, object]:
    """Measure; see the module's docstring for what the keys mean."""
    asked = parse(options)
    with servers() as these, psycopg.connect(these.database_url, autocommit=True) as conn:
        _, variants = sell(conn, variants=1)
        figures: dict[str, object] = machine(these, processes=1)
        with fleet(these.home, "benchmarks.site", processes=1) as site:
            market = Market(these, site, conn, connections=128, most_per_s=4_000)
            _measure(market, asked, figures)
        figures |= recount(conn, variants=variants, told=market.told(), unknown=market.unknown).figures()
    return figures


def parse(options: Sequence[str]) -> Options:
    """The options, checked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks parts")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--smoke", action="store_true", help="a second each: does it work at all?")
    parser.add_argument("--bound", action="store_true", help="only processes that their gateway binds")
    found = parser.parse_args(list(options))
    return Options(1.0 if found.smoke else found.seconds, found.smoke, found.bound)


def _measure(market: Market, asked: Options, figures: dict[str, object]) -> None:
    def note(name: str, rate_per_s: float = 0.0) -> Probe:
        probe = market.run("express", rate_per_s=rate_per_s, seconds=asked.seconds)
        say(f"{name}: {probe.report.per_s:,.0f}/s, p99 {probe.report.p99_ms:.1f} ms, cores {probe.cores}")
        figures[f"{name}_per_s"] = probe.report.per_s
        figures[f"{name}_cores"] = probe.cores
        figures[f"{name}_errors"] = probe.report.errors
        return probe

    if asked.bound:
        _bound(note, market, figures)
        return
    note("site_alone")
    with _checkouts(market, 1):
        one = note("one_checkout")
        with _background() as kill:
            rate = max(one.report.per_s * HALF, 20.0)
            figures["worker_p99_ms"] = note("worker", rate).report.p99_ms
            kill()
            figures["no_worker_p99_ms"] = note("no_worker", rate).report.p99_ms
    with _checkouts(market, 2):
        two = note("two_checkouts")
    with _checkouts(market, 1):
        again = note("again_one")
    figures["doubling"] = round(2 * two.report.per_s / max(one.report.per_s + again.report.per_s, 1.0), 2)
    _bound(note, market, figures)


def _bound(note: Note, market: Market, figures: dict[str, object]) -> None:
    """One and two processes that leave the cores idle."""
    market.connections, market.most_per_s = BOUND_CONNECTIONS, BOUND_MOST_PER_S
    with _checkouts(market, 1, at_once=CHARGES_AT_ONCE):
        bound_one = note("bound_one")
    with _checkouts(market, 2, at_once=CHARGES_AT_ONCE):
        bound_two = note("bound_two")
    figures["bound_doubling"] = round(bound_two.report.per_s / max(bound_one.report.per_s, 1.0), 2)


@contextmanager
def _checkouts(market: Market, count: int, *, at_once: int = 0) -> Iterator[None]:
    """So many checkout processes beside the site, each on a port of its own; with `at_once` bound by their gateway."""
    endpoints = market.servers.home / "run" / "endpoints.json"
    told = {"TIDEGATE_HTTP__TRUSTED_PROXIES": '["127.0.0.1/32"]', AT_ONCE: str(at_once)}
    with ExitStack() as stack:
        parts = [
            stack.enter_context(fleet(market.servers.home, "benchmarks.part", processes=1, environment=told))
            for _ in range(count)
        ]
        processes = [psutil.Process(part.processes[0].pid) for part in parts]
        market.fleet.beside = {f"checkout-{number}": each for number, each in enumerate(processes, start=1)}
        endpoints.parent.mkdir(exist_ok=True)
        endpoints.write_text(json.dumps({"parts": {"checkout": [part.port for part in parts]}}))
        time.sleep(TOLD_S)
        try:
            yield
        finally:
            endpoints.unlink()
            time.sleep(TOLD_S)
            market.fleet.beside = {}


@contextmanager
def _background() -> Iterator[Callable[[], None]]:
    """A worker and a scheduler at work; what is yielded kills them."""
    running = [
        subprocess.Popen(
            launch_command(Program(argv=(sys.executable, "-m", "tidegate", name))),
            cwd=ROOT,
            env={**os.environ, "TIDEGATE_JOBS__WORKER_PROCESSES": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for name in ("worker", "scheduler")
    ]

    def kill() -> None:
        for process in running:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    try:
        yield kill
    finally:
        for process in running:
            stop(process, with_signal=signal.SIGTERM)
