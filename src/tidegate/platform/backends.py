"""PostgreSQL's processes behind our connections, where they run beside us.

What a niced worker asks for is mostly work of the server, whose processes know nothing of niceness: a statement of a
second takes a core of two from the shop. Whose process it is, its own user and root may lower.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from psycopg import AsyncConnection

TITLE = b"postgres:"
"""How PostgreSQL's backends call themselves."""


def yield_cpu(conn: AsyncConnection[Any], *, nice: int) -> None:
    """Give the process behind a connection this niceness; nothing happens where that is not ours to do.

    It is not, for a server on another machine, one of another user, and where no process of that number calls itself
    PostgreSQL's (a pooler in between makes numbers of its own).
    """
    pid = conn.info.backend_pid
    with suppress(OSError):
        if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(TITLE):
            os.setpriority(os.PRIO_PROCESS, pid, nice)
