"""`python -m benchmarks growth` works, and writes a table and a plot."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

from benchmarks.growth import BEGIN, END, Point, write_documents
from tests.benchmarks.smoke import assert_exact, run_benchmark
from tests.sizes import at_full_size


def test_it_measures_with_past_orders_in_the_tables(tmp_path: Path) -> None:
    figures = run_benchmark("growth", "--smoke", "--docs", str(tmp_path), "--past", "200")
    assert_exact(figures, ("table", "slowest_to_fastest", "cores"))
    assert figures["errors"] == 0
    assert [row[:3] for row in figures["table"]] == [[200, 1, 1], [200, 1, 10]]
    assert "| 200 | 1 |" in (tmp_path / "benchmarks.md").read_text()


@at_full_size
def test_memory_is_watched_over_orders() -> None:
    figures = run_benchmark("growth", "--smoke", "--memory")
    assert_exact(figures, ("rss_mb_by_orders", "kb_per_1000_orders"))
    assert figures["rss_mb_by_orders"][-1][0] >= 50


def test_the_table_replaces_the_one_before_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(f"# Benchmarks\n\nBefore.\n\n{BEGIN}\nold\n{END}\n\nAfter.\n")
    points = [
        Point(past, processes, variants, 1000.0 * processes, 9.0, 0.5, 0, 0.1)
        for past in (0, 1000)
        for processes in (1, 2)
        for variants in (1, 10)
    ]
    write_documents(tmp_path, points, seconds=10, cores=2)
    text = page.read_text()
    assert "old" not in text
    assert text.index("Before.") < text.index("| 1,000 | 2 | 2,000 (0.50) | 2,000 (0.50) |") < text.index("After.")
    write_documents(tmp_path, points, seconds=10, cores=2)
    assert page.read_text() == text
    plot = ET.parse(tmp_path / "images" / "growth.svg").getroot()
    lines = plot.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 4
