"""A benchmark starts servers and workers of its own: a slow machine takes minutes for the smallest."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """More time for what is in this folder than for other tests, and some more than a run of a benchmark has."""
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.timeout(240))
