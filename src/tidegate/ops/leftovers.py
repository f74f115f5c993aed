"""What a supervisor that was killed may have left running."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import psutil

from tidegate.platform.problems import StartupError

GRACE_S = 2.0
KILLED_S = 5.0
POLL_S = 0.05


def end_leftovers(home: Path) -> None:
    """Return when no process of an earlier supervisor of `home` runs any more, PostgreSQL aside.

    The kernel has told them of their supervisor's death; those that take long are killed: what they were doing is
    settled by the record in the database. PostgreSQL is waited for where it is started (`platform.embedded.orphans`).

    Raises: StartupError when one cannot be ended.
    """
    deadline = time.monotonic() + GRACE_S
    while (left := _left(home)) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    for process in left:
        with contextlib.suppress(psutil.Error, OSError):
            if os.getpgid(process.pid) == process.pid:
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
    deadline = time.monotonic() + KILLED_S
    while (left := _left(home)) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    if left:
        raise StartupError(f"process {left[0].pid} of the last run does not end: end it, then retry")


def _left(home: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE and _is_of(home, process):
                found.append(process)
        except (psutil.Error, OSError):  # gone meanwhile, or somebody else's
            continue
    return found


def _is_of(home: Path, process: psutil.Process) -> bool:
    """Our own programs carry their home and name in the environment; Valkey writes over that and has a folder."""
    if process.name() == "valkey-server":
        return process.cwd() == str((home / "valkey").resolve())
    environment = process.environ()
    return environment.get("TIDEGATE_HOME") == str(home) and "TIDEGATE_PROCESS_NAME" in environment
