"""How large a test is: nearly every test runs every time, at its full size where that is asked for.

`make test FULL=1` takes the time of full sizes; without it the suite ends within minutes on two slow cores.
"""

from __future__ import annotations

import os
from typing import TypeVar

import pytest

FULL = os.environ.get("TIDEGATE_TEST_FULL") == "1"

at_full_size = pytest.mark.skipif(not FULL, reason="part of the full size: make test FULL=1")
"""A test for which a smaller one stands in a brief run."""

Size = TypeVar("Size")


def sized(*, full: Size, brief: Size) -> Size:
    """The size for this run."""
    return full if FULL else brief
