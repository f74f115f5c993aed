"""How many retries a client may make: a share of what it asks, so that a shop that is down is not asked twice as much.

After Finagle's RetryBudget (Twitter, 2016), but whoever finds the budget spent waits for it instead of failing: retries
leave one after the other. Without a clock of its own.
"""

from __future__ import annotations

from typing import Final

SHARE: Final = 0.1
"""Retries that each request allows for."""
PER_S: Final = 1.0
"""Retries a second that are always allowed."""
MOST: Final = 10.0
"""Retries that can be saved up."""


class RetryBudget:
    """One budget for all that a client asks of one shop."""

    def __init__(self, *, share: float = SHARE, per_s: float = PER_S, most: float = MOST) -> None:
        self._share, self._per_s, self._most = share, per_s, most
        self._left = most
        self._at_s: float | None = None

    def asked(self) -> None:
        """A request is made for the first time."""
        self._left = min(self._left + self._share, self._most)

    def wait_s(self, now_s: float) -> float:
        """Take one retry; the seconds until it may be made. `now_s` never goes back."""
        if self._at_s is not None:
            self._left = min(self._left + (now_s - self._at_s) * self._per_s, self._most)
        self._at_s = now_s
        self._left -= 1
        return max(-self._left / self._per_s, 0.0)
