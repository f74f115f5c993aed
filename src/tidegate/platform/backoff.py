"""Pauses before repeated attempts."""

from __future__ import annotations

from dataclasses import dataclass

from tidegate.platform.settings import JobSettings

DOUBLINGS = 30
"""More doublings than any cap allows; keeps the power small."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How work is repeated; times in seconds."""

    lease_s: float
    base_s: float
    cap_s: float
    max_attempts: int


def event_policy(jobs: JobSettings) -> RetryPolicy:
    """How outbox events are repeated."""
    return RetryPolicy(jobs.event_lease_s, jobs.retry_base_s, jobs.retry_cap_s, jobs.event_max_attempts)


def backoff_s(*, failures: int, base_s: float, cap_s: float, draw: float) -> float:
    """Seconds to wait after `failures` failures in a row.

    Doubles from `base_s` up to `cap_s`; `draw`, uniform in [0, 1), spreads it over the upper half of that, so that
    work that failed together does not come back together.
    """
    full = min(cap_s, base_s * 2.0 ** min(max(failures - 1, 0), DOUBLINGS))
    return full * (0.5 + draw / 2)
