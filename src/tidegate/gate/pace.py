"""How often one person may ask about their place: a token bucket each, in the memory of one process.

Whoever follows the status asks a few times in all. A program that asks all the time is told when to come back, and
keeps its place: it loses nothing but speed, and takes none from others.
"""

from __future__ import annotations

from collections import OrderedDict
from math import ceil

from tidegate.platform.ids import PersonId

MAX_PEOPLE = 50_000
"""Most people remembered, those who asked last; a forgotten one begins anew."""


class Pace:
    """`per_minute` questions a minute on average, and as many at once after a minute of silence."""

    def __init__(self, per_minute: int, *, max_people: int = MAX_PEOPLE) -> None:
        self._per_minute = per_minute
        self._max_people = max_people
        self._seen: OrderedDict[PersonId, tuple[float, float]] = OrderedDict()

    def wait_s(self, person_id: PersonId, *, now_s: float) -> int:
        """0 when the question may be answered, which counts it; else how many whole seconds to wait."""
        left, at_s = self._seen.pop(person_id, (float(self._per_minute), now_s))
        left = min(left + (now_s - at_s) * self._per_minute / 60, float(self._per_minute))
        may = left >= 1
        self._seen[person_id] = (left - 1 if may else left, now_s)
        if len(self._seen) > self._max_people:
            self._seen.popitem(last=False)
        return 0 if may else max(ceil((1 - left) * 60 / self._per_minute), 1)
