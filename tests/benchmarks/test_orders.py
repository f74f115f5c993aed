"""`python -m benchmarks orders` works and its books are exact."""

from __future__ import annotations

from tests.benchmarks.smoke import assert_exact, run_benchmark

KEYS = ("http_gateway_per_s", "framework_rps", "ratio_to_framework", "processes", "cores", "batch_sizes")
EXPRESS_KEYS = ("express_per_s", "p50_ms", "p99_ms", "cpu_ms_per_order", "generator_share", "cores_by_kind", "errors")
TWO_STEP_KEYS = ("two_step_per_s", "two_step_cpu_ms_per_order", "two_step_errors")
GUEST_KEYS = ("guest_per_s", "guest_cpu_ms_per_order", "guest_errors")


def test_everyone_gets_an_order_and_the_books_are_exact() -> None:
    figures = run_benchmark("orders", "--smoke", "--processes", "1")
    assert_exact(figures, (*KEYS, *EXPRESS_KEYS, *TWO_STEP_KEYS))
    assert figures["two_step_errors"] == figures["errors"] == 0
    assert figures["http_gateway_errors"] == 0
    assert figures["framework_rps"] > 0
    assert figures["http_gateway_per_s"] > 0


def test_strangers_with_a_code_get_theirs() -> None:
    figures = run_benchmark("orders", "--smoke", "--processes", "1", "--kinds", "express", "guest", "--code")
    assert_exact(figures, (*KEYS, *EXPRESS_KEYS, *GUEST_KEYS))
    assert figures["guest_errors"] == figures["errors"] == 0
    assert figures["guest_per_s"] > 0
    assert {"guests", "codes"} <= figures["batch_sizes"].keys()
