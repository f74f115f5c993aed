"""What goes wrong on the way, request by request."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """Before the effect: RATE_LIMIT, ERROR, RESET. After it: ERROR_AFTER, LOST, STALL. LATENCY harms nobody."""

    LATENCY = "latency"
    """Take `delay_s` with the key in use, then answer."""
    RATE_LIMIT = "rate_limit"
    """429, and nothing happened."""
    ERROR = "error"
    """500, and nothing happened; with `stored`, the key answers so from now on."""
    RESET = "reset"
    """The connection breaks, and nothing happened."""
    ERROR_AFTER = "error_after"
    """It happened, and the answer is 500; with `stored`, the key answers so from now on."""
    LOST = "lost"
    """It happened, and the connection breaks in place of the answer."""
    STALL = "stall"
    """It happened, and the answer comes `delay_s` later."""


@dataclass(slots=True)
class Fault:
    """Hits the next `times` requests of `method` whose path fits `path`, each with probability `share`."""

    kind: Kind
    method: str = "POST"
    path: str = "/v1/.*"
    times: int = 1
    share: float = 1.0
    delay_s: float = 0.0
    stored: bool = False


@dataclass(slots=True)
class FaultPlan:
    """The faults that wait for their request."""

    faults: list[Fault] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    def add(self, kind: Kind, **options: object) -> None:
        """Plan a fault; `options` are `Fault`'s."""
        self.faults.append(Fault(kind, **options))  # type: ignore[arg-type]

    def draw(self, method: str, path: str) -> Fault | None:
        """The fault of this request, if any."""
        for fault in self.faults:
            if fault.method == method and re.fullmatch(fault.path, path) and self.chance.random() < fault.share:
                fault.times -= 1
                if fault.times <= 0:
                    self.faults.remove(fault)
                return fault
        return None
