"""What is needed to start a program under the launcher, by whoever supervises it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launch.py")


@dataclass(frozen=True, slots=True)
class Program:
    """A program to run, and how it is asked to leave.

    `stop_signal` asks it to leave in order; `death_signal` is what the supervisor's death sends it. `account` is the
    launcher's: empty for our own, `namespace`, or `UID:GID`.
    """

    argv: tuple[str, ...]
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGTERM
    account: str = ""
    folder: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    keep_fds: tuple[int, ...] = ()


def launch_command(program: Program, *, guard_fd: int = -1) -> list[str]:
    """The command line that starts `program` as a child of this process through the launcher."""
    options = [f"--parent={os.getpid()}", f"--death-signal={int(program.death_signal)}"]
    if program.account:
        options.append(f"--account={program.account}")
    if program.folder is not None:
        options.append(f"--folder={program.folder}")
    if guard_fd >= 0:
        options.append(f"--guard={guard_fd}")
    return [sys.executable, "-I", "-S", str(LAUNCHER), *options, "--", *program.argv]


def needs_guard() -> bool:
    """Whether this system cannot signal a child at its parent's death by itself."""
    return not sys.platform.startswith("linux")
