"""Which addresses mail can be sent to, and when."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

MAX_EMAIL = 254
"""Longest e-mail address, in characters (RFC 5321)."""

MAX_NAME = 100
"""Longest display name that is put before an address."""

_SPECIAL = frozenset('()<>[]:;@\\,"')
"""The specials of RFC 5322 but for the dot."""

_PART = r"[^\s@<>()\[\]\\,;:\"\x00-\x20\x7f]+"
_ADDRESS = re.compile(rf"({_PART})@({_PART})")


class BadAddress(ValueError):
    """No mail can be sent to this address."""


def split_address(email: str) -> tuple[str, str]:
    """The local part and the domain (in ASCII) of an address. Raises: BadAddress.

    Narrower than RFC 5322: no comments, quotes, routes or lists, so that one address stays one address in every header
    and command that it is put into.
    """
    match = _ADDRESS.fullmatch(email) if len(email) <= MAX_EMAIL and email.isprintable() else None
    if match is None:
        raise BadAddress("not an e-mail address")
    local, domain = match.groups()
    try:
        return local, domain.encode("idna").decode()
    except UnicodeError:
        raise BadAddress("the domain cannot be written in ASCII") from None


def left_s(*, done: int, expected: int, elapsed_s: float) -> float | None:
    """Seconds that the rest of `expected` takes at the pace of the `done` in `elapsed_s`; None before there is one."""
    if done >= expected:
        return 0.0
    return None if not done else (expected - done) * max(elapsed_s, 0.0) / done


def display_name(name: str) -> str:
    """A person's name as it may stand in a header: one line, bounded, and no character that has a meaning there.

    Quoting is not relied on: Python 3.11 loses a quoted name's quotes where it folds a long header, and an address
    inside the name then becomes the recipient.
    """
    harmless = "".join(char if char.isprintable() and char not in _SPECIAL else " " for char in name)
    return " ".join(harmless.split())[:MAX_NAME].strip()


MAX_QUIET: Final = timedelta(hours=18)
"""Longest quiet hours: some of each day must be left, also of a day that a clock change shortens."""


def quiet_end(now: datetime, *, zone: ZoneInfo, starts: time, ends: time) -> datetime | None:
    """When the quiet hours are over that hold at `now`, in UTC; None where none hold.

    They are from `starts` until before `ends` on a clock on the wall in `zone`, over midnight where `ends` is the
    earlier one. A time that a clock change leaves out counts as much later; one that comes twice is quiet both times,
    and the end that still lies ahead is meant.
    """
    here = now.astimezone(zone)
    clock = here.time()
    if starts <= ends:
        inside, days = starts <= clock < ends, 0
    else:
        inside, days = clock >= starts or clock < ends, int(clock >= starts)
    if not inside:
        return None
    end = datetime.combine(here.date() + timedelta(days=days), ends, tzinfo=zone)
    first = end.astimezone(UTC)
    return first if first > now else end.replace(fold=1).astimezone(UTC)


def quiet_length(starts: time, ends: time) -> timedelta:
    """How long quiet hours are on a day without a clock change; a whole day where both times are the same."""
    day = datetime(2000, 1, 1)  # noqa: DTZ001 - only a difference
    length = datetime.combine(day, ends) - datetime.combine(day, starts)
    return length if length > timedelta() else length + timedelta(days=1)
