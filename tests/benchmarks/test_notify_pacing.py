"""`python -m benchmarks notify_pacing` tells followers, and says what is excess."""

from __future__ import annotations

from benchmarks.notify_pacing import Felt, Pair, figures_of
from tests.benchmarks.smoke import run_benchmark


def test_followers_are_told_once_by_the_processes_of_a_shop() -> None:
    figures = run_benchmark("notify_pacing", "--growth", "2000", "--smoke")
    (row,) = figures["growth"]
    assert (row["followers"], row["lost"], row["duplicated"]) == (2_000, 0, 0)
    assert row["per_hour"] > 0
    assert row["queue_peak"] <= 1_000


def test_only_what_is_above_the_larger_of_both_bounds_is_excess() -> None:
    pairs = [
        Pair(Felt(1.0, 10.0, 20.0), Felt(1.0, sending, 20.0), told=1_000, seconds=10.0)
        for sending in (14.9, 15.0, 17.5, 11.0, 99.0)
    ]
    figures = figures_of(pairs, 100.0)
    assert figures["excess_of_pairs_ms"] == [0.0, 0.0, 2.5, 0.0, 84.0]
    assert (figures["api_p99_excess_ms"], figures["api_p99_ratio"]) == (0.0, 1.5)
    assert figures["paced_per_hour"] == 360_000
    slow = Pair(Felt(1.0, 100.0, 20.0), Felt(1.0, 121.0, 20.0), told=1, seconds=1.0)
    assert slow.excess_ms == 1.0
