"""`python -m benchmarks notify` works, and everybody it tells is told once."""

from __future__ import annotations

from tests.benchmarks.smoke import run_benchmark

KEYS = {
    "inbox_per_hour", "email_per_hour", "naive_per_hour", "ratio_to_naive", "row_limit_per_hour", "ratio_to_limit",
    "transactional_p99_s", "receipts", "peak_rss_mb",
}  # fmt: skip


def test_every_follower_is_told_once_and_counted() -> None:
    figures = run_benchmark("notify", "--smoke")
    assert figures.keys() >= KEYS
    assert [figures[key] for key in ("lost", "duplicated", "uncounted")] == [0, 0, 0]
    assert min(figures[key] for key in KEYS) > 0
    assert figures["transactional_p99_s"] <= 10, "a receipt does not wait behind a send to many"
    assert figures["queue_peak"] <= 1_000
