"""`python -m benchmarks overload` works: some are refused, the others are paid, and the books are exact."""

from __future__ import annotations

from tests.benchmarks.smoke import assert_exact, run_benchmark

KEYS = ("peak_per_s", "at_2x", "at_5x", "refusal_us", "limiter_us", "generator_core")


def test_who_is_let_in_is_paid_and_the_others_are_refused() -> None:
    figures = run_benchmark("overload", "--smoke")
    assert_exact(figures, KEYS)
    assert figures["peak_per_s"] > 0
    assert figures["at_5x"]["refused"] > 0
    assert figures["at_5x"]["goodput_per_s"] > 0
    assert figures["at_5x"]["unanswered"] == 0
    assert figures["limiter_us"] < 50
