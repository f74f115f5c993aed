"""How long to wait, without a clock: what a client must keep to so that a room's cost does not grow with its crowd."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

from tidegate.client.contracts import Poll

BACKOFF_FIRST_S, BACKOFF_MOST_S = 1.0, 60.0
"""After a failure without advice, doubling with each one more."""

LATER = 0.3
"""Share of a wait that is added to it by chance, so that those who were refused together do not come back together."""

MAX_ADVICE_S = 3_600.0
"""A longer Retry-After or max-age is taken for this."""


def next_poll_s(poll: Poll, *, number: int | None, serving: int, opens_in_s: float, draw: float) -> float:
    """Seconds until the status may be asked for again; `draw` is chance, 0 to 1.

    With a number: its distance to the front over `per_s`. Without one: a tenth of the time until the room opens. Both
    within `near_s` and `far_s`, give or take the share `jitter`.
    """
    wait_s = max(number - serving, 0) / poll.per_s if number is not None else max(opens_in_s, 0.0) / 10
    return min(max(wait_s, poll.near_s), poll.far_s) * (1 + poll.jitter * (2 * draw - 1))


def retry_s(advice_s: float | None, *, failures: int, draw: float) -> float:
    """Seconds until what failed `failures` times (1, 2, ...) is tried again: never before the shop's advice."""
    wait_s = min(BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 20), BACKOFF_MOST_S) if advice_s is None else advice_s
    return wait_s * (1 + LATER * draw)


def advice_s(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """What Retry-After says (RFC 9110, 10.2.3), in seconds or as a date; None without one."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_ADVICE_S)
    try:
        return min(max((parsedate_to_datetime(text) - now).total_seconds(), 0.0), MAX_ADVICE_S)
    except (TypeError, ValueError):
        return None


def fresh_s(headers: Mapping[str, str]) -> float:
    """How much longer an answer may be used without asking again (RFC 9111, 4.2): its max-age less its Age."""
    found = {}
    for part in headers.get("cache-control", "").lower().split(","):
        name, _, value = part.strip().partition("=")
        found[name] = value.strip('"')
    if "no-store" in found or "no-cache" in found:
        return 0.0
    return max(min(_seconds(found.get("max-age", "")), MAX_ADVICE_S) - _seconds(headers.get("age", "")), 0.0)


def _seconds(text: str) -> float:
    return float(text[:9]) if text.isascii() and text.isdigit() else 0.0
