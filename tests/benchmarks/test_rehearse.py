"""`python -m benchmarks rehearse` works: a small crowd, and whichever other clients are installed."""

from __future__ import annotations

from tests.benchmarks.smoke import run_benchmark

KEYS = {
    "shoppers", "purchases", "books_clean", "bytes_per_shopper", "max_lateness_ms", "sale_cpu_us_per_request",
}  # fmt: skip
BESIDE = {"requests_per_s", "cpu_us_per_request", "ratio_to_aiohttp", "ratio_to_httpx"}


def test_it_measures_a_crowd() -> None:
    figures = run_benchmark("rehearse", "--smoke")
    assert figures.keys() >= KEYS
    assert (figures["purchases"], figures["books_clean"], figures["ends"]["bought"]) == (12, True, 12)
    assert figures["shoppers"] <= figures["came"] == 60
    if "nginx" not in figures["missing"]:
        assert figures.keys() >= BESIDE
        assert figures["requests_per_s"] > 0
        rivals = {"wrk", "locust"} - set(figures["missing"])
        assert {f"ratio_to_{name}" for name in rivals} <= figures.keys()
