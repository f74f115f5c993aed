"""When a process that serves looks for objects that only refer to each other: at moments when it has little to do.

Python looks whenever so many objects are new. That is when requests pile up: a process that is behind stood still for
40 to 80 ms to look at what they are made of, in vain, and was further behind. What requests made is freed by reference
counts; what is left for the collector is little, and can wait for a second that is calm.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Final

THRESHOLDS: Final = (250_000, 20, 100)
"""Python's own looks, as a net: new objects before one at them, and how many of one kind before the next deeper one."""

LOOK_S: Final = 2.0
CALM: Final = 25_000
"""New objects that may be looked at in between: some 10 ms."""

OLDER_EVERY: Final = 30
OLDEST_EVERY: Final = 300
"""Looks until one at those that outlived the last ones, too, and until one at all that came since the start."""


def spare_what_is_there() -> None:
    """What has been made until now lives as long as the process: it is not looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


def look_when_calm(looks: int = 0) -> None:
    """Look every LOOK_S from now on, when it is calm; `looks` were done before. Call inside the event loop."""
    asyncio.get_running_loop().call_later(LOOK_S, _look, looks)


def _look(looks: int) -> None:
    if gc.get_count()[0] < CALM:
        looks += 1
        gc.collect(2 if looks % OLDEST_EVERY == 0 else 1 if looks % OLDER_EVERY == 0 else 0)
    look_when_calm(looks)
