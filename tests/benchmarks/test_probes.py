"""The search for the highest sustained rate, on shops whose limit is known."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from benchmarks.load import Report
from benchmarks.probes import Probe, Search, batch_sizes, find_rate

CALM = Report(
    arrived=0, paid=0, in_time=0, requests=0, statuses={}, problems={}, unanswered=0, broken=0, not_paid=0, seconds=0,
    per_s=0, p50_ms=5, p90_ms=8, p99_ms=10, p999_ms=12, max_ms=15, paid_p50_ms=5, paid_p99_ms=10,
    p99_thirds_ms=[10, 10, 10], first_step_p99_ms=None, late=0, late_p99_ms=1, cpu_s=0.1, cpu_us_per_request=30,
    cpu_share=0.1,
)  # fmt: skip
SEARCH = Search(saturate_s=5, probe_s=6, hold_s=60, bound_ms=500, deadline=0)


def shop(*, capacity: float, saturated: float) -> Callable[[float, float], Probe]:
    """A shop that falls behind above `capacity`: the queue grows, and with it the latency of the last third."""

    def run(rate_per_s: float, seconds: float) -> Probe:
        if rate_per_s == 0:
            return Probe(0, msgspec.structs.replace(CALM, per_s=saturated), {})
        behind_ms = max(0.0, (rate_per_s - capacity) / capacity * seconds * 1000)
        count, took_s = int(rate_per_s * seconds), seconds + behind_ms / 1000
        report = msgspec.structs.replace(
            CALM,
            arrived=count,
            paid=count,
            seconds=took_s,
            per_s=count / took_s,
            p99_thirds_ms=[10, 10, 10 + behind_ms],
        )
        return Probe(rate_per_s, report, {"generator": 0.1})

    return run


@pytest.mark.parametrize("saturated", [700, 1000, 1200])
def test_it_finds_what_holds(saturated: float) -> None:
    found = find_rate(shop(capacity=1000, saturated=saturated), SEARCH, label="x", tell=lambda line: None)
    assert found.sustained
    assert 0.9 * 1000 <= found.rate_per_s <= 1000
    assert found.probe.report.seconds >= 60


def test_with_time_left_it_tries_a_higher_rate() -> None:
    short = replace(SEARCH, most_probes=2)
    patient = replace(short, deadline=time.monotonic() + 3600)
    run = shop(capacity=1000, saturated=700)
    hasty = find_rate(run, short, label="x", tell=lambda line: None)
    assert hasty.rate_per_s < find_rate(run, patient, label="x", tell=lambda line: None).rate_per_s <= 1000


def test_a_shop_that_refuses_sustains_nothing() -> None:
    def run(rate_per_s: float, seconds: float) -> Probe:
        return Probe(rate_per_s, msgspec.structs.replace(CALM, arrived=10, paid=9, seconds=1.0), {"generator": 0.1})

    found = find_rate(run, SEARCH, label="x", tell=lambda line: None)
    assert not found.sustained
    assert found.rate_per_s == 0


def test_batch_sizes_are_those_between_two_looks() -> None:
    before = {'tidegate_batch_size_sum{batch="holds"}': 10.0, 'tidegate_batch_size_count{batch="holds"}': 5.0}
    after = {'tidegate_batch_size_sum{batch="holds"}': 110.0, 'tidegate_batch_size_count{batch="holds"}': 10.0}
    assert batch_sizes(before, after) == {"holds": 20.0}
    assert batch_sizes(after, after) == {}
