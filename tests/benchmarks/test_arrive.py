"""`python -m benchmarks arrive` works: everybody gets a page, a place and a hold of their own."""

from __future__ import annotations

from tests.benchmarks.smoke import run_benchmark


def test_it_measures_the_pages_of_a_first_minute() -> None:
    figures = run_benchmark("arrive", "--smoke", "--connections", "8")
    for name in ("room", "join", "waiting", "hold", "checkout"):
        assert figures[f"{name}_per_s"] > 0
        assert figures[f"{name}_cpu_ms"] > 0
    assert figures["places"] >= figures["join_per_s"] * 0.4, "each who joined is somebody else"
    assert figures["holds"] >= figures["hold_per_s"] * 0.4
