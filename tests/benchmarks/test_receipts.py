"""`python -m benchmarks receipts` works, and every paid order has one receipt."""

from __future__ import annotations

from tests.benchmarks.smoke import run_benchmark

KEYS = {"receipts_per_s", "p50_s", "longest_s", "cpu_ms_per_receipt", "idle_cpu_ms_per_s"}


def test_every_paid_order_has_one_receipt() -> None:
    figures = run_benchmark("receipts", "--smoke")
    assert figures.keys() >= KEYS | {"at_20_per_s"}
    assert min(figures[key] for key in KEYS) > 0
    assert [figures[key] for key in ("lost", "doubled")] == [0, 0]
