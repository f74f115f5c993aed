"""Probes of a shop under load: seed the buyers, let the crowd come, and find the highest rate that holds."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import msgspec
import psycopg

from benchmarks.goods import DROP, add_buyers, look_around
from benchmarks.load import Plan, Report
from benchmarks.servers import ROOT, Fleet, Servers, busy_s
from tidegate.platform.settings import current_settings

Kind = Literal["express", "two_step", "guest"]
MOST_BUYERS_PER_S = 12_000
"""More than a closed loop can serve here; buyers for it are made ahead."""
ARRIVALS_MARGIN = 6.0
"""Standard deviations of a Poisson number of arrivals for which buyers are made."""
START_S = 30.0
BATCH_SIZE = "tidegate_batch_size"

Say = Callable[[str], None]


def say(line: str) -> None:
    """Progress goes to standard error: standard output ends with the figures."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


@dataclass(frozen=True, slots=True)
class Probe:
    """One stretch of load, and what it cost: CPU seconds by kind of process.

    `others` is what the machine did for somebody else meanwhile: with much of it, the figures are too low.
    """

    rate_per_s: float
    report: Report
    cpu_s: dict[str, float]

    @property
    def cpu_ms_per_order(self) -> float:
        """CPU of the shop's own processes and of PostgreSQL for one paid order, in milliseconds."""
        spent = self.cpu_s["site"] + self.cpu_s["postgres"]
        return round(spent / max(self.report.paid, 1) * 1000, 3)

    @property
    def generator_share(self) -> float:
        """The load generator's part of the CPU time that the benchmark used."""
        ours = sum(used for kind, used in self.cpu_s.items() if kind != "others")
        return round(self.report.cpu_s / max(ours, 1e-9), 3)

    @property
    def cores(self) -> dict[str, float]:
        """How many cores each kind of process kept busy."""
        return {kind: round(used / self.report.seconds, 3) for kind, used in self.cpu_s.items()}

    def holds(self, *, bound_ms: float) -> bool:
        """Whether the rate was sustained: everyone got an order, and the last third was served within the bound.

        Latency counts from when a buyer was due, so a shop that falls behind shows it here.
        """
        return self.report.errors == 0 and self.report.p99_thirds_ms[2] <= bound_ms


@dataclass(slots=True)
class Market:
    """A shop under test: its servers, its fleet, and the count of buyers who have been there.

    With `looked_around` Valkey knows the buyers' sessions, as of whoever has opened a page in the last minute; with a
    `code` each of them uses it.
    """

    servers: Servers
    fleet: Fleet
    conn: psycopg.Connection[tuple[Any, ...]]
    provider: str = "instant"
    token: str = "tok_ok"  # noqa: S105 - a way to pay, no secret
    skus: int = 1
    connections: int = 64
    most_per_s: int = MOST_BUYERS_PER_S
    in_time_s: float = 10.0
    core: int | None = None
    looked_around: bool = False
    code: str | None = None
    buyers: int = 0
    unknown: int = 0
    ids_files: list[Path] = field(default_factory=list)
    people: list[UUID] = field(default_factory=list)

    def run(self, kind: Kind, *, rate_per_s: float, seconds: float) -> Probe:
        """Let buyers come for `seconds`; with a rate of 0, as fast as they are served."""
        wanted = rate_per_s * seconds
        count = int(wanted + ARRIVALS_MARGIN * wanted**0.5) + 16
        if rate_per_s <= 0:
            count = int(self.most_per_s * seconds)
        first = self.buyers
        if kind != "guest":
            people = add_buyers(self.conn, first=first, count=count)
            if self.looked_around:
                look_around(current_settings().require_valkey_url(), people, first=first)
        self.buyers += count
        plan = Plan(
            port=self.fleet.port,
            kind=kind,
            rate_per_s=rate_per_s,
            seconds=seconds,
            first_buyer=first,
            buyers=count,
            connections=self.connections,
            skus=self.skus,
            drop=DROP,
            provider=self.provider,
            token=self.token,
            code=self.code,
            ids_file=str(self.servers.home / f"ids-{first}"),
            seed=first + 1,
            in_time_s=self.in_time_s,
            core=self.core,
        )
        before, began = self._cpu_s(), time.monotonic()
        report = run_crowd(plan, folder=self.servers.home)
        during = report.seconds / max(time.monotonic() - began, report.seconds)
        spent = {each: round(used - before[each], 3) for each, used in self._cpu_s().items()}
        others = spent.pop("all") - sum(spent.values())
        del spent["children"]
        spent |= {"generator": report.cpu_s, "others": round(max(others, 0.0) * during, 3)}
        self.fleet.check_alive()
        self.unknown += report.errors
        self.ids_files.append(Path(plan.ids_file))
        return Probe(rate_per_s, report, spent)

    def told(self) -> list[str]:
        """Ids of all orders that buyers were told of."""
        return [line for file in self.ids_files for line in file.read_text().split()]

    def _cpu_s(self) -> dict[str, float]:
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {
            "site": self.fleet.cpu_s(),
            **self.servers.cpu_s(),
            **self.fleet.beside_s(),
            "children": ended.ru_utime + ended.ru_stime,  # the generator with its start
            "all": busy_s(),
        }


def run_crowd(plan: Plan, *, folder: Path) -> Report:
    """Run the generator as a process of its own. Raises: RuntimeError with its last words when it fails."""
    file = folder / f"plan-{plan.first_buyer}.json"
    file.write_bytes(msgspec.json.encode(plan))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load", str(file)],
        cwd=ROOT,
        capture_output=True,
        timeout=plan.seconds + plan.answer_timeout_s + START_S,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the load generator failed: {done.stderr.decode(errors='replace')[-2000:]}")
    return msgspec.json.decode(done.stdout, type=Report)


@dataclass(frozen=True, slots=True)
class Search:
    """How the highest sustained rate is looked for.

    A closed loop of `saturate_s` tells about where the limit is; probes of `probe_s` at stepped rates find the region;
    a rate must then hold for `hold_s`. `bound_ms` is the highest p99 of the last third, `probe_bound_ms` that of a
    probe: too short for a queue to grow long. When a rate holds, a higher one is tried if it can end before `deadline`
    (time.monotonic); when none does, lower ones are, `most_holds` in all.
    """

    saturate_s: float
    probe_s: float
    hold_s: float
    bound_ms: float
    deadline: float
    probe_bound_ms: float = 150.0
    first_share: float = 0.9
    hold_share: float = 0.97
    step_up: float = 1.04
    step_down: float = 0.9
    hold_down: float = 0.94
    stride: float = 1.12
    near: float = 1.04
    most_probes: int = 5
    most_holds: int = 4


@dataclass(frozen=True, slots=True)
class Found:
    """The highest rate that held, as it was paid, and the probe that showed it.

    `sustained` is False when no rate held: `probe` is then the last one tried, and the rate 0.
    """

    rate_per_s: float
    probe: Probe
    sustained: bool
    saturated_per_s: float


def find_rate(run: Callable[[float, float], Probe], search: Search, *, label: str, tell: Say = say) -> Found:
    """The highest rate that `run(rate_per_s, seconds)` sustains."""
    saturated = run(0.0, search.saturate_s).report.per_s
    tell(f"{label}: a closed loop does {saturated:,.0f}/s")
    region = _region(run, search, saturated * search.first_share, label=label, tell=tell)
    rate, best, last = max(region * search.hold_share, 1.0), None, None
    for _ in range(search.most_holds):
        if best is not None and time.monotonic() + search.hold_s > search.deadline:
            break
        last = run(rate, search.hold_s)
        held = last.holds(bound_ms=search.bound_ms)
        tell(_line(label, last, held=held))
        if held:
            best = last
        elif best is not None:
            break
        rate *= search.step_up if held else search.hold_down
    assert last is not None, "at least one rate is tried"
    if best is None:
        return Found(0.0, last, sustained=False, saturated_per_s=saturated)
    return Found(best.report.per_s, best, sustained=True, saturated_per_s=saturated)


def _region(run: Callable[[float, float], Probe], search: Search, rate: float, *, label: str, tell: Say) -> float:
    """Short probes: up while rates hold, down while they do not, then between the two; the highest that held.

    When none did, the next lower one.
    """
    good, bad = 0.0, 0.0
    for _ in range(search.most_probes):
        probe = run(rate, search.probe_s)
        held = probe.holds(bound_ms=search.probe_bound_ms)
        tell(_line(label, probe, held=held))
        if held:
            good = rate
        else:
            bad = rate
        if good and bad and bad / good < search.near:
            break
        if good and bad:
            rate = (good * bad) ** 0.5
        else:
            rate *= search.stride if held else search.step_down
    return good or rate


def _line(label: str, probe: Probe, *, held: bool) -> str:
    report = probe.report
    thirds = "/".join(f"{each:.0f}" for each in report.p99_thirds_ms)
    return (
        f"{label}: {probe.rate_per_s:,.0f}/s for {report.seconds:.0f} s {'held' if held else 'did not hold'}: "
        f"{report.per_s:,.0f}/s paid, {report.errors} without an order, p50 {report.p50_ms:.1f} ms, p99 {thirds} ms "
        f"by thirds, cores {probe.cores}"
    )


def batch_sizes(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Requests to a batch by kind of batch, over the time between two looks at the metrics."""
    found = {}
    for name, count in after.items():
        if not name.startswith(f"{BATCH_SIZE}_count{{"):
            continue
        total = name.replace("_count{", "_sum{", 1)
        batches = count - before.get(name, 0.0)
        if batches:
            kind = name.partition('"')[2].rpartition('"')[0]
            found[kind] = round((after[total] - before.get(total, 0.0)) / batches, 1)
    return found


def at_share(found: Found, share: float) -> float:
    """A rate to measure latencies at: a share of what was sustained, else of what a closed loop did."""
    return max((found.rate_per_s or found.saturated_per_s) * share, 1.0)
