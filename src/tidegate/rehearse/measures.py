"""What a rehearsal measures beside the crowd's counts: steps second by second, the shop from inside. Plain data."""

from __future__ import annotations

import msgspec


class StepSecond(msgspec.Struct, frozen=True, array_like=True):
    """One kind of request in one second: how many were served, and means in milliseconds from when each was due.

    `own_ms` of it passed before the request was sent: the crowd was late, or all its connections waited for answers.
    """

    count: int
    mean_ms: float
    own_ms: float


class Passed(msgspec.Struct, frozen=True, array_like=True):
    """How often something was done, and the seconds of all of them together."""

    count: float
    seconds: float


class Batches(msgspec.Struct, frozen=True, array_like=True):
    """Batches of one kind: how many, of how many requests; seconds that they ran and that their first ones waited."""

    count: float
    requests: float
    run_s: float
    wait_s: float


class Inside(msgspec.Struct, frozen=True):
    """What the shop's processes counted from `since` to `at` (seconds after the begin), added up over them."""

    since: float
    at: float
    routes: dict[str, Passed] = msgspec.field(default_factory=dict)
    """By method and route, as `GET /api/v1/drops/{slug}/status`."""

    batches: dict[str, Batches] = msgspec.field(default_factory=dict)
    gateway: Passed = Passed(0.0, 0.0)
    """Calls to payment providers."""


class HeldUp(msgspec.Struct, frozen=True):
    """A kind of request, when it was slowest, and what it spent its time on then.

    `mean_ms` is of the seconds around `at`; `parts` are milliseconds of it; `says` names the largest part in words.
    """

    step: str
    at: float
    p99_ms: float
    mean_ms: float
    parts: dict[str, float]
    says: str


class Cost(msgspec.Struct, frozen=True):
    """CPU of one kind of process for one request of each kind, in microseconds, and of nothing at all, in cores."""

    kind: str
    idle_cores: float
    request_us: dict[str, float]
