"""What one person costs a room that the benchmark `gate` fills, and how long the next one in line waits.

`admit_lag_ms`: from when somebody who was let in leaves until the status, which is all that those who wait look at,
says that the next one may buy. It holds the scheduler's pause between two rounds (`TIDEGATE_ADMISSION__INTERVAL_MS`),
the status's own (`TIDEGATE_GATE__STATUS_REFRESH_MS`), and what both take to do their work.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import psutil
import psycopg

from benchmarks.load import Report
from benchmarks.servers import ROOT, Fleet, Servers, used_s
from tidegate.platform.embedded.children import Program, launch_command
from tidegate.platform.embedded.orphans import processes_in
from tidegate.platform.embedded.running import stop

INSIDE = 20
"""People let in at once, so that the others wait for one of them to leave."""
LOOK_S = 0.002
LONGEST_S = 20.0
NOBODY = "expected somebody to be let in"


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds so far of those who serve a room."""

    site: float
    postgres: float
    own: float

    @classmethod
    def now(cls, these: Servers, site: Fleet) -> Spent:
        """As of now; `own` is this process."""
        return cls(site.cpu_s(), these.cpu_s()["postgres"], used_s(psutil.Process()))

    def join_us(self, before: Spent, joins: int) -> float:
        """Microseconds of PostgreSQL and of this process for one join through the use case."""
        return round((self.postgres - before.postgres + self.own - before.own) / joins * 1e6, 1)

    def request_us(self, before: Spent, report: Report) -> float:
        """Microseconds of the site processes for one request."""
        return round((self.site - before.site) / max(report.requests, 1) * 1e6, 1)


def used_bytes(these: Servers, site: Fleet) -> int:
    """Memory of the processes that know of places: what belongs to the site's and PostgreSQL's alone, and Valkey's."""
    found = sum(psutil.Process(each.pid).memory_info().rss for each in site.processes)
    found += psutil.Process(these.valkey_pid).memory_info().rss
    for process in processes_in(these.data):
        try:
            found += process.memory_full_info().uss
        except psutil.Error:  # it has ended meanwhile
            continue
    return int(found)


def admit_lags_ms(conn: psycopg.Connection[tuple[Any, ...]], *, status_url: str, rounds: int) -> list[float]:
    """How long it took each time until the next one was let in, in milliseconds, the shortest first."""
    lags = []
    with _scheduler({"TIDEGATE_ADMISSION__INSIDE_MAX": str(INSIDE)}), httpx.Client() as http:

        def serving() -> int:
            answer: int = http.get(status_url).json()["serving"]
            return answer

        for _ in range(rounds):
            _wait(lambda: _settled(conn) and serving() == _served(conn))
            before = serving()
            conn.execute(
                "UPDATE gate.places SET state = 'left' WHERE id = (SELECT id FROM gate.places WHERE state = 'admitted'"
                " ORDER BY id LIMIT 1)"
            )
            began = time.perf_counter()
            _wait(lambda last=before: serving() > last)  # type: ignore[misc]
            lags.append(round((time.perf_counter() - began) * 1000, 1))
    return sorted(lags)


def _served(conn: psycopg.Connection[tuple[Any, ...]]) -> int:
    row = conn.execute("SELECT serving FROM gate.rooms").fetchone()
    assert row is not None
    return int(row[0])


def _settled(conn: psycopg.Connection[tuple[Any, ...]]) -> bool:
    """Whether as many are inside as may be: the line stands until one of them leaves."""
    row = conn.execute("SELECT count(*) FROM gate.places WHERE state = 'admitted'").fetchone()
    assert row is not None
    return int(row[0]) >= INSIDE


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST_S
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {LONGEST_S:g} s: {NOBODY}")
        time.sleep(LOOK_S)


@contextmanager
def _scheduler(environment: Mapping[str, str]) -> Iterator[None]:
    """The scheduler as `tidegate up` starts it, for the length of a block."""
    program = Program(argv=(sys.executable, "-m", "tidegate", "scheduler"))
    process = subprocess.Popen(
        launch_command(program),
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        stop(process, with_signal=program.stop_signal)
