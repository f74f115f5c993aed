"""What `tidegate up` is asked for and what it says about itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UpOptions:
    """Options of `tidegate up`."""

    demo: bool = False
    reload: bool = False
    verbose: bool = False


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
