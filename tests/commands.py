"""`tidegate` commands of tests, each in a process of its own that need not import everything again.

A command takes a second of processor time to import what it needs and tenths to do it, and tests of running shops give
a hundred of them. Here one process imports all commands, and forks for each that is to be run. That they start from
nothing as well is for tests/entrypoints/test_cli.py to prove.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

READY_S = 60.0
MAX_REQUEST_BYTES = 1_000_000


def run_forked(command: Sequence[str], *, env: Mapping[str, str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    """What `python -m tidegate COMMAND` does, in this folder and with `env` alone as its environment.

    Raises: subprocess.TimeoutExpired, and the command is killed.
    """
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        socket.socket(socket.AF_UNIX) as line,
    ):
        line.settimeout(timeout_s)
        line.connect(str(_server()))
        socket.send_fds(line, [b"\n"], [out.fileno(), err.fileno()])
        line.sendall(json.dumps([list(command), dict(env)]).encode())
        line.shutdown(socket.SHUT_WR)
        with line.makefile("rb") as answers:
            pid = int(answers.readline())
            try:
                code = int(answers.readline())
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(list(command), timeout_s) from None
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(list(command), code, out.read().decode(), err.read().decode())


@cache
def _server() -> Path:
    """The socket of the process that forks; it ends with this one."""
    path = Path(tempfile.mkdtemp(prefix="commands-")) / "socket"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.commands", str(path)],
        cwd=Path(__file__).parent.parent,
        env={name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    atexit.register(_end, process, path)
    readable, _, _ = select.select([process.stdout], [], [], READY_S)
    assert readable, "no process that runs commands"
    assert process.stdout.readline() == b"ready\n"
    return path


def _end(process: subprocess.Popen[bytes], path: Path) -> None:
    process.communicate()  # it ends at the end of its input
    path.unlink(missing_ok=True)
    path.parent.rmdir()


def serve(path: str) -> None:
    """Run commands until the end of standard input."""
    from tidegate.entrypoints.commands import make_app

    make_app([])
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            readable, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in readable:
                return
            line, _address = listener.accept()
            if os.fork() == 0:
                listener.close()
                _answer(line)
                return
            line.close()


def _answer(line: socket.socket) -> None:
    """Run one command in a process of its own, and tell its id and how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, files, _, _ = socket.recv_fds(line, 1, 2)
    request = b""
    while part := line.recv(MAX_REQUEST_BYTES):
        request += part
    command, env = json.loads(request)
    pid = os.fork()
    if pid == 0:
        line.close()
        _become(command, env, files)
    line.sendall(b"%d\n" % pid)
    _, status = os.waitpid(pid, 0)
    line.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _become(command: list[str], env: dict[str, str], files: list[int]) -> None:
    """Be the command, to the end of this process."""
    from tidegate.entrypoints.cli import main

    nothing = os.open(os.devnull, os.O_RDONLY)
    for here, there in zip((nothing, *files), (0, 1, 2), strict=True):
        os.dup2(here, there)
        os.close(here)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["tidegate", *command]
    random.seed()
    main()
    sys.exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
