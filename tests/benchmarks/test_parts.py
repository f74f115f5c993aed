"""`python -m benchmarks parts` leads purchases to processes of their own, and everybody gets an order."""

from __future__ import annotations

from tests.benchmarks.smoke import run_benchmark


def test_processes_that_their_gateway_binds_sell_what_they_say() -> None:
    figures = run_benchmark("parts", "--bound", "--smoke")
    assert (figures["bound_one_errors"], figures["bound_two_errors"]) == (0, 0)
    assert (figures["oversold"], figures["lost"], figures["duplicated"]) == (0, 0, 0)
    assert figures["bound_one_per_s"] > 0
    assert figures["bound_two_per_s"] > 0
    assert figures["bound_two_cores"].keys() >= {"checkout-1", "checkout-2"}
