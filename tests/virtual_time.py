"""An event loop whose clock jumps: pauses take no time, and a wait for nothing fails instead of hanging.

For code that only waits for timers and for other tasks; sockets and threads need a real loop.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Deadlock(Exception):
    """Every task waits, and no timer would ever wake one."""


class _Selector(selectors.DefaultSelector):
    """Never waits: tells the loop's clock how long it would have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise Deadlock
        if not ready and timeout:
            self.now += timeout
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """Like `asyncio.run`, in virtual time from 0. Raises: Deadlock."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(main)
