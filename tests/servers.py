"""Real servers for tests: PostgreSQL and Valkey of their own, and whole shops under `tidegate up`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg

from tests.as_new import State, learnt, made_as_new, state_of
from tests.commands import run_forked
from tidegate.platform.embedded.ports import free_port

POLL_S = 0.05
SHOP_START_S = 90.0
SHOP_STOP_S = 40.0

COMPILED_PYTHON = (
    {
        "PYTHONPYCACHEPREFIX": str(Path(__file__).parent.parent / ".pytest_cache" / "python"),
        "PYTHONDONTWRITEBYTECODE": "",
    }
    if sys.dont_write_bytecode
    else {}
)
"""Many short lives of new shops: none of them should have to compile everything again."""


def wait_until(condition: Callable[[], Any], *, timeout_s: float = 20.0, what: str = "") -> Any:
    """Call `condition` until it returns something true, and return that. Fails the test after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what or condition}")
        time.sleep(POLL_S)
    return result


def is_gone(process: psutil.Process) -> bool:
    """Whether a process has ended, also when nobody has taken note of it yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@dataclass(slots=True)
class TestCluster:
    """A PostgreSQL whose databases are cloned from one migrated template."""

    __test__ = False

    url_of: Callable[[str], str]
    template: str = "template"
    made: int = field(default=0)
    free: list[str] = field(default_factory=list)
    untouched: State | None = None

    def migrate_template(self) -> None:
        """Make the template; no test connects to it."""
        from tidegate.migrations.run import upgrade

        self._execute(f"CREATE DATABASE {self.template}")
        upgrade(self.url_of(self.template))
        wait_until(lambda: learnt(self.url_of(self.template)), what="a template that nobody is connected to")
        self.untouched = state_of(self.url_of(self.template))

    def borrow(self) -> str:
        """A database as new for one test; its URL."""
        return self.free.pop() if self.free else self.clone()

    def give_back(self, url: str) -> None:
        """Let the next test have it, as new."""
        assert self.untouched is not None
        if made_as_new(url, self.untouched):
            self.free.append(url)
        else:
            self.drop(url)

    def clone(self) -> str:
        """A fresh migrated database; its URL."""
        self.made += 1
        name = f"test_{self.made}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {self.template} STRATEGY wal_log")
        return self.url_of(name)

    def drop(self, url: str) -> None:
        """Remove a clone, also under open connections."""
        with psycopg.connect(url) as conn:
            name = conn.info.dbname
        wait_until(lambda: self._dropped(name), what=f"{name} without autovacuum in it")

    def _dropped(self, name: str) -> bool:
        """Try to drop a database; the server's own autovacuum may be in it for a moment, and cannot be sent away."""
        try:
            self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        except psycopg.errors.InsufficientPrivilege:
            return False
        return True

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.url_of("postgres"), autocommit=True) as conn:
            conn.execute(statement)


CALM = {
    "TIDEGATE_JOBS__WORKER_PROCESSES": "1",
    "TIDEGATE_JOBS__RELAY_POLL_MS": "500",
    "TIDEGATE_WEBHOOKS__SWEEP_MS": "2000",
    "TIDEGATE_GATE__ROUNDS_MS": "300",
}
"""Shops of tests are many at once on few cores, and idle most of the time: they look around less often."""

AS_SHIPPED = dict.fromkeys(CALM, "")
"""For a shop whose processes and pauses are those of its users: `Shop(..., environment=AS_SHIPPED)`."""


@dataclass(slots=True)
class Shop:
    """One `tidegate up` with a TIDEGATE_HOME and port of its own."""

    home: Path
    port: int = field(default_factory=free_port)
    metrics_from: int = field(default_factory=free_port)
    """Shops that start at once would find the same ports free."""
    arguments: tuple[str, ...] = ("--demo",)
    environment: Mapping[str, str] = field(default_factory=dict)
    output: Path = field(init=False)
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.output = self.home.with_name(self.home.name + ".out")

    @property
    def base_url(self) -> str:
        """Where the shop answers."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """The command that starts the shop."""
        return [sys.executable, "-m", "tidegate", "up", *self.arguments]

    def env(self) -> dict[str, str]:
        """The environment of `tidegate` commands beside this shop; none of the developer's own settings."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
        ours = {
            "TIDEGATE_HOME": str(self.home),
            "TIDEGATE_PORT": str(self.port),
            "TIDEGATE_OBSERVABILITY__METRICS_PORT_BASE": str(self.metrics_from),
        }
        wanted = {**clean, **COMPILED_PYTHON, **ours, **CALM, **self.environment}
        return {name: value for name, value in wanted.items() if name not in CALM or value}

    def start(self, *, prefix: Sequence[str] = ()) -> Shop:
        """Start without waiting; `prefix` is a command that becomes the one it is given."""
        with self.output.open("ab") as out:
            self.process = subprocess.Popen(
                [*prefix, *self.command()],
                env=self.env(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        return self

    def wait_ready(self, *, timeout_s: float = SHOP_START_S) -> Shop:
        """Return when the start is announced: every process runs and /readyz answers."""
        wait_until(self._announced, timeout_s=timeout_s, what=f"a ready shop; it said: {self.said()}")
        return self

    def run(self, *command: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """A `tidegate` command beside the running shop."""
        return run_forked(command, env=self.env(), timeout_s=timeout_s)

    def said(self) -> str:
        """What `up` wrote so far."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def endpoints(self) -> dict[str, Any]:
        """The running shop's endpoints.json, empty when there is none."""
        try:
            found: dict[str, Any] = json.loads((self.home / "run" / "endpoints.json").read_text())
        except (OSError, ValueError):
            return {}
        return found

    def pids(self) -> dict[str, int]:
        """Process ids by process name: postgres, valkey, site-1, site-2, worker, scheduler, mail-catcher."""
        return {one["name"]: one["pid"] for one in self.endpoints().get("processes", [])}

    def processes(self) -> list[psutil.Process]:
        """Everything that runs for this shop, the supervisor too, however it is related to it now."""
        return [process for process in psutil.process_iter() if _runs_for(process, str(self.home))]

    def get(self, path: str, *, timeout_s: float = 5.0) -> tuple[int, bytes]:
        """GET `path`: status and body; status 0 when there was no answer."""
        try:
            with urllib.request.urlopen(self.base_url + path, timeout=timeout_s) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except OSError:
            return 0, b""

    def stop(self, *, with_signal: signal.Signals = signal.SIGTERM, timeout_s: float = SHOP_STOP_S) -> int:
        """Ask the supervisor to stop; its exit code. Kills all of it if it does not within `timeout_s`."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            for left in psutil.Process(self.process.pid).children(recursive=True):
                left.kill()
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"did not stop within {timeout_s:g} s: {self.said()}") from None

    def _announced(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"`tidegate up` ended with {self.process.returncode}: {self.said()}"
        return self.endpoints().get("supervisor_pid") == self.process.pid and self.get("/readyz")[0] == 200


def _runs_for(process: psutil.Process, home: str) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if process.name() in {"postgres", "valkey-server"}:  # they write over their environment
            return process.cwd().startswith(home + os.sep)
        return bool(process.environ().get("TIDEGATE_HOME") == home)
    except (psutil.Error, OSError):
        return False
