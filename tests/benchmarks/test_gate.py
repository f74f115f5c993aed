"""`python -m benchmarks gate` works, and what it was told is there."""

from __future__ import annotations

from tests.benchmarks.smoke import run_benchmark

KEYS = {
    "places", "joins_per_s", "join_p99_ms", "status_per_s", "status_p99_ms", "status_framework_ratio", "draw_s",
    "number_p99_ms", "number_per_s", "number_busy_p99_ms", "bytes_per_place", "admit_lag_ms", "polling_p99_ratio",
    "growth", "cpu_us",
}  # fmt: skip


def test_every_answered_join_has_its_place() -> None:
    figures = run_benchmark("gate", "--smoke", "--processes", "1")
    assert figures.keys() >= KEYS
    assert (figures["lost"], figures["doubled"], figures["log_off"], figures["errors"]) == (0, 0, 0, {})
    assert figures["places"] >= 1_000
    assert figures["http_places"] >= 600
    assert min(figures[key] for key in KEYS - {"growth", "cpu_us"}) > 0
    assert figures["cpu_us"].keys() >= {"join", "status", "number"}
    assert figures["cpu_us"]["join"] > 0  # the others may take less than the clock can tell in so short a run
    assert all(min(places, join_us, per_s) > 0 for places, join_us, _, per_s in figures["growth"])
    assert figures["growth"][-1][0] == 5_000 <= figures["places"], "people join while the lots are drawn, too"
