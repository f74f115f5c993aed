"""The launcher: its program never outlives the supervisor, and has a group, a signal mask and an account of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.servers import is_gone, wait_until
from tidegate.platform.embedded.children import Program, launch_command

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")

SUPERVISOR = """
import os, subprocess, sys, time
from tidegate.platform.embedded.children import Program, launch_command
guarded = sys.argv[1] == "guarded"
read_end, write_end = os.pipe()
program = Program(argv=tuple(sys.argv[2:]))
command = launch_command(program, guard_fd=read_end if guarded else -1)
child = subprocess.Popen(command, pass_fds=(read_end,) if guarded else ())
os.close(read_end)
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def supervise() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def start_supervisor(started: list[subprocess.Popen[str]], mode: str, *program: str) -> psutil.Process:
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, mode, *program], stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
    )
    started.append(supervisor)
    assert supervisor.stdout is not None
    child = psutil.Process(int(supervisor.stdout.readline()))
    wait_until(lambda: "launch.py" not in " ".join(child.cmdline()) or child.children(), what="the program to run")
    return child


@on_linux
def test_a_program_dies_with_its_killed_supervisor(supervise: list[subprocess.Popen[str]]) -> None:
    child = start_supervisor(supervise, "signalled", "/bin/sleep", "60")
    supervise[0].kill()
    wait_until(lambda: is_gone(child), timeout_s=5)


def test_a_guard_ends_the_program_where_the_kernel_does_not(supervise: list[subprocess.Popen[str]]) -> None:
    guard = start_supervisor(supervise, "guarded", "/bin/sleep", "60")
    (program,) = wait_until(guard.children)
    supervise[0].kill()
    wait_until(lambda: is_gone(program) and is_gone(guard), timeout_s=5)


def test_a_guard_passes_signals_on_and_leaves_with_its_program(supervise: list[subprocess.Popen[str]]) -> None:
    guard = start_supervisor(supervise, "guarded", "/bin/sleep", "60")
    (program,) = wait_until(guard.children)
    guard.send_signal(signal.SIGTERM)
    wait_until(lambda: is_gone(program) and is_gone(guard), timeout_s=5)


def test_a_program_has_a_group_and_an_empty_signal_mask_of_its_own() -> None:
    script = "import os, signal; print(os.getpgrp() == os.getpid(), len(signal.pthread_sigmask(signal.SIG_BLOCK, [])))"
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        said = run(Program(argv=(sys.executable, "-c", script)))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    assert said == "True 0"


@as_root
@on_linux
def test_in_a_namespace_the_program_is_not_root_but_its_files_are_roots(tmp_path: Path) -> None:
    script = "import os; open('made', 'w').close(); print(os.geteuid() != 0)"
    program = Program(argv=(sys.executable, "-c", script), account="namespace", folder=tmp_path)
    assert run(program) == "True"
    assert (tmp_path / "made").stat().st_uid == 0


@as_root
@on_linux
def test_another_user_can_still_work_below_folders_that_are_closed_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "closed" / "open"
    folder.mkdir(parents=True)
    os.chown(folder, 65534, 65534)
    folder.parent.chmod(0o700)
    script = "import os; open('made', 'w').close(); print(os.getuid(), os.getgid(), os.getgroups())"
    assert run(Program(argv=(sys.executable, "-c", script), account="65534:65534", folder=folder)) == "65534 65534 []"
    assert (folder / "made").stat().st_uid == 65534


@as_root
@on_linux
@pytest.mark.parametrize("account", ["namespace", "65534:65534"])
def test_the_death_signal_survives_a_change_of_account(account: str) -> None:
    script = (
        "import ctypes; one = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(one), 0, 0, 0); print(one.value)"
    )
    program = Program(argv=(sys.executable, "-c", script), account=account, death_signal=signal.SIGINT)
    assert run(program) == str(int(signal.SIGINT))


def run(program: Program) -> str:
    done = subprocess.run(launch_command(program), capture_output=True, text=True, timeout=20, check=True)
    return done.stdout.strip()
