"""How soon a lost connection is made anew: a shop that takes connections and ends them at once is not hammered."""

from __future__ import annotations

import random
from math import ceil

from tidegate.platform.backoff import backoff_s

FIRST_S, MOST_S = 0.1, 3.0


class Returning:
    """Pauses of a crowd that shares `connections`: none after one that was of use, longer and longer ones else."""

    def __init__(self, connections: int, *, seed: int) -> None:
        self._connections = connections
        self._dice = random.Random(seed)  # noqa: S311 - spreads connections, no secret
        self._fruitless = 0

    def failures(self, *, served: bool) -> int:
        """How often in a row, about, each of the crowd's connections ended without an answer, now that one more did."""
        self._fruitless = 0 if served else self._fruitless + 1
        return ceil(self._fruitless / self._connections)

    def pause_s(self, failures: int) -> float:
        """Seconds until a connection is made after so many failures in a row."""
        if not failures:
            return 0.0
        return backoff_s(failures=failures, base_s=FIRST_S, cap_s=MOST_S, draw=self._dice.random())
