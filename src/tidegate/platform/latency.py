"""How long shoppers wait of late, as a site process counts it; `latency_sharing` tells others.

A process keeps counts by powers of `STEP` for the last seconds: of the time that requests took, and of how late its
event loop was (a request that has arrived waits for that before it is looked at, and its own time does not tell).
Nothing is done per request beyond counting, and losing all of it costs a picture, never a fact.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Final

import msgspec

STEP: Final = 1.07
"""A quantile is told as the upper end of its step: at most 7 % too much."""

LEAST_S: Final = 0.0001
"""Whatever is faster counts as this."""

STEPS_MOST: Final = 200
"""So that nothing that is noted can take much room: 76 s and more are one step."""

SECONDS_KEPT: Final = 3

PER_CENT_99: Final = 0.99
_LOG_STEP = math.log(STEP)

Steps = Mapping[int, int]
"""How many times fell into each step."""


class Waits(msgspec.Struct, frozen=True):
    """What a process, or all of them, had in the last `SECONDS_KEPT` seconds."""

    requests: Steps = {}
    lags: Steps = {}

    @property
    def count(self) -> int:
        """Requests."""
        return sum(self.requests.values())

    @property
    def p99_ms(self) -> float | None:
        """What the slowest percent of shoppers waited at least; None where nobody asked for anything.

        The slowest percent of requests and of the loop's lags are added: a little too much, and always the same way.
        """
        slowest = quantile_s(self.requests, PER_CENT_99)
        if slowest is None:
            return None
        return (slowest + (quantile_s(self.lags, PER_CENT_99) or 0.0)) * 1000


def step_of(seconds: float) -> int:
    """The step that a time falls into."""
    return 0 if seconds <= LEAST_S else min(math.ceil(math.log(seconds / LEAST_S) / _LOG_STEP), STEPS_MOST)


def quantile_s(steps: Steps, share: float) -> float | None:
    """The upper end of the step that `share` of the times do not exceed, in seconds; None for no times."""
    left = sum(steps.values()) * share
    if not left:
        return None
    for step in sorted(steps):
        left -= steps[step]
        if left <= 1e-9:
            break
    return float(LEAST_S * STEP**step)


def together(waits: Iterable[Waits]) -> Waits:
    """What several processes had."""
    requests: Counter[int] = Counter()
    lags: Counter[int] = Counter()
    for each in waits:
        requests.update(each.requests)
        lags.update(each.lags)
    return Waits(dict(requests), dict(lags))


class Counted:
    """What this process counted in this second, where somebody wants to know."""

    wanted: ClassVar[bool] = False
    requests: ClassVar[Counter[int]] = Counter()
    lags: ClassVar[Counter[int]] = Counter()


def note_times(times: Sequence[float]) -> None:
    """Count how long requests took, in seconds. Cheap, and nothing where nobody shares it."""
    if Counted.wanted:
        Counted.requests.update(map(step_of, times))


def take_counted() -> Waits:
    """What was counted since the last time."""
    taken = Waits(Counted.requests, Counted.lags)
    Counted.requests, Counted.lags = Counter(), Counter()
    return taken
