"""Invariants: what must be true of the database whatever happened, as SQL that finds where it is not.

Each module brings its own in `books.py`; `tidegate books` runs them all in one snapshot.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Invariant:
    """A rule of the books.

    `name` is its label in metrics and logs, `says` what must be true, in one sentence. `sql` is one SELECT, without
    LIMIT, of the rows that break it: ids, states and sums, never personal data. It may use the parameters that
    `Bounds` names, and `now()`, which is the moment when the check began.
    """

    name: str
    says: str
    sql: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """How late things may be before an invariant calls them late; the parameters of its SQL, by these names."""

    hold_late_s: int
    """A hold past its expiry."""
    order_late_s: int
    """An unpaid order past its payment window."""
    unresolved_s: int
    """A charge, refund or idempotency key whose outcome is open, from its making."""
    events_kept_s: int
    """Outbox events may be gone when they are older."""
