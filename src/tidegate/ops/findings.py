"""What `tidegate doctor` says: one finding for each thing that it looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is: good; works but is unsafe for production; or broken."""

    OK = "ok"
    UNSAFE = "unsafe"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """`says` is what was found, `advice` what to do about it: empty when it is good."""

    name: str
    level: Level
    says: str
    advice: str = ""


def ok(name: str, says: str) -> Finding:
    """It is as it should be."""
    return Finding(name, Level.OK, says)


def unsafe(name: str, says: str, advice: str) -> Finding:
    """It works, and should not stay so in production."""
    return Finding(name, Level.UNSAFE, says, advice)


def broken(name: str, says: str, advice: str) -> Finding:
    """The shop does not work, or loses something."""
    return Finding(name, Level.BROKEN, says, advice)
