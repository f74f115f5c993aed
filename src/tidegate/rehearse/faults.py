"""What is broken on purpose, what a shopper must be able to do meanwhile, and what was found. Pure data and rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from importlib.resources import files
from typing import Annotated

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0, le=3_600)]

FIRST_S = 20.0
"""When the first fault of the usual timetable begins, after the first arrival."""

MENDED_S = 1.5
"""About how long it takes until all is well again after a fault: for how long a rehearsal with all of them lasts."""


class Dependency(StrEnum):
    """What can be broken: a server, the payment gateway, a process of the site, a worker; NOTIFY is kept busy."""

    POSTGRES = "postgres"
    VALKEY = "valkey"
    GATEWAY = "gateway"
    SMTP = "smtp"
    SITE = "site"
    WORKER = "worker"
    NOTIFY = "notify"


class Fault(StrEnum):
    """How. KILL and PAUSE are for processes (SIGKILL, SIGSTOP); SLOW, RESET and BLACK_HOLE for the way to a server.

    RESTART is a rolling restart, one process after the other; SEND is a message to very many, which breaks nothing.
    """

    KILL = "kill"
    PAUSE = "pause"
    SLOW = "slow"
    RESET = "reset"
    BLACK_HOLE = "black_hole"
    RESTART = "restart"
    SEND = "send"


NETWORK = frozenset({Fault.SLOW, Fault.RESET, Fault.BLACK_HOLE})
PROCESSES = frozenset({Dependency.SITE, Dependency.WORKER})
"""Nobody connects to these over a way that could be broken apart from them."""


class Can(StrEnum):
    """What a shopper wants to be able to do. ORDER: buy, though the payment may be settled later."""

    BROWSE = "browse"
    JOIN = "join"
    KEEP_PLACE = "keep place"
    STATUS = "see status"
    HOLD = "hold"
    ORDER = "order"
    PAY = "pay"
    LOG_IN = "log in"
    INBOX = "read inbox"


class Happening(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a timetable: from `at_s` (after the first arrival), or when what came before is over, for `lasts_s`.

    `delay_ms` is how much later each byte arrives each way over a slow connection, `count` how many a SEND is for.
    """

    dependency: Dependency
    fault: Fault
    at_s: Annotated[float, Meta(ge=0)] = 0.0
    lasts_s: Seconds = 3.0
    delay_ms: Annotated[int, Meta(ge=1, le=10_000)] = 200
    count: Annotated[int, Meta(ge=1, le=2_000_000)] = 1_000


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of the resiliency matrix; see the file."""

    dependency: Dependency
    faults: tuple[Fault, ...]
    must: tuple[Can, ...]
    recovers_within_s: Seconds
    within_s: Seconds = 8.0
    delay_ms: Annotated[int, Meta(ge=1, le=10_000)] = 200


class Matrix(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All rows."""

    row: tuple[Row, ...]

    def find(self, dependency: Dependency, fault: Fault) -> Row | None:
        """What must hold while this happens; None where the matrix does not say."""
        return next((row for row in self.row if row.dependency is dependency and fault in row.faults), None)


class Tried(msgspec.Struct, frozen=True):
    """One thing that a shopper tried meanwhile: `took_s` is None where it did not work, `found` says how it went."""

    can: Can
    must: bool
    took_s: float | None
    found: str

    @property
    def holds(self) -> bool:
        """Whether that is as it must be."""
        return self.took_s is not None or not self.must


class Played(msgspec.Struct, frozen=True):
    """A fault that was played, from `began_s` to `ended_s` after the first arrival.

    `recovered_s` is how long after its end everything worked again, None where it did not within `recovers_within_s`;
    `missing` is what still did not work then, `note` what else there is to say.
    """

    dependency: Dependency
    fault: Fault
    began_s: float
    ended_s: float
    tried: tuple[Tried, ...]
    recovered_s: float | None
    recovers_within_s: float
    missing: tuple[str, ...] = ()
    note: str = ""

    @property
    def name(self) -> str:
        """As people read it."""
        return f"{self.dependency} {self.fault.replace('_', ' ')}"

    @property
    def broken(self) -> tuple[str, ...]:
        """What a shopper could not do and must be able to."""
        return tuple(str(each.can) for each in self.tried if not each.holds)

    @property
    def holds(self) -> bool:
        """Whether shoppers could do what they must, and all of it worked again in time."""
        return not self.broken and self.recovered_s is not None


def load_matrix() -> Matrix:
    """The resiliency matrix of the package."""
    return msgspec.toml.decode((files("tidegate.rehearse") / "resilience.toml").read_bytes(), type=Matrix)


def usual_timetable(matrix: Matrix, *, first_s: float = FIRST_S) -> tuple[Happening, ...]:
    """Every fault of the matrix, one after the other."""
    return tuple(
        Happening(dependency=row.dependency, fault=fault, at_s=first_s, delay_ms=row.delay_ms)
        for row in matrix.row
        for fault in row.faults
    )


def length_s(timetable: Iterable[Happening]) -> float:
    """About when the last of a timetable is over and mended, in seconds after the first arrival."""
    over_s = 0.0
    for each in timetable:
        over_s = max(over_s, each.at_s) + each.lasts_s + MENDED_S
    return over_s


MOST_HAPPENINGS = 200
"""Each is tried by people of its own, of whom there are so many."""


def check_timetable(timetable: Sequence[Happening]) -> str | None:
    """What is wrong with a timetable that its types allow; None when nothing is."""
    if len(timetable) > MOST_HAPPENINGS:
        return f"faults: at most {MOST_HAPPENINGS} of them, please"
    for each in timetable:
        if each.fault in NETWORK and each.dependency in PROCESSES:
            return f"faults: a {each.dependency} can be killed or paused; {each.fault} is for the way to a server"
        if each.fault is Fault.RESTART and each.dependency is not Dependency.SITE:
            return "faults: a rolling restart is the site's"
        if (each.fault is Fault.SEND) is not (each.dependency is Dependency.NOTIFY):
            return "faults: notify is kept busy by a send, and by nothing else"
    return None
