"""How fast mails may go, as pure rules: a bucket of tokens, and a cap that a server's complaints lower.

Seconds are of any clock that does not go back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

LEAST_PER_S: Final = 0.5
"""Slowest that a server's complaints make a worker, in mails a second."""

DOUBLED_IN_S: Final = 10.0
"""In how many seconds without a complaint the cap doubles."""

FORGOTTEN_S: Final = 100.0
"""After how many seconds without a complaint there is no cap any more."""

COMPLAINTS: Final = 0.5
"""From which share of its answers on a server is taken to mean us, not a recipient, when it says "later"."""


@dataclass(frozen=True, slots=True)
class Cap:
    """A pace that a server complained of was halved to `per_s` at `since_s`."""

    per_s: float = math.inf
    since_s: float = -math.inf

    def at(self, now_s: float) -> float:
        """Mails a second that may go at `now_s`; infinite where nobody complains."""
        age_s = now_s - self.since_s
        return math.inf if age_s >= FORGOTTEN_S else self.per_s * 2 ** (max(age_s, 0.0) / DOUBLED_IN_S)

    def lowered(self, *, now_s: float, pace: float) -> Cap:
        """After a complaint: half of what went so far."""
        per_s = max(min(pace, max(self.at(now_s), LEAST_PER_S)) / 2, LEAST_PER_S)
        return Cap(per_s, now_s)


@dataclass(slots=True)
class Bucket:
    """Tokens of one process."""

    tokens: float = 1.0
    at_s: float = -math.inf

    def take(self, wanted: int, *, per_s: float, burst: float, now_s: float) -> int:
        """Take up to `wanted` of the tokens that have come together, of which there are never more than `burst`."""
        if math.isinf(per_s):
            return wanted
        since_s = max(now_s - self.at_s, 0.0) if math.isfinite(self.at_s) else 0.0
        self.tokens = min(self.tokens + since_s * per_s, max(burst, 1.0))
        self.at_s = now_s
        taken = min(wanted, int(self.tokens))
        self.tokens -= taken
        return taken

    def wait_s(self, *, per_s: float) -> float:
        """Seconds until there is a whole token."""
        return max(1.0 - self.tokens, 0.0) / per_s if per_s else math.inf


def complains(*, taken: int, busy: int) -> bool:
    """Whether the answers of a while mean that the server wants less; one greylisted recipient does not."""
    return busy > 0 and busy >= COMPLAINTS * (taken + busy)


def burst_of(per_s: float, burst: int) -> float:
    """How many tokens a quota's bucket holds: those of a second where nothing else is said."""
    return max(burst or per_s, 1.0)


def estimate_s(mails: int, *, per_s: float, burst: float) -> float | None:
    """Seconds that so many mails take at a quota; None without one."""
    return max(mails - burst, 0.0) / per_s if per_s > 0 else None
