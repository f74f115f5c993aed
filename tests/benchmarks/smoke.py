"""Running a benchmark as a developer does, for a few seconds at rates that prove nothing but that it works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.servers import ROOT

TIMEOUT_S = 230.0


def run_benchmark(name: str, *options: str) -> dict[str, Any]:
    """The figures of `python -m benchmarks NAME OPTIONS --json`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", name, *options, "--json"],
        cwd=ROOT,
        env=clean,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def assert_exact(figures: dict[str, Any], keys: Sequence[str]) -> None:
    """All `keys` are there, the books are exact, and commits reach the disk."""
    assert set(keys) <= figures.keys()
    wrong = {key: figures[key] for key in ("oversold", "lost", "duplicated", "stock_off") if figures[key]}
    assert wrong == {}
    assert figures["told"] > 0
    assert [figures[name] for name in ("fsync", "synchronous_commit", "full_page_writes")] == ["on"] * 3
