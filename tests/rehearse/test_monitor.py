"""What the shop's processes use is counted as theirs, also of those that were started meanwhile."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.servers import wait_until
from tidegate.rehearse.monitor import Monitor
from tidegate.rehearse.watching import Watch

BUSY = "while True: pass"


@contextmanager
def busy() -> Iterator[int]:
    """A process that does nothing else; its id."""
    process = subprocess.Popen([sys.executable, "-S", "-c", BUSY])
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def test_a_process_that_was_started_anew_is_still_of_its_kind() -> None:
    now: list[tuple[str, int]] = []
    monitor = Monitor(lambda: now)
    for _ in range(2):
        with busy() as pid:
            now[:] = [("site-1", pid)]
            wait_until(lambda: monitor.look()[0].get("site", 0.0) > 0)
            assert monitor.look()[1]["site"] > 0


def test_metrics_of_other_processes_are_not_taken_for_what_happened_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = [1]
    watch = Watch(Monitor(lambda: ()), lambda: tuple(ports))
    monkeypatch.setattr(watch, "_client", httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200))))
    assert watch._read() == {}
    ports[:] = [2]
    assert watch._read() is None, "another process than before"
    assert watch._read() == {}
    ports.clear()
    assert watch._read() is None, "nobody says where they are"
    watch.close()
