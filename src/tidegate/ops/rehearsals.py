"""Rehearsals of this shop's home, for the staff's page: the one under way, and the newest reports.

They are files in the folder `rehearsals` of the home: whoever rehearses writes them, the site reads them. A rehearsal
says every second how it goes; one that has said nothing for a while has ended without a word.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

MOST_KEPT = 20
"""Reports; older ones are deleted."""

MOST_SECONDS = 300
"""Of a rehearsal under way, the newest are told."""

MOST_BYTES = 8 << 20
"""Of a file that is read."""

SILENT_S = 10.0
NOW, SUMMARY, PAGE = "now.json", ".summary.json", ".html"
S = TypeVar("S", bound=msgspec.Struct)
NAME = re.compile(r"[0-9]{8}-[0-9]{6}-[A-Za-z0-9_-]{1,60}")


class RehearsalSecond(msgspec.Struct, frozen=True):
    """One second of a rehearsal, `at` seconds after its begin: counts of it, and how many are there as it ends."""

    at: float
    arrived: int
    bought: int
    failed: int
    answered: int
    inside: int
    waiting: int
    p99_ms: float | None


class RehearsalNow(msgspec.Struct, frozen=True):
    """A rehearsal under way; sums since its begin, moments as Unix time."""

    title: str
    target: str
    shoppers: int
    began_at: float
    told_at: float
    arrived: int
    bought: int
    failed: int
    seconds: tuple[RehearsalSecond, ...]


class RehearsalPast(msgspec.Struct, frozen=True):
    """A rehearsal that has ended. `name` is that of its report."""

    name: str
    title: str
    target: str
    began_at: float
    shoppers: int
    passed: bool
    says: str


def rehearsals_folder(home: Path) -> Path:
    """Where they are."""
    return home.absolute() / "rehearsals"


def tell_rehearsal(home: Path, now: RehearsalNow) -> None:
    """Say how it goes."""
    kept = msgspec.structs.replace(now, seconds=now.seconds[-MOST_SECONDS:])
    _write(rehearsals_folder(home) / NOW, msgspec.json.encode(kept))


def end_rehearsal(home: Path) -> None:
    """Nothing is under way any more."""
    (rehearsals_folder(home) / NOW).unlink(missing_ok=True)


def keep_rehearsal(home: Path, past: RehearsalPast, page: str) -> None:
    """Keep a report, and the newest others."""
    folder = rehearsals_folder(home)
    assert NAME.fullmatch(past.name), past.name
    _write(folder / f"{past.name}{PAGE}", page.encode())
    _write(folder / f"{past.name}{SUMMARY}", msgspec.json.encode(past))
    for name in sorted(_names(folder), reverse=True)[MOST_KEPT:]:
        for ending in (SUMMARY, PAGE):
            (folder / f"{name}{ending}").unlink(missing_ok=True)


def rehearsal_under_way(home: Path, *, now: float) -> RehearsalNow | None:
    """The one that is being played at a moment (Unix time), if there is one."""
    found = _read(rehearsals_folder(home) / NOW, RehearsalNow)
    return found if found is not None and now - found.told_at <= SILENT_S else None


def past_rehearsals(home: Path) -> tuple[RehearsalPast, ...]:
    """The newest first."""
    folder = rehearsals_folder(home)
    names = sorted(_names(folder), reverse=True)[:MOST_KEPT]
    found = (_read(folder / f"{name}{SUMMARY}", RehearsalPast) for name in names)
    return tuple(each for each in found if each is not None and NAME.fullmatch(each.name))


def rehearsal_page(home: Path, *, name: str) -> bytes | None:
    """The report of a past rehearsal; None when there is none of that name."""
    if not NAME.fullmatch(name):
        return None
    file = rehearsals_folder(home) / f"{name}{PAGE}"
    try:
        return file.read_bytes() if file.stat().st_size <= MOST_BYTES else None
    except OSError:
        return None


def _names(folder: Path) -> Iterator[str]:
    for file in folder.glob(f"*{SUMMARY}"):
        name = file.name.removesuffix(SUMMARY)
        if NAME.fullmatch(name):
            yield name


def _read(file: Path, kind: type[S]) -> S | None:
    try:
        if file.stat().st_size > MOST_BYTES:
            return None
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError):
        return None


def _write(file: Path, data: bytes) -> None:
    """Whoever reads it meanwhile sees all of the old one or all of the new one."""
    file.parent.mkdir(mode=0o700, exist_ok=True)
    draft = file.with_suffix(f".{os.getpid()}.new")
    draft.write_bytes(data)
    draft.replace(file)
