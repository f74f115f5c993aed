"""Goodput under overload: purchases that were paid in time, at the peak, at twice it and at five times it.

    python -m benchmarks overload [--seconds 8] [--rounds 3] [--processes 1] [--without] [--smoke] --json

A durable PostgreSQL, a Valkey, the site and the expiry loops as in `orders`, all on the cores but the last one; the
generator has the last core for itself, so that what it costs is not taken from the shop. Buyers arrive at random
(latency counts from when they were due) on `--connections` connections, each an express purchase for a hot product,
and nobody comes again after a refusal.

Goodput are purchases paid within `--in-time` seconds of when they were due, by the seconds of the run. First the rate
with the highest goodput is looked for. Then come rounds, since the machine's own speed may change: the peak's rate
again, twice the goodput that it had in the search and five times it, one after the other. `peak_per_s` is the goodput
of the rate at the peak in the middle round, `at_2x` and `at_5x` are the rounds with the middle `share`, their goodput
by the best of the round's other runs and its peak; `shares` has all rounds. `refusal_us` is the shop's CPU time for one
refusal: what the run at 5 x cost beyond its purchases at the price that they had at the peak. `limiter_us` is what the
doors cost a request that is let in, measured alone.
With `--without` a round meets the shop with its overload control switched off, too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from benchmarks.goods import sell
from benchmarks.probes import Market, Probe, say
from benchmarks.recount import recount
from benchmarks.servers import Fleet, Servers, fleet, machine, servers
from tidegate.entrypoints.priorities import Priorities
from tidegate.platform.overload.doors import Doors
from tidegate.platform.settings import Settings

FIRST_STEP, STEP, MOST_STEPS = 1.0, 1.25, 8
"""Rates at which the peak is looked for, by what a closed loop did: higher ones while goodput rises."""
MOST_FAILURES = 2
FACTORS = (2, 5)
SMOKE_RATE = 40.0
SMOKE_MOST = 2
SMOKE_FLOOD = 400.0
SMOKE_S = 0.5
WARM_S = 3.0
CLOSED_LOOP = 128
ROUNDS = 20_000


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    seconds: float
    rounds: int
    processes: int
    in_time_s: float
    connections: int
    without: bool
    smoke: bool


def run(options: Sequence[str]) -> Mapping[str, object]:
    """Measure; see the module's docstring for what the keys mean."""
    asked = parse(options)
    began = time.monotonic()
    figures: dict[str, object] = {"limiter_us": _limiter_us()}
    with _apart(asked) as core, servers() as these, psycopg.connect(these.database_url, autocommit=True) as conn:
        _, variants = sell(conn, variants=1)
        figures |= machine(these, processes=asked.processes) | {"generator_core": core}
        with _shop(these, asked, enabled=True) as site:
            market = Market(these, site, conn, connections=asked.connections, in_time_s=asked.in_time_s, core=core)
            peak = _find_peak(market, asked)
            figures |= _told_rounds([_round(market, asked, peak) for _ in range(asked.rounds)], asked)
        if asked.without:
            with _shop(these, asked, enabled=False) as market.fleet:
                figures["without"] = _told_rounds([_round(market, asked, peak)], asked)
        figures |= recount(conn, variants=variants, told=market.told(), unknown=market.unknown).figures()
    figures["seconds"] = round(time.monotonic() - began, 1)
    return figures


def parse(options: Sequence[str]) -> Options:
    """The options, checked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks overload")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each run")
    parser.add_argument("--rounds", type=int, default=3, help="how often peak and overload take turns")
    parser.add_argument("--processes", type=int, choices=(1, 2, 3, 4), default=1, help="site processes")
    parser.add_argument("--in-time", type=float, default=1.0, help="seconds after which a purchase comes too late")
    parser.add_argument("--connections", type=int, default=1_000, help="kept-alive connections of the generator")
    parser.add_argument("--without", action="store_true", help="measure a shop without overload control as well")
    parser.add_argument("--smoke", action="store_true", help="a few seconds at tiny rates: does it work at all?")
    found = parser.parse_args(list(options))
    if found.rounds < 1:
        parser.error("--rounds must be at least 1")
    seconds, rounds = (SMOKE_S, 1) if found.smoke else (found.seconds, found.rounds)
    return Options(seconds, rounds, found.processes, found.in_time, found.connections, found.without, found.smoke)


@contextmanager
def _apart(asked: Options) -> Iterator[int | None]:
    """Keep this process, and all that it starts, off the last core; which one that is. None where all may run anywhere.

    That is where there is one core only, and where nothing is measured.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2 or asked.smoke:
        yield None
        return
    os.sched_setaffinity(0, cores[:-1])
    try:
        yield cores[-1]
    finally:
        os.sched_setaffinity(0, cores)


@contextmanager
def _shop(these: Servers, asked: Options, *, enabled: bool) -> Iterator[Fleet]:
    told = {"TIDEGATE_OVERLOAD__ENABLED": str(enabled).lower()}
    if asked.smoke:  # so few that some are refused at rates that any machine can send
        told |= {f"TIDEGATE_OVERLOAD__{name}": str(SMOKE_MOST) for name in ("LEAST", "FIRST", "MOST")}
    with (
        fleet(these.home, "benchmarks.site", processes=asked.processes, environment=told) as site,
        fleet(these.home, "benchmarks.upkeep", processes=1, probe=False),
    ):
        yield site


@dataclass(frozen=True, slots=True)
class Round:
    """The rate at the peak, and several times its goodput (FACTORS), one right after the other."""

    peak: Probe
    beyond: tuple[Probe, ...]

    @property
    def shares(self) -> list[float]:
        """Goodput of each overload, by the highest that the round showed the shop to be capable of beside it."""
        return [
            round(each.report.in_time / max(self.peak.report.in_time, *_others(self.beyond, each), 1), 3)
            for each in self.beyond
        ]

    @property
    def refusal_us(self) -> float:
        """CPU time of the site for one refusal at the highest overload."""
        flooded = self.beyond[-1]
        each_s = self.peak.cpu_s["site"] / max(self.peak.report.paid, 1)
        refused = flooded.report.statuses.get("503", 0)
        return round(max(flooded.cpu_s["site"] - each_s * flooded.report.paid, 0.0) / max(refused, 1) * 1e6, 1)


def _others(probes: Sequence[Probe], one: Probe) -> list[int]:
    return [each.report.in_time for each in probes if each is not one]


def _round(market: Market, asked: Options, peak: Probe) -> Round:
    again = _at(market, asked, peak.rate_per_s, 1)
    best = SMOKE_FLOOD if asked.smoke else peak.report.in_time / asked.seconds
    return Round(again, tuple(_at(market, asked, factor * best, factor) for factor in FACTORS))


def _told_rounds(rounds: Sequence[Round], asked: Options) -> dict[str, object]:
    """The middle round of each figure."""
    peaks = sorted((each.peak for each in rounds), key=lambda probe: probe.report.in_time)
    peak = peaks[len(peaks) // 2]
    figures: dict[str, object] = {
        "peak_per_s": round(peak.report.in_time / asked.seconds, 1),
        "peak": _told(peak, asked.seconds),
        "refusal_us": statistics.median(each.refusal_us for each in rounds),
    }
    for place, factor in enumerate(FACTORS):
        ordered = sorted(rounds, key=lambda each: each.shares[place])
        middle = ordered[len(ordered) // 2]
        shares = {"share": middle.shares[place], "shares": [each.shares[place] for each in rounds]}
        figures[f"at_{factor}x"] = _told(middle.beyond[place], asked.seconds) | shares
    return figures


def _find_peak(market: Market, asked: Options) -> Probe:
    if asked.smoke:
        return market.run("express", rate_per_s=SMOKE_RATE, seconds=asked.seconds)
    market.connections = CLOSED_LOOP  # few enough that nobody is refused
    saturated = market.run("express", rate_per_s=0.0, seconds=WARM_S).report.per_s
    market.connections = asked.connections
    say(f"a closed loop does {saturated:,.0f}/s")
    return _peak(market, asked, saturated)


def _peak(market: Market, asked: Options, saturated_per_s: float) -> Probe:
    """The run with the highest goodput; two rates in a row that bring no more are the end of the search."""
    best = None
    failures = 0
    for number in range(MOST_STEPS):
        step = FIRST_STEP * STEP**number
        probe = _at(market, asked, step * saturated_per_s, step)
        if best is None or probe.report.in_time > best.report.in_time:
            best, failures = probe, 0
        else:
            failures += 1
        if failures == MOST_FAILURES:
            break
    assert best is not None, "at least one rate is tried"
    return best


def _at(market: Market, asked: Options, rate_per_s: float, step: float) -> Probe:
    probe = market.run("express", rate_per_s=rate_per_s, seconds=asked.seconds)
    report = probe.report
    say(
        f"{step:g} x: {rate_per_s:,.0f}/s offered, {report.in_time / asked.seconds:,.0f}/s paid in time, "
        f"{report.paid} paid of {report.arrived}, p50 {report.paid_p50_ms:.0f} ms, p99 {report.paid_p99_ms:.0f} ms, "
        f"{report.statuses}, generator {report.cpu_share:.2f} cores, cores {probe.cores}"
    )
    return probe


def _told(probe: Probe, seconds: float) -> dict[str, object]:
    """One run in figures. `late_p99_ms` and `generator_cores` tell whether the generator kept up."""
    report = probe.report
    return {
        "offered_per_s": round(probe.rate_per_s, 1),
        "goodput_per_s": round(report.in_time / seconds, 1),
        "refused": report.statuses.get("503", 0),
        "late": report.paid - report.in_time,
        "unanswered": report.unanswered + report.broken,
        "p50_ms": report.paid_p50_ms,
        "p99_ms": report.paid_p99_ms,
        "all_p99_ms": report.p99_ms,
        "cores": probe.cores,
        "generator_cores": report.cpu_share,
        "late_p99_ms": report.late_p99_ms,
    }


def _limiter_us() -> float:
    """What the doors cost a request, beside the answer that it gets."""
    doors, priority_of = Doors(Settings()), Priorities()
    headers = ((b"host", b"127.0.0.1:8000"), (b"authorization", b"Bearer x"))
    began = time.process_time()
    for _ in range(ROUNDS):
        place = doors.admit(priority_of(b"POST", b"/api/v1/purchases", headers))
        assert place is not None
        place.leave(201)
    return round((time.process_time() - began) / ROUNDS * 1e6, 2)
