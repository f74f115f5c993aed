"""`python -m benchmarks holds` works and its books are exact."""

from __future__ import annotations

from tests.benchmarks.smoke import assert_exact, run_benchmark

KEYS = ("holds_per_s", "row_lock_per_s", "sql_limit_per_s", "ratio_to_row_lock", "ratio_to_limit", "cores")


def test_every_promised_hold_is_there() -> None:
    figures = run_benchmark("holds", "--smoke", "--processes", "1")
    assert_exact(figures, KEYS)
    assert figures["holds_per_s"] > 0
    assert figures["row_lock_per_s"] > 0
