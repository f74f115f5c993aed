"""Telling the staff's page of the home's shop how a rehearsal goes, and keeping its report there."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from tidegate import ops
from tidegate.rehearse.contracts import Report, Scenario, Second
from tidegate.rehearse.report import render_report
from tidegate.rehearse.rules import sentence

SECONDS = 300


@contextmanager
def told_to_staff(home: Path, scenario: Scenario, *, target: str) -> Iterator[Progress]:
    """What to call while a rehearsal is played; however it ends, it is not under way any more then."""
    progress = Progress(home, title=scenario.title, target=target, shoppers=scenario.arrivals.shoppers)
    try:
        yield progress
    finally:
        progress.end()


class Progress:
    """Call it with each second. A home that is not there is left alone: nobody looks at it."""

    def __init__(self, home: Path, *, title: str, target: str, shoppers: int) -> None:
        self._home = home if home.is_dir() else None
        self._title, self._target, self._shoppers = title, target, shoppers
        self._began_at = time.time()
        self._arrived = self._bought = self._failed = 0
        self._seconds: deque[ops.RehearsalSecond] = deque(maxlen=SECONDS)

    def __call__(self, second: Second) -> None:
        """Tell of one more."""
        if self._home is None:
            return
        now = time.time()
        if not self._seconds:
            self._began_at = now - second.at
        self._arrived += second.arrived
        self._bought += second.bought
        self._failed += second.failed
        self._seconds.append(
            ops.RehearsalSecond(
                at=second.at,
                arrived=second.arrived,
                bought=second.bought,
                failed=second.failed,
                answered=second.answered,
                inside=second.inside,
                waiting=second.waiting,
                p99_ms=second.p99_ms,
            )
        )
        told = ops.RehearsalNow(
            title=self._title,
            target=self._target,
            shoppers=self._shoppers,
            began_at=self._began_at,
            told_at=now,
            arrived=self._arrived,
            bought=self._bought,
            failed=self._failed,
            seconds=tuple(self._seconds),
        )
        with suppress(OSError):  # a full disk costs the page, not the rehearsal
            ops.tell_rehearsal(self._home, told)

    def end(self) -> None:
        """It is over, or was cut off."""
        if self._home is not None:
            ops.end_rehearsal(self._home)

    def keep(self, report: Report) -> None:
        """Keep its report."""
        if self._home is None:
            return
        began = datetime.fromtimestamp(report.told.began_at, UTC)
        name = re.sub(r"[^A-Za-z0-9_-]", "-", report.name)[:60] or "rehearsal"
        past = ops.RehearsalPast(
            name=f"{began:%Y%m%d-%H%M%S}-{name}",
            title=report.scenario.title,
            target=self._target,
            began_at=report.told.began_at,
            shoppers=report.told.shoppers,
            passed=report.passed,
            says=sentence(report.verdicts, report.told, units=report.scenario.sale.units),
        )
        with suppress(OSError):  # it is written where the user wants it anyway
            ops.keep_rehearsal(self._home, past, render_report(report))
