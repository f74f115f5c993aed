"""A circuit breaker: whoever does not answer is left alone for a while, instead of being waited for by everyone.

closed: calls go through. After `failures` failures in a row it opens: calls are held back for `pause_s` seconds. Then
it is half open: one call is let through; when it succeeds the breaker closes, when it fails it opens again.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class BreakerState(StrEnum):
    """Whether calls go through."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


class Breaker:
    """Belongs to one event loop. Ask `admits` before each call, and say afterwards how it went."""

    def __init__(self, *, failures: int, pause_s: float, clock: Callable[[], float]) -> None:
        """`clock` tells seconds and never goes back."""
        self.state = BreakerState.CLOSED
        self._failures = failures
        self._pause_s = pause_s
        self._clock = clock
        self._failed = 0
        self._until = 0.0

    def admits(self) -> bool:
        """Whether a call may go through now. The one that does while it is half open decides how it goes on.

        A call that never tells how it went, since it was cancelled, keeps others back for one pause at most.
        """
        if self.state is BreakerState.CLOSED:
            return True
        if self.holds_back:
            return False
        self.state = BreakerState.HALF_OPEN
        self._until = self._clock() + self._pause_s
        return True

    @property
    def holds_back(self) -> bool:
        """Whether a call would be held back now. Unlike `admits`, asking is no promise to call."""
        return self.state is not BreakerState.CLOSED and self._clock() < self._until

    def succeeded(self) -> None:
        """A call was answered, also one that had begun before the breaker opened."""
        self.state = BreakerState.CLOSED
        self._failed = 0

    def failed(self) -> None:
        """A call was not answered. One that had begun before the breaker opened does not keep it open for longer."""
        self._failed += 1
        if self.state is BreakerState.HALF_OPEN or (
            self.state is BreakerState.CLOSED and self._failed >= self._failures
        ):
            self.state = BreakerState.OPEN
            self._until = self._clock() + self._pause_s
