"""PostgreSQL's processes behind a niced worker are niced as well; nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tidegate.platform.backends import yield_cpu
from tidegate.platform.database import Database
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

NICE = 7


async def niceness(settings: Settings, *, backend_nice: int) -> int:
    database = Database(settings, backend_nice=backend_nice)
    await database.open()
    try:
        async with database.connection() as conn:
            return os.getpriority(os.PRIO_PROCESS, conn.info.backend_pid)
    finally:
        await database.close()


async def test_backends_of_a_pool_yield_where_that_is_wanted(settings: Settings) -> None:
    before = await niceness(settings, backend_nice=0)
    assert before < NICE
    after = await niceness(settings, backend_nice=NICE)
    assert after == (NICE if sys.platform == "linux" else before)


def test_a_process_that_is_not_postgresqls_is_left_alone() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        before = os.getpriority(os.PRIO_PROCESS, other.pid)
        yield_cpu(cast("Any", SimpleNamespace(info=SimpleNamespace(backend_pid=other.pid))), nice=NICE)
        assert os.getpriority(os.PRIO_PROCESS, other.pid) == before
        other.communicate()
    yield_cpu(cast("Any", SimpleNamespace(info=SimpleNamespace(backend_pid=other.pid))), nice=NICE)
