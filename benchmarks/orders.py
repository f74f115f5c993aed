"""Whole purchases over HTTP: the rate that holds for a minute, its latencies, and the books afterwards.

    python -m benchmarks orders [--seconds 60] [--processes 2] [--kinds express two_step guest] [--code] [--cold] --json

A durable PostgreSQL, a Valkey, the site processes and the expiry loops of the scheduler run as they do in a shop; the
load generator shares their cores. Everyone is another buyer, with a session, and may have one piece of one hot product
in a drop without a room. They have looked around in the shop before, so that Valkey knows their sessions; with `--cold`
the database must be asked for each. Payment is captured at once inside the site process, so that no simulated gateway
is measured; the outbox relay and the worker do not run: events of paid orders pile up unhandled.

Buyers arrive at random whether or not earlier ones were served, and latencies count from the moment they were due.
`express_per_s` (hold, order and payment in one request) and `two_step_per_s` (two requests) are the highest rates that
held for `--seconds` with an order for everyone and a p99 of the last third below `--bound-ms`. `guest_per_s`, measured
where it is asked for, is that of strangers: they become guests first, and then buy in one request. With `--code`
everybody has a discount code. `p50_ms` and `p99_ms` are those of express purchases at 70 % of that rate.
`framework_rps` is what a bare route does under the same generator. `http_gateway_per_s` is paid through Stripe's
provider instead, whose simulator (`python -m tests.gateway`) shares the cores too. What buyers were told is compared
with the database at the end.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from benchmarks.bare import ANSWER_VARIABLE
from benchmarks.goods import add_code, sell
from benchmarks.load import Plan
from benchmarks.probes import Found, Kind, Market, Probe, Search, at_share, batch_sizes, find_rate, run_crowd, say
from benchmarks.recount import recount
from benchmarks.servers import Fleet, Servers, fleet, machine, servers, serving
from tidegate.platform.embedded.ports import free_port

EXPRESS_LIMIT_S = 185.0
TWO_STEP_LIMIT_S = 290.0
GUEST_LIMIT_S = 395.0
"""Seconds from the start until which higher rates are tried for each way to buy; a run without `guest` stays below 6
minutes unless rates have to be lowered."""
SHARE = 0.7
SHARE_S = 15.0
SMOKE_RATE = 20.0
PROBE_SHARE = 0.7
"""A probe is too short for a queue to grow long: its p99 may be so much of what that of a rate that holds may be."""
SMOKE_BOUND_MS = 10_000.0
PROCESSES = 2
KINDS: tuple[Kind, ...] = ("express", "two_step", "guest")


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    seconds: float
    processes: int
    bound_ms: float
    connections: int
    kinds: tuple[Kind, ...]
    cold: bool
    code: bool
    smoke: bool


def run(options: Sequence[str]) -> Mapping[str, object]:
    """Measure; see the module's docstring for what the keys mean."""
    asked = parse(options)
    began = time.monotonic()
    with servers() as these, psycopg.connect(these.database_url, autocommit=True) as conn:
        _, variants = sell(conn, variants=1)
        figures: dict[str, object] = machine(these, processes=asked.processes)
        figures |= {"cold": asked.cold, "code": asked.code}
        with _shop(these, asked) as site:
            market = Market(these, site, conn, connections=asked.connections, looked_around=not asked.cold)
            market.code = add_code(conn) if asked.code else None
            before = site.metrics()
            express = None
            if "express" in asked.kinds:
                express = _express(market, asked, _search(asked, deadline=began + EXPRESS_LIMIT_S), figures)
            if "two_step" in asked.kinds:
                search = _search(asked, deadline=began + TWO_STEP_LIMIT_S)
                figures |= _two_requests_figures("two_step", _find(market, "two_step", asked, search))
            if "guest" in asked.kinds:
                search = _search(asked, deadline=began + GUEST_LIMIT_S)
                figures |= _two_requests_figures("guest", _find(market, "guest", asked, search))
            figures["batch_sizes"] = batch_sizes(before, site.metrics())
        figures |= _over_gateway(market, asked)
        books = recount(conn, variants=variants, told=market.told(), unknown=market.unknown)
        figures |= books.figures()
        figures |= _framework(these, asked, express)
    figures["seconds"] = round(time.monotonic() - began, 1)
    return figures


def parse(options: Sequence[str]) -> Options:
    """The options, checked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks orders")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the final rate must hold")
    parser.add_argument("--processes", type=int, choices=(1, 2, 3, 4), default=PROCESSES, help="site processes")
    parser.add_argument("--bound-ms", type=float, default=500.0, help="highest p99 of the last third")
    parser.add_argument("--connections", type=int, default=1024, help="kept-alive connections of the generator")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS[:2], help="which ways to buy")
    parser.add_argument("--code", action="store_true", help="everybody has a discount code")
    parser.add_argument("--cold", action="store_true", help="buyers whose sessions Valkey does not know")
    parser.add_argument("--smoke", action="store_true", help="a few seconds at tiny rates: does it work at all?")
    found = parser.parse_args(list(options))
    kinds = tuple(found.kinds)
    return Options(
        found.seconds,
        found.processes,
        found.bound_ms,
        found.connections,
        kinds,
        cold=found.cold,
        code=found.code,
        smoke=found.smoke,
    )


@contextmanager
def _shop(these: Servers, asked: Options) -> Iterator[Fleet]:
    with (
        fleet(these.home, "benchmarks.site", processes=asked.processes) as site,
        fleet(these.home, "benchmarks.upkeep", processes=1, probe=False),
    ):
        yield site


def _search(asked: Options, *, deadline: float) -> Search:
    """What a search needs to know."""
    return Search(
        saturate_s=5.0,
        probe_s=6.0,
        hold_s=asked.seconds,
        bound_ms=asked.bound_ms,
        deadline=deadline,
        probe_bound_ms=asked.bound_ms * PROBE_SHARE,
    )


def _find(market: Market, kind: Kind, asked: Options, search: Search) -> Found:
    if asked.smoke:
        probe = market.run(kind, rate_per_s=SMOKE_RATE, seconds=1.0)
        held = probe.holds(bound_ms=SMOKE_BOUND_MS)
        return Found(SMOKE_RATE if held else 0.0, probe, held, probe.report.per_s)
    return find_rate(lambda rate, seconds: market.run(kind, rate_per_s=rate, seconds=seconds), search, label=kind)


def _express(market: Market, asked: Options, search: Search, figures: dict[str, object]) -> Found:
    found = _find(market, "express", asked, search)
    relaxed = market.run("express", rate_per_s=at_share(found, SHARE), seconds=1.0 if asked.smoke else SHARE_S)
    report = found.probe.report
    figures |= {
        "express_per_s": round(found.rate_per_s, 1),
        "express_held_s": report.seconds if found.sustained else 0,
        "express_saturated_per_s": found.saturated_per_s,
        "p50_ms": relaxed.report.p50_ms,
        "p99_ms": relaxed.report.p99_ms,
        "p50_full_ms": report.p50_ms,
        "p99_full_ms": report.p99_ms,
        "cpu_ms_per_order": found.probe.cpu_ms_per_order,
        "cores_by_kind": found.probe.cores,
        "others_cores": found.probe.cores["others"],
        "generator_share": found.probe.generator_share,
        "generator_us_per_request": report.cpu_us_per_request,
        "errors": report.errors + relaxed.report.errors,
        "problems": report.problems | relaxed.report.problems,
    }
    return found


def _two_requests_figures(kind: Kind, found: Found) -> dict[str, object]:
    figures = {
        "per_s": round(found.rate_per_s, 1),
        "held_s": found.probe.report.seconds if found.sustained else 0,
        "saturated_per_s": found.saturated_per_s,
        "p50_full_ms": found.probe.report.p50_ms,
        "p99_full_ms": found.probe.report.p99_ms,
        "cpu_ms_per_order": found.probe.cpu_ms_per_order,
        "errors": found.probe.report.errors,
        "problems": found.probe.report.problems,
    }
    return {f"{kind}_{name}": figure for name, figure in figures.items()}


def _over_gateway(market: Market, asked: Options) -> dict[str, object]:
    """Express purchases paid through Stripe's provider, whose gateway is simulated over HTTP on the same cores."""
    these = market.servers
    if "express" not in asked.kinds:
        return {"http_gateway_per_s": None}
    port = free_port()
    told = {
        "TIDEGATE_PAYMENTS__STRIPE_SECRET_KEY": "sk_test_gateway",
        "TIDEGATE_PAYMENTS__STRIPE_WEBHOOK_SECRETS": "whsec_gateway",
        "TIDEGATE_PAYMENTS__STRIPE_API_BASE": f"http://127.0.0.1:{port}",
    }
    with (
        serving(these.home, "tests.gateway", "--port", str(port), port=port) as gateway,
        fleet(these.home, "benchmarks.site", processes=asked.processes, environment=told) as site,
    ):
        site.beside = {"gateway": gateway}
        market.fleet, market.provider, market.token = site, "stripe", "pm_card_visa"
        found = _find(market, "express", asked, Search(3.0, 4.0, 10.0, asked.bound_ms, time.monotonic(), most_probes=2))
    return {
        "http_gateway_per_s": round(found.rate_per_s, 1),
        "http_gateway_cores_by_kind": found.probe.cores,
        "http_gateway_errors": found.probe.report.errors,
        "http_gateway_problems": found.probe.report.problems,
    }


def _real_answer(these: Servers) -> str:
    """What somebody who bought was answered, as it is kept under their key."""
    with psycopg.connect(these.database_url) as conn:
        row = conn.execute(
            "SELECT body::text FROM platform.idempotency_keys WHERE status = 201 AND body ->> 'state' = 'paid' LIMIT 1"
        ).fetchone()
    assert row is not None, "nobody has bought anything"
    return str(row[0])


def _framework(these: Servers, asked: Options, express: Found | None) -> dict[str, object]:
    """What a bare route does, on as many processes, with the bytes of a real answer."""
    told = {ANSWER_VARIABLE: _real_answer(these)}
    with fleet(these.home, "benchmarks.bare", processes=asked.processes, environment=told) as bare:

        def probe(rate_per_s: float, seconds: float) -> Probe:
            plan = Plan(bare.port, "express", rate_per_s, seconds, 0, 10**9, connections=asked.connections)
            used_s = bare.cpu_s()
            report = run_crowd(plan, folder=these.home)
            spent = {"site": round(bare.cpu_s() - used_s, 3), "postgres": 0.0, "generator": report.cpu_s}
            return Probe(rate_per_s, report, spent)

        if asked.smoke:
            rate = probe(SMOKE_RATE, 1.0).report.per_s
        else:
            search = Search(3.0, 3.0, 6.0, asked.bound_ms, time.monotonic(), most_probes=2)
            rate = find_rate(probe, search, label="framework", tell=say).rate_per_s
    return {
        "framework_rps": round(rate, 1),
        "ratio_to_framework": round(express.rate_per_s / rate, 3) if express and rate else None,
    }
