"""Processes of a PostgreSQL whose supervisor is gone: waited for, then asked, then ended."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path

import psutil

from tidegate.platform.problems import StartupError

POLL_S = 0.05
POSTMASTER_STEPS = (
    (5.0, None),  # its supervisor's death has asked it to leave already
    (10.0, signal.SIGINT),
    (5.0, signal.SIGQUIT),
    (3.0, signal.SIGKILL),
)
BACKEND_STEPS = ((2.0, None), (2.0, signal.SIGQUIT), (3.0, signal.SIGKILL))
"""How long processes have to leave after each signal, in seconds."""


def clear_data_folder(data: Path) -> None:
    """Return when no process uses `data` any more and no stale lock file stands in the way of a start.

    The caller holds the lock on TIDEGATE_HOME, so whatever still runs here is left over from a supervisor that was
    killed: a postmaster that is shutting down, or the backends of one that was killed itself. Processes are known by
    their working folder, so a process id that was given to another program is left alone.

    Raises: StartupError when they do not leave, not even when killed.
    """
    if not (left := processes_in(data)):
        _remove_lock_file(data)
        return
    lock_pid = _lock_pid(data)
    steps = POSTMASTER_STEPS if any(process.pid == lock_pid for process in left) else BACKEND_STEPS
    for seconds, number in steps:
        if number is not None:
            for process in left:
                # A postmaster tells its own backends; SIGINT would only cancel their statement.
                if number is not signal.SIGINT or process.pid == lock_pid:
                    _signal(process, number)
        deadline = time.monotonic() + seconds
        while (left := processes_in(data)) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        if not left:
            _remove_lock_file(data)
            return
    raise StartupError(f"another PostgreSQL (process {left[0].pid}) uses {data} and does not stop: stop it, then retry")


def processes_in(data: Path) -> list[psutil.Process]:
    """All PostgreSQL processes whose data folder is `data`."""
    wanted = str(data.resolve())
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE and process.cwd() == wanted:
                found.append(process)
        except psutil.Error:  # gone meanwhile, or somebody else's
            continue
    return found


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.Error):
        process.send_signal(number)


def _lock_pid(data: Path) -> int:
    try:
        return int((data / "postmaster.pid").read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return 0


def _remove_lock_file(data: Path) -> None:
    """PostgreSQL refuses to start when the process id in it belongs to any program that runs now."""
    (data / "postmaster.pid").unlink(missing_ok=True)
