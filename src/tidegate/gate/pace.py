"""How often one client may ask: a token bucket each, in the memory of one process.

Whoever follows the status asks a few times in all. A program that asks all the time is told when to come back, and
keeps its place: it loses nothing but speed, and takes none from others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from math import ceil

from tidegate.platform.attempts import network_of

MAX_PEOPLE = 50_000
"""Most clients remembered, those who asked last; a forgotten one begins anew."""

LOCAL = ("127.", "::1")


class Pace:
    """`per_minute` questions a minute on average, and as many at once after a minute of silence."""

    def __init__(self, per_minute: int, *, max_people: int = MAX_PEOPLE) -> None:
        self._per_minute = per_minute
        self._max_people = max_people
        self._seen: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def wait_s(self, who: Hashable, *, now_s: float) -> int:
        """0 when the question may be answered, which counts it; else how many whole seconds to wait."""
        left, at_s = self._seen.pop(who, (float(self._per_minute), now_s))
        left = min(left + (now_s - at_s) * self._per_minute / 60, float(self._per_minute))
        may = left >= 1
        self._seen[who] = (left - 1 if may else left, now_s)
        if len(self._seen) > self._max_people:
            self._seen.popitem(last=False)
        return 0 if may else max(ceil((1 - left) * 60 / self._per_minute), 1)


class FollowersPace:
    """How often one client may ask for the status, by the session that it sends and by its network.

    Addresses of this machine count as nobody's: what comes from there is a proxy's or a measurement's.
    """

    def __init__(self, *, per_minute: int, per_minute_per_network: int) -> None:
        self._sessions = Pace(per_minute)
        self._networks = Pace(per_minute_per_network)

    def wait_s(self, *, address: str, session: str | None, now_s: float) -> int:
        """0 when the question may be answered, which counts it; else how many whole seconds to wait."""
        wait_s = 0
        if address and not address.startswith(LOCAL):
            wait_s = self._networks.wait_s(network_of(address), now_s=now_s)
        if session is not None and not wait_s:
            wait_s = self._sessions.wait_s(session, now_s=now_s)
        return wait_s
