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
"""With fewer new objects than these it is calm: to look at them takes some 10 ms."""

MOST_PUT_OFF: Final = 10
"""Looks that are put off before there is one all the same: connections that stay open are new objects, too."""

OLDER_EVERY: Final = 30
OLDEST_EVERY: Final = 300
"""Looks until one at those that outlived the last ones, too, and until one at all that came since the start."""


def spare_what_is_there() -> None:
    """What has been made until now lives as long as the process: it is not looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


def look_when_calm() -> None:
    """Look every LOOK_S from now on, when it is calm. Call inside the event loop, whose end is the end of it."""
    _Looks().wait()


class _Looks:
    """How often this process has looked, and put it off."""

    def __init__(self) -> None:
        self._done = 0
        self._put_off = 0

    def wait(self) -> None:
        asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _look(self) -> None:
        if gc.get_count()[0] < CALM or self._put_off >= MOST_PUT_OFF:
            self._done += 1
            self._put_off = 0
            gc.collect(depth(self._done))
        else:
            self._put_off += 1
        self.wait()


def depth(look: int) -> int:
    """Which generations the `look`-th look (from 1) is at: those up to this one."""
    if look % OLDEST_EVERY == 0:
        return 2
    return 1 if look % OLDER_EVERY == 0 else 0
