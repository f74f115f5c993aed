"""Running one embedded server for the length of a block: tests and benchmarks; `tidegate up` supervises its own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tidegate.platform.embedded.children import Program, launch_command
from tidegate.platform.embedded.last_words import last_words
from tidegate.platform.embedded.postgres import EmbeddedPostgres
from tidegate.platform.embedded.valkey import EmbeddedValkey
from tidegate.platform.problems import StartupError

POLL_S = 0.02
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 10


@contextmanager
def running(server: EmbeddedPostgres | EmbeddedValkey, *, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Prepare `server`, start it, wait until it answers, and stop it at the end; its output goes to `log`.

    Must be entered in the main thread: the server ends with the thread that started it.
    Raises: StartupError when it cannot be started.
    """
    server.prepare()
    process = start(server.program(), log=log)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not server.is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise StartupError(f"{Path(server.program().argv[0]).name} did not start: {last_words(log)}")
            time.sleep(POLL_S)
        yield process
    finally:
        stop(process, with_signal=server.program().stop_signal)


def start(program: Program, *, log: Path) -> subprocess.Popen[bytes]:
    """Start `program` under the launcher."""
    with log.open("ab") as out:
        return subprocess.Popen(
            launch_command(program), stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )


def stop(process: subprocess.Popen[bytes], *, with_signal: signal.Signals) -> None:
    """Ask a process to leave, and kill its group when it does not."""
    if process.poll() is None:
        process.send_signal(with_signal)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_TIMEOUT_S)
