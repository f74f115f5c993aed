"""`python -m benchmarks rehearse` works: the crowd asks a static page, and a sale's report becomes figures."""

from __future__ import annotations

import msgspec

from benchmarks.rehearse import figures_of
from tests.benchmarks.smoke import run_benchmark
from tests.rehearse.makers import report, told

SALE = {
    "shoppers", "purchases", "books_clean", "bytes_per_shopper", "max_lateness_ms", "sale_cpu_us_per_request",
}  # fmt: skip


def test_the_crowd_asks_a_static_page() -> None:
    figures = run_benchmark("rehearse", "--smoke", "--only", "clients", "--clients", "crowd")
    if "nginx" not in figures["missing"]:
        assert figures["requests_per_s"] > 0
        assert figures["cpu_us_per_request"] > 0


def test_a_sale_becomes_figures() -> None:
    played = report(told(ends={"bought": 5}, latencies={}))
    assert figures_of(played).keys() >= SALE
    assert figures_of(played)["books_clean"] is True
    for changes in ({"sold": 6}, {"lost": 1}, {"books": ("stock-sold",)}, {"sold": None}):
        assert figures_of(msgspec.structs.replace(played, **changes))["books_clean"] is False
