"""`python -m benchmarks notify_pacing` works: shoppers are served and followers told meanwhile."""

from __future__ import annotations

from benchmarks.notify_pacing import Felt, Pair, figures_of
from tests.benchmarks.smoke import run_benchmark


def test_followers_of_a_drop_are_told_while_shoppers_are_served_and_receipts_go_on() -> None:
    figures = run_benchmark("notify_pacing", "--drop", "--smoke")
    assert (figures["followers"], figures["lost"], figures["duplicated"]) == (6_000, 0, 0)
    for key in ("told_within_s", "receipts", "shop_per_s", "api_p99_idle_ms", "api_p99_sending_ms"):
        assert figures[key] > 0, key
    assert figures["receipt_longest_s"] <= 10, "a receipt does not wait behind a send to many"


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
