"""The benchmark of looking around runs, and finds that a warm request asks the database nothing."""

from __future__ import annotations

from tests.benchmarks.smoke import run_benchmark


def test_it_measures_pages_and_api() -> None:
    figures = run_benchmark("browse", "--smoke")
    for key in ("pages_per_s", "api_per_s", "bare_rps", "page_ratio", "api_ratio", "p99_ms"):
        assert figures[key] > 0, key
    assert figures["page_bytes"] <= 50 * 1024
    asked_by_itself = 4.0 * figures["idle_queries_per_s"] + 10.0
    seconds_and_waits = 1.5 + 2 * 1.5
    assert figures["queries_per_request"] * figures["requests"] <= asked_by_itself * seconds_and_waits
