"""How many requests a process works on at once, and who is let in when that is too many. Pure; units: seconds.

The limit follows the gradient of Netflix's concurrency-limits (`Gradient2Limit`, https://github.com/Netflix/
concurrency-limits, 2018): the share of the wanted to the measured latency, plus room for a queue of the limit's square
root. There the wanted latency is what an idle server takes. Here it is a setting, since a group commit is slower with
more requests *because* it does more at once: held near its idle latency it would never fill a batch. Every window lasts
at least as long as two latencies, so that what is measured is what the last change did (without that a controller of a
slow process swings). A process that is not half full learns nothing about its limit: whatever makes it slow is not how
many are inside. It keeps its limit, and comes back to the first one while it is fast.

Who is let in: each priority has a share of the limit (as in Netflix's prioritised load shedding, 2020, and DAGOR of
WeChat, SoCC 2018), so that what is worth most is refused last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from math import ceil, log2, sqrt
from typing import Final

UP: Final = 0.5
DOWN: Final = 0.6
"""How much of the way to the wanted limit one window goes. Down is the way to hurry: people wait already."""
STEEPEST: Final = 0.5
"""Least share of its limit that a window wants."""
FULL: Final = 0.5
"""Share of the limit that must have been in use for the limit to change."""
WINDOW_S: Final = 0.1
LONGEST_WINDOW_S: Final = 2.0
LATENCIES_IN_WINDOW: Final = 2.0
WANTED_REFUSALS: Final = 2.0
"""Refusals for each answer that keep the doors busy, and no more: beyond that they cost what could be served."""
SPREAD: Final = 3
"""Refusals ask to wait for up to so many times the shortest wait, and longer where they are many: so that nobody comes
back with everybody else."""
ENOUGH: Final = 8
"""Answers of one priority in a window that say something about its latency."""


class Priority(IntEnum):
    """What a request is worth, the least first. STAFF and HEALTH have places of their own."""

    REPORTS = 0
    BROWSE = 1
    STATUS = 2
    JOIN = 3
    HOLD = 4
    PAY = 5
    STAFF = 6
    HEALTH = 7


SHARES: Final[Mapping[Priority, float]] = {
    Priority.REPORTS: 0.4,
    Priority.BROWSE: 0.6,
    Priority.STATUS: 0.7,
    Priority.JOIN: 0.8,
    Priority.HOLD: 0.9,
    Priority.PAY: 1.0,
    Priority.STAFF: 0.9,
    Priority.HEALTH: 0.0,
}
"""Share of the limit up to which each is let in; staff so far beyond their reserve, probes never."""

OWN_SHARE: Final = 1 / 16
"""Share of the limit that each priority has for itself, whoever else is inside: while those that pay wait for a
database that is away, pages that need none are still shown."""

MEASURED: Final = frozenset(
    {Priority.BROWSE, Priority.STATUS, Priority.JOIN, Priority.HOLD, Priority.PAY},
)
"""Whose latency counts: reports and the work of staff are slow by themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What the limit keeps to."""

    target_s: float
    least: int
    first: int
    most: int

    def within(self, limit: float) -> float:
        """`limit`, or the bound that it passed."""
        return min(max(limit, float(self.least)), float(max(self.most, self.least)))


@dataclass(frozen=True, slots=True)
class Window:
    """What was seen since the last change: latency of the slowest priority in seconds, and most requests at once."""

    latency_s: float
    peak: int


def next_limit(limit: float, seen: Window, bounds: Bounds) -> float:
    """The limit after a window."""
    gradient = min(max(bounds.target_s / max(seen.latency_s, 1e-6), STEEPEST), 1.0)
    wanted = limit * gradient + sqrt(limit)
    if seen.peak < limit * FULL:
        if gradient < 1.0 or limit >= bounds.first:
            return bounds.within(limit)
        wanted = min(wanted, float(bounds.first))
    return bounds.within(limit + (UP if wanted > limit else DOWN) * (wanted - limit))


def window_s(latency_s: float) -> float:
    """How long the next window lasts at least."""
    return min(max(WINDOW_S, LATENCIES_IN_WINDOW * latency_s), LONGEST_WINDOW_S)


def slowest_s(sums_s: Mapping[Priority, float], counts: Mapping[Priority, int]) -> float | None:
    """Mean latency of the slowest priority that has enough answers; None when none has."""
    means = [sums_s[each] / count for each, count in counts.items() if each in MEASURED and count >= ENOUGH]
    return max(means, default=None)


def own_places(limit: float) -> int:
    """How many of each priority are let in whoever else is inside."""
    return int(limit * OWN_SHARE)


def thresholds(limit: float) -> tuple[int, ...]:
    """By priority: with so many requests in work one more is refused. Nobody's is below one, but that of probes."""
    return tuple(max(1, int(limit * SHARES[each])) if SHARES[each] else 0 for each in Priority)


def most_doublings(*, shortest_s: int, most_s: int) -> int:
    """How often the longest time to wait can be doubled until it is `most_s`."""
    return ceil(log2(max(most_s / (shortest_s * SPREAD), 1.0)))


def longest_s(doublings: int, *, shortest_s: int, most_s: int) -> int:
    """The longest that somebody who is refused is asked to wait."""
    return max(min(shortest_s * SPREAD << doublings, most_s), shortest_s)


def next_doublings(doublings: int, *, refused: int, served: int, most: int) -> int:
    """How often the longest time is doubled from now on, after so many refusals and answers since it last changed.

    Who is refused comes again within that time. So there are as many refusals for each answer as it is shorter than
    what it takes to serve all who wait: it is doubled by their proportion to what is wanted. The shortest time stays:
    else nobody would come for a while after it was doubled.
    """
    if not refused:
        return 0
    return min(max(doublings + round(log2(refused / max(served, 1) / WANTED_REFUSALS)), 0), most)
