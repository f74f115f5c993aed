"""Giving way to shoppers: the CPU priority of a worker, and of PostgreSQL's processes behind its connections.

What a niced worker asks for is mostly work of the server, whose processes know nothing of niceness: a statement of a
second takes a core of two from the shop. Whose process it is, its own user and root may lower.

Linux may weigh sessions against each other before processes (autogroup, sched(7)); then niceness counts within a
session only. Programs of `tidegate up` and PostgreSQL's processes each lead a session of their own, so that has to be
niced as well.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from psycopg import AsyncConnection

TITLE = b"postgres:"
"""How PostgreSQL's backends call themselves."""

AGAIN_S: Final = 0.11
"""The kernel takes one change of a session's niceness in a tenth of a second from all users but root."""

TRIES: Final = 10


async def yield_cpu(conn: AsyncConnection[Any], *, nice: int) -> None:
    """Give the process behind a connection this niceness; nothing happens where that is not ours to do.

    It is not, for a server on another machine, one of another user, and where no process of that number calls itself
    PostgreSQL's (a pooler in between makes numbers of its own).
    """
    pid = backend_beside(conn)
    with suppress(OSError):
        if pid is None:
            return
        os.setpriority(os.PRIO_PROCESS, pid, nice)
        for _ in range(TRIES):
            if _nice_session(pid, nice):
                return
            await asyncio.sleep(AGAIN_S)


def yield_own_cpu(*, nice: int) -> None:
    """Give this process and its children that much more niceness, and its session where it leads one."""
    os.nice(nice)
    with suppress(OSError):
        for _ in range(TRIES):
            if _nice_session(os.getpid(), nice):
                return
            time.sleep(AGAIN_S)


def backend_beside(conn: AsyncConnection[Any]) -> int | None:
    """Number of the process behind a connection; None where it runs on another machine, as far as can be told."""
    pid = conn.info.backend_pid
    with suppress(OSError):
        if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(TITLE):
            return pid
    return None


def waited_for_cpu_s(pid: int | None = None) -> float:
    """Seconds for which a process (this thread, without a number) has waited for a CPU that others had.

    0 where the kernel does not count that (Linux does: proc(5), schedstat).
    """
    with suppress(OSError, ValueError, IndexError):
        text = Path(f"/proc/{pid}/schedstat" if pid else "/proc/thread-self/schedstat").read_text()
        return int(text.split()[1]) / 1e9
    return 0.0


def _nice_session(pid: int, nice: int) -> bool:
    """Whether it is done, or not to be done. Raises: OSError where this kernel has no such thing, or not for us."""
    if os.getsid(pid) != pid:
        return True  # of a session that others are in
    try:
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))
    except BlockingIOError:
        return False
    return True
