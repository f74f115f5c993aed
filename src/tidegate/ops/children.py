"""One child of the supervisor: started, watched, started again when it dies, stopped in bounded time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tidegate.ops.logs import open_log
from tidegate.platform.backoff import backoff_s
from tidegate.platform.embedded.children import Program, launch_command, needs_guard
from tidegate.platform.embedded.last_words import last_words
from tidegate.platform.problems import StartupError
from tidegate.platform.settings import SupervisorSettings

STEADY_S = 10.0
"""A child that lived this long is started again without delay when it dies."""

HOPELESS = 3
"""Deaths in a row after which a start is given up."""

STARTUP_FAILED = 2
"""Exit code of our own programs when something outside must be mended first."""

KILLED_S = 5.0
READY_POLL_S = 0.03


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """`program` is asked for anew at each start, after `before_start` ran in a thread; `after_kill` ends the rest.

    `is_ready` blocks for a moment at most; without it a child counts as ready when it runs.
    """

    name: str
    program: Callable[[], Program]
    stop_timeout_s: float
    before_start: Callable[[], None] | None = None
    is_ready: Callable[[], bool] | None = None
    after_kill: Callable[[], None] | None = None
    metrics_port: int = 0
    address: str = ""


class Child:
    """Keeps the program of `spec` running from `start` until `stop`."""

    def __init__(
        self,
        spec: ChildSpec,
        *,
        log_folder: Path,
        limits: SupervisorSettings,
        tell: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self.spec = spec
        self.log = log_folder / f"{spec.name}.log"
        self.pid = 0
        self._limits = limits
        self._tell = tell
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._guard_pipe = -1
        self._stopping = asyncio.Event()
        self._pause_over = asyncio.Event()
        self._wanted_restart = False
        self._failures = 0
        self._exit_code: int | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start it and keep it running; returns at once."""
        self._task = asyncio.create_task(self._keep_running(), name=self.spec.name)

    async def ready(self, *, timeout_s: float) -> None:
        """Return when it runs and is ready. Raises: StartupError when it does not come up."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            if self._task is not None and self._task.done():
                self._task.result()
            hopeless = self._failures >= HOPELESS or self._exit_code == STARTUP_FAILED
            if hopeless or asyncio.get_running_loop().time() > deadline:
                raise StartupError(f"{self.spec.name} did not start: {last_words(self.log)} (see {self.log})")
            if await self._is_ready():
                return
            await asyncio.sleep(READY_POLL_S)

    async def stop(self, *, with_signal: signal.Signals | None = None, timeout_s: float = 0.0) -> None:
        """Ask it to leave; kill its whole process group when its time is over.

        Its own signal and time, unless others are given.
        """
        timeout_s = timeout_s or self.spec.stop_timeout_s
        self._stopping.set()
        self._pause_over.set()
        if self._task is None:
            return
        self._signal(with_signal or self.spec.program().stop_signal)
        _, pending = await asyncio.wait({self._task}, timeout=timeout_s)
        if pending:
            self._tell(f"{self.spec.name} did not stop within {timeout_s:g} s and is killed")
            self.kill()
            await asyncio.wait({self._task}, timeout=KILLED_S)

    async def restart(self) -> None:
        """Stop the program and start it again at once, without counting it as a failure."""
        process = self._process
        if self._stopping.is_set():
            return
        if process is None or process.returncode is not None:
            self._pause_over.set()
            return
        self._wanted_restart = True
        self._signal(self.spec.program().stop_signal)
        try:
            async with asyncio.timeout(self.spec.stop_timeout_s):
                await process.wait()
        except TimeoutError:
            self._end()

    def kill(self) -> None:
        """End it at once and for good, with all that it started."""
        self._stopping.set()
        self._end()

    def _end(self) -> None:
        if self.pid:
            _kill_group(self.pid)
        if self.spec.after_kill is not None:
            self.spec.after_kill()

    async def _is_ready(self) -> bool:
        if not self.pid:
            return False
        return self.spec.is_ready is None or await asyncio.to_thread(self.spec.is_ready)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _keep_running(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            started_at = loop.time()
            reason = await self._run_once()
            if self._stopping.is_set():
                return
            if self._wanted_restart:
                self._wanted_restart = False
                continue
            self._failures = 1 if loop.time() - started_at >= STEADY_S else self._failures + 1
            pause_s = backoff_s(
                failures=self._failures,
                base_s=self._limits.restart_base_ms / 1000,
                cap_s=self._limits.restart_cap_ms / 1000,
                draw=random.random(),  # noqa: S311 - spreads restarts, no secret
            )
            self._tell(f"{self.spec.name} {reason}; starting it again in {pause_s:.1f} s")
            self._pause_over.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._pause_over.wait()

    async def _run_once(self) -> str:
        """Run the program to its end and say how it ended."""
        try:
            if self.spec.before_start is not None:
                await asyncio.to_thread(self.spec.before_start)
            if self._stopping.is_set():
                return "was not started"
            self._process = await self._spawn(self.spec.program())
        except (StartupError, OSError) as error:
            self._note(f"tidegate: {error}")
            return f"cannot be started: {error}"
        self.pid = self._process.pid
        self._changed()
        code = await self._process.wait()
        _kill_group(self.pid)  # what it started must not go on without it
        self.pid = 0
        if self._guard_pipe >= 0:
            os.close(self._guard_pipe)
            self._guard_pipe = -1
        self._exit_code = code
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    async def _spawn(self, program: Program) -> asyncio.subprocess.Process:
        log = open_log(self.log)
        guard_end = -1
        if needs_guard():  # our end is closed when the child has ended, or by the kernel at our death
            guard_end, self._guard_pipe = os.pipe()
        handed_down = (*program.keep_fds, guard_end) if guard_end >= 0 else program.keep_fds
        try:
            return await asyncio.create_subprocess_exec(
                *launch_command(program, guard_fd=guard_end),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(program.environment),
                pass_fds=handed_down,
                start_new_session=True,  # before anything else happens in it, so that its group can always be killed
            )
        finally:
            os.close(log)
            if guard_end >= 0:
                os.close(guard_end)

    def _note(self, line: str) -> None:
        with contextlib.suppress(OSError), self.log.open("a") as log:
            log.write(line + "\n")


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
