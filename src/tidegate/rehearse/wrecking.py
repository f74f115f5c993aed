"""Breaking what a shop of one's own depends on: signals to the processes that its supervisor runs, and broken ways."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tidegate.platform.broken_network import Break
from tidegate.platform.problems import StartupError
from tidegate.rehearse.detours import Detours
from tidegate.rehearse.faults import NETWORK, Dependency, Fault, Happening
from tidegate.rehearse.storm import Storm

PROCESS = {
    Dependency.POSTGRES: "postgres",
    Dependency.VALKEY: "valkey",
    Dependency.GATEWAY: "gateway",
    Dependency.SMTP: "mail-catcher",
    Dependency.SITE: "site-",
    Dependency.WORKER: "worker",
}
"""Which of the supervisor's processes stands for a dependency: the first whose name begins so."""

LED_ROUND = (Dependency.POSTGRES, Dependency.VALKEY, Dependency.GATEWAY, Dependency.SMTP)
"""What a proxy stands before."""

BREAKS = {Fault.SLOW: Break.SLOW, Fault.RESET: Break.RESET, Fault.BLACK_HOLE: Break.BLACK_HOLE}
RESTARTED_S = 120.0


def read_endpoints(home: Path) -> dict[str, Any]:
    """What the supervisor of a shop says of it; empty while it says nothing."""
    try:
        found: dict[str, Any] = json.loads((home / "run" / "endpoints.json").read_text())
    except (OSError, ValueError):
        return {}
    return found


class Wrecker:
    """Begins and ends faults, one at a time, of the shop in `home`; `storm` is for messages to very many."""

    def __init__(self, home: Path, detours: Detours, *, storm: Storm) -> None:
        self._home = home
        self._detours = detours
        self._storm = storm
        self._paused: list[psutil.Process] = []

    async def begin(self, happening: Happening) -> None:
        """Break it. Raises: StartupError when the shop has no such process."""
        fault, dependency = happening.fault, happening.dependency
        if fault in NETWORK:
            await self._detours.break_all(dependency, BREAKS[fault], delay_s=happening.delay_ms / 1000)
        elif fault is Fault.KILL:
            with suppress(ProcessLookupError):
                os.kill(self._pid(PROCESS[dependency]), signal.SIGKILL)
        elif fault is Fault.PAUSE:
            await asyncio.to_thread(self._pause, PROCESS[dependency])
        elif fault is Fault.RESTART:
            await asyncio.to_thread(_restart)
        else:
            await self._storm.begin()

    async def end(self, happening: Happening) -> str:
        """Mend it; what was killed is its supervisor's to mend. What else there is to say of it."""
        if happening.fault in NETWORK:
            await self._detours.break_all(happening.dependency, Break.NONE)
        self.resume()
        return await self._storm.told() if happening.fault is Fault.SEND else ""

    def resume(self) -> None:
        """Let go on whatever is paused."""
        paused, self._paused = self._paused, []
        for process in reversed(paused):
            with suppress(psutil.Error):
                process.resume()

    def _pause(self, name: str) -> None:
        """Stop a process and all that descend from it: a server whose parent alone hangs goes on answering."""
        try:
            root = psutil.Process(self._pid(name))
            family = [root, *root.children(recursive=True)]
        except psutil.Error as error:
            raise StartupError(f"cannot pause {name}: {error}") from None
        for process in family:
            with suppress(psutil.Error):
                process.suspend()
                self._paused.append(process)

    def _pid(self, name: str) -> int:
        """The process of now. Raises: StartupError when there is none of that name."""
        for each in read_endpoints(self._home).get("processes", []):
            if each["name"].startswith(name):
                return int(each["pid"])
        raise StartupError(f"the shop of this rehearsal has no process {name!r}")


def _restart() -> None:
    """Have the supervisor replace every process, as `tidegate restart` does. Raises: StartupError when it did not."""
    command = [sys.executable, "-m", "tidegate", "restart"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=RESTARTED_S, check=False)
    except subprocess.TimeoutExpired:
        raise StartupError(f"the shop's processes were not replaced within {RESTARTED_S:g} s") from None
    if done.returncode:
        raise StartupError(f"the shop's processes were not replaced: {done.stderr.strip()}")
