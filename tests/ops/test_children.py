"""One child: started again when it dies, stopped in bounded time with all that it started."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from tests.servers import wait_until
from tidegate.ops.children import Child, ChildSpec
from tidegate.platform.embedded.children import Program
from tidegate.platform.problems import StartupError
from tidegate.platform.settings import SupervisorSettings

LIMITS = SupervisorSettings(restart_base_ms=20, restart_cap_ms=100)
SLEEPER = "import time; print('on', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {STUBBORN!r}]); {SLEEPER}"

MakeChild = Callable[..., Child]


@pytest.fixture
async def make_child(tmp_path: Path) -> AsyncIterator[MakeChild]:
    made: list[Child] = []

    def make(
        script: str, *, stop_timeout_s: float = 5.0, limits: SupervisorSettings = LIMITS, **options: object
    ) -> Child:
        program = Program(argv=(sys.executable, "-c", script), environment=dict(os.environ))
        spec = ChildSpec(name="one", program=lambda: program, stop_timeout_s=stop_timeout_s, **options)  # type: ignore[arg-type]
        made.append(Child(spec, log_folder=tmp_path, limits=limits, tell=told.append, changed=lambda: None))
        made[-1].start()
        return made[-1]

    told: list[str] = []
    make.told = told  # type: ignore[attr-defined]
    yield make
    for child in made:
        child.kill()
        await child.stop()


def runs(child: Child) -> bool:
    return child.log.exists() and "on" in child.log.read_text()


async def until(condition: Callable[[], object], *, timeout_s: float = 10.0) -> None:
    """`wait_until` beside a running event loop."""
    import asyncio

    await asyncio.to_thread(wait_until, condition, timeout_s=timeout_s)


async def test_a_killed_child_is_started_again(make_child: MakeChild) -> None:
    child = make_child(SLEEPER)
    await until(lambda: runs(child))
    first = child.pid
    os.kill(first, signal.SIGKILL)
    await until(lambda: child.pid not in (0, first))
    assert "one was ended by SIGKILL; starting it again in" in make_child.told[0]  # type: ignore[attr-defined]


async def test_pauses_grow_while_a_child_keeps_dying(make_child: MakeChild) -> None:
    make_child("raise SystemExit(3)")
    told: list[str] = make_child.told  # type: ignore[attr-defined]
    await until(lambda: len(told) >= 5)
    assert "ended with exit code 3; starting it again in 0.0 s" in told[0]
    assert "again in 0.1 s" in told[4]


async def test_what_a_dead_child_started_does_not_go_on_without_it(make_child: MakeChild) -> None:
    child = make_child(PARENT)
    await until(lambda: child.log.exists() and child.log.read_text().count("on") == 2)
    grandchild = psutil.Process(child.pid).children()[0]
    os.kill(child.pid, signal.SIGKILL)
    await until(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE)


async def test_a_child_that_does_not_listen_is_killed_in_time(make_child: MakeChild) -> None:
    child = make_child(STUBBORN, stop_timeout_s=0.2)
    await until(lambda: runs(child))
    process = psutil.Process(child.pid)
    await child.stop()
    assert not process.is_running()
    assert make_child.told == ["one did not stop within 0.2 s and is killed"]  # type: ignore[attr-defined]


async def test_a_restart_is_no_failure(make_child: MakeChild) -> None:
    child = make_child(SLEEPER)
    await until(lambda: runs(child))
    first = child.pid
    await child.restart()
    await until(lambda: child.pid not in (0, first))
    assert make_child.told == []  # type: ignore[attr-defined]


async def test_a_restart_cuts_the_pause_after_a_failure_short(make_child: MakeChild, tmp_path: Path) -> None:
    mended = tmp_path / "mended"
    script = f"import os, sys; os.path.exists({str(mended)!r}) or sys.exit(1); {SLEEPER}"
    child = make_child(script, limits=SupervisorSettings(restart_base_ms=60_000, restart_cap_ms=60_000))
    await until(lambda: make_child.told)  # type: ignore[attr-defined]
    mended.touch()
    await child.restart()
    await until(lambda: runs(child))


async def test_a_start_that_cannot_succeed_says_why(make_child: MakeChild) -> None:
    child = make_child(
        "import sys; sys.stderr.write('tidegate: the moon is missing\\n'); sys.exit(2)", is_ready=lambda: False
    )
    with pytest.raises(StartupError, match=r"one did not start: the moon is missing \(see .*one\.log\)"):
        await child.ready(timeout_s=10)


async def test_a_child_that_never_becomes_ready_is_given_up(make_child: MakeChild) -> None:
    child = make_child(SLEEPER, is_ready=lambda: False)
    with pytest.raises(StartupError, match="one did not start: on"):
        await child.ready(timeout_s=0.5)
