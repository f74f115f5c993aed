"""What `tidegate up` is asked for and what it says about itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tidegate.platform.problems import Problem


@dataclass(frozen=True, slots=True)
class UpOptions:
    """Options of `tidegate up`. `processes`: how many of each kind, as `parse_counts` reads it; empty: the settings."""

    demo: bool = False
    reload: bool = False
    verbose: bool = False
    processes: str = ""


@dataclass(frozen=True, slots=True)
class RunningProcess:
    """One process of a running shop; `metrics_port` is 0 when it has none."""

    name: str
    pid: int
    metrics_port: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the start found or made: `administrator` is told once, when the account is made."""

    administrator: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """What one rule of the books found: `offences` rows break it, and `rows` are the first of them.

    `columns` name the values of a row. `seconds` is what the rule took.
    """

    name: str
    says: str
    offences: int
    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | None, ...], ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Books:
    """All rules, checked in one snapshot of the database that was taken at `checked_at`."""

    checked_at: datetime
    results: tuple[Checked, ...]
    seconds: float

    @property
    def broken(self) -> tuple[Checked, ...]:
        """The rules that do not hold."""
        return tuple(result for result in self.results if result.offences)


class BooksNotChecked(Problem):
    """The books could not be checked to their end."""

    slug = "books-not-checked"
    status = 503
