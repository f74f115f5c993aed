"""The benchmark of the edge runs, and compares the same answers."""

from __future__ import annotations

from benchmarks.edge import run


def test_it_measures_both_sides() -> None:
    figures = run(["--seconds", "0.6", "--connections", "4"])
    assert figures["connections"] == 4
    for kind in ("bare", "edge"):
        assert figures[f"{kind}_requests_per_s"] > 0  # type: ignore[operator]
        assert figures[f"{kind}_cpu_us"] > 0  # type: ignore[operator]
    assert figures["cpu_ratio"] > 0  # type: ignore[operator]
