"""PostgreSQL's processes behind a niced worker are niced as well; nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.waiting import eventually
from tidegate.platform.cpu import backend_beside, waited_for_cpu_s, yield_cpu
from tidegate.platform.database import Database
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

NICE = 7


AUTOGROUP = Path("/proc/self/autogroup")


def session_nice(pid: int) -> int:
    """The niceness of a process's session; 0 where the kernel knows no such thing.

    The file says nothing for a process whose session began before the kernel weighed any.
    """
    path = Path(f"/proc/{pid}/autogroup")
    return int((path.read_text().split() or ["0"])[-1]) if AUTOGROUP.exists() else 0


async def niceness(settings: Settings, *, backend_nice: int) -> tuple[int, int]:
    database = Database(settings, backend_nice=backend_nice)
    await database.open()
    try:
        async with database.connection() as conn:
            pid = conn.info.backend_pid
            return os.getpriority(os.PRIO_PROCESS, pid), session_nice(pid)
    finally:
        await database.close()


async def test_backends_of_a_pool_yield_where_that_is_wanted(settings: Settings) -> None:
    before = await niceness(settings, backend_nice=0)
    assert before[0] < NICE
    assert before[1] == 0
    after = await niceness(settings, backend_nice=NICE)
    assert after[0] == (NICE if sys.platform == "linux" else before[0])
    assert after[1] == (NICE if AUTOGROUP.exists() else 0)


@pytest.mark.parametrize("leads", [True, False], ids=["its own session", "that of others"])
def test_a_process_and_the_session_that_it_leads_yield(leads: bool) -> None:
    code = f"from tidegate.platform.cpu import yield_own_cpu as y; y(nice={NICE}); print(flush=True); input()"
    before = os.getpriority(os.PRIO_PROCESS, 0)
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=leads) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert os.getpriority(os.PRIO_PROCESS, other.pid) == min(before + NICE, 19)
        expected = NICE if leads and AUTOGROUP.exists() else session_nice(os.getpid())
        assert session_nice(other.pid) == expected
        other.communicate(b"\n")


async def test_the_process_behind_a_connection_is_known_where_it_runs_beside_us(database: Database) -> None:
    async with database.connection() as conn:
        assert backend_beside(conn) == conn.info.backend_pid
    assert backend_beside(cast("Any", SimpleNamespace(info=SimpleNamespace(backend_pid=os.getpid())))) is None


async def test_time_that_others_have_the_cpu_for_is_told() -> None:
    if not Path("/proc/self/schedstat").exists():
        pytest.skip("this system does not count it")
    cpu = min(os.sched_getaffinity(0))
    spin = f"import os; os.sched_setaffinity(0, {{{cpu}}}); print(flush=True)\nwhile True: pass"
    with ExitStack() as stack:
        others = [
            stack.enter_context(subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE, process_group=0))
            for _ in range(2)
        ]
        for other in others:
            stack.callback(other.kill)
            assert other.stdout is not None
            other.stdout.readline()
        before_s = sum(waited_for_cpu_s(other.pid) for other in others)
        began_s, own_s = time.monotonic(), waited_for_cpu_s()
        await eventually(lambda: sum(waited_for_cpu_s(other.pid) for other in others) - before_s > 0.3)
        waited_s = sum(waited_for_cpu_s(other.pid) for other in others) - before_s
        took_s = time.monotonic() - began_s
    assert waited_s < 2.1 * took_s, "one of two waits while the other has the only CPU they may use"
    assert 0.0 <= waited_for_cpu_s() - own_s < took_s
    assert waited_for_cpu_s(others[0].pid) == 0.0, "it has ended"


async def test_a_process_that_is_not_postgresqls_is_left_alone() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        before = os.getpriority(os.PRIO_PROCESS, other.pid)
        await yield_cpu(cast("Any", SimpleNamespace(info=SimpleNamespace(backend_pid=other.pid))), nice=NICE)
        assert os.getpriority(os.PRIO_PROCESS, other.pid) == before
        other.communicate()
    await yield_cpu(cast("Any", SimpleNamespace(info=SimpleNamespace(backend_pid=other.pid))), nice=NICE)
