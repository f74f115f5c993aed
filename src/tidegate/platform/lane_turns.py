"""Whose turn it is among lanes: the most urgent first, but none is passed over for ever.

kombu's Redis transport asks an object like this one for the order of its queues before it takes a task (its option
`queue_order_strategy`). RabbitMQ hands out tasks of all queues in turn by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence


class LaneTurns:
    """The order in which a worker asks its lanes for a task.

    A lane that was passed over for `patience_s` seconds is asked first, once. They count from when a process is free
    again after it was served, so that a worker of one process has at least so long for other lanes between two long
    tasks of bulk.
    """

    def __init__(self, *, patience_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience_s = patience_s
        self._clock = clock
        self._lanes: list[str] = []
        self._since_s: dict[str, float] = {}
        self._served: str | None = None

    def update(self, lanes: Sequence[str]) -> None:
        """The lanes that are worked on, the most urgent first."""
        now_s = self._clock()
        self._lanes = list(lanes)
        self._since_s = {lane: self._since_s.get(lane, now_s) for lane in self._lanes}

    def consume(self, most: int) -> list[str]:
        """A process is free: the lanes in the order in which they are asked."""
        now_s = self._clock()
        if self._served in self._since_s:
            self._since_s[self._served] = now_s
        self._served = None
        passed_over = [lane for lane in self._lanes if now_s - self._since_s[lane] >= self._patience_s]
        return [*passed_over, *(lane for lane in self._lanes if lane not in passed_over)][:most]

    def rotate(self, served: str) -> None:
        """A task of this lane was taken."""
        self._served = served
        if served in self._since_s:
            self._since_s[served] = self._clock()
