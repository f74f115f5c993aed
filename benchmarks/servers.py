"""Servers of a benchmark: a durable PostgreSQL and a Valkey in a temporary folder, and processes that share a port.

They are the embedded servers that `tidegate up` runs, with the same configuration. TIDEGATE_* variables of the caller
stay, so that a setting can be tried out; which ones were set is part of the figures.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg

from tidegate.migrations.run import upgrade
from tidegate.ops.sockets import open_listeners
from tidegate.platform.embedded.children import Program, launch_command
from tidegate.platform.embedded.last_words import last_words
from tidegate.platform.embedded.orphans import processes_in
from tidegate.platform.embedded.ports import free_port, port_is_free
from tidegate.platform.embedded.postgres import EmbeddedPostgres
from tidegate.platform.embedded.running import running, stop
from tidegate.platform.embedded.valkey import EmbeddedValkey
from tidegate.platform.sealing import current_sealer
from tidegate.platform.secrets import load_or_create
from tidegate.platform.settings import CacheSettings, DatabaseSettings, current_settings

ROOT = Path(__file__).resolve().parents[1]
READY_TIMEOUT_S = 60.0
READY_CHECKS = 8
"""Fresh connections that must all be answered: each process then has had some."""
POLL_S = 0.05
DURABILITY = ("fsync", "synchronous_commit", "full_page_writes")
ADDRESSES = {"TIDEGATE_HOME", "TIDEGATE_PORT", "TIDEGATE_DATABASE_URL", "TIDEGATE_VALKEY_URL", "TIDEGATE_BROKER_URL"}
LIMITER = "TIDEGATE_OVERLOAD__ENABLED"


@dataclass(frozen=True, slots=True)
class Servers:
    """PostgreSQL and Valkey, running, and the settings of this process pointing at them."""

    home: Path
    database_url: str
    data: Path
    valkey_pid: int
    changed_settings: tuple[str, ...]

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds so far by kind of process; backends that have ended are counted with their parent."""
        used = {"postgres": 0.0, "valkey": used_s(psutil.Process(self.valkey_pid))}
        for process in processes_in(self.data):
            with suppress(psutil.NoSuchProcess):  # a backend or a worker of autovacuum that has just ended
                times = process.cpu_times()
                used["postgres"] += times.user + times.system + times.children_user + times.children_system
        return used

    def durability(self) -> dict[str, str]:
        """What a session of the engine's own database URL says of its durability."""
        with psycopg.connect(self.database_url, autocommit=True) as conn:
            rows = {name: conn.execute(f"SHOW {name}").fetchone() for name in DURABILITY}
        return {name: str(row[0]) for name, row in rows.items() if row is not None}


@dataclass(slots=True)
class Fleet:
    """Processes that serve one port. `beside` are others whose CPU time is told, by kind."""

    port: int
    log: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    metrics_ports: list[int] = field(default_factory=list)
    beside: dict[str, psutil.Process] = field(default_factory=dict)

    def cpu_s(self) -> float:
        """CPU seconds so far of all of them."""
        return sum(used_s(psutil.Process(process.pid)) for process in self.processes)

    def beside_s(self) -> dict[str, float]:
        """CPU seconds so far of those beside them."""
        return {kind: used_s(process) for kind, process in self.beside.items()}

    def rss_mb(self) -> float:
        """Resident memory of the largest of them, in MB (2**20 bytes)."""
        sizes = [psutil.Process(process.pid).memory_info().rss for process in self.processes]
        return round(max(sizes, default=0) / 2**20, 1)

    def metrics(self) -> dict[str, float]:
        """Samples of all processes' metrics, summed by name and labels as they are written; no buckets."""
        found: dict[str, float] = {}
        for port in self.metrics_ports:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
            for line in text.splitlines():
                if line.startswith("#") or "_bucket{" in line:
                    continue
                name, _, value = line.rpartition(" ")
                found[name] = found.get(name, 0.0) + float(value)
        return found

    def check_alive(self) -> None:
        """Raises: RuntimeError when one of them has ended."""
        if any(process.poll() is not None for process in self.processes):
            raise RuntimeError(f"a process of the benchmark ended: {last_words(self.log)}")


@contextmanager
def servers(*, durable: bool = True) -> Iterator[Servers]:
    """A migrated shop's servers for the length of a block; this process's settings are those of that shop."""
    with ExitStack() as stack:
        changed = tuple(sorted(name for name in os.environ if name.startswith("TIDEGATE_") and name not in ADDRESSES))
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidegate-benchmark-")))
        secrets = load_or_create(home)
        postgres = EmbeddedPostgres(
            home / "postgres", secrets["database_password"], DatabaseSettings(), durable=durable
        )
        valkey = EmbeddedValkey(home / "valkey", secrets["valkey_password"], CacheSettings())
        stack.callback(postgres.forget_socket)
        stack.enter_context(running(postgres, log=home / "postgres.log"))
        valkey_process = stack.enter_context(running(valkey, log=home / "valkey.log"))
        upgrade(postgres.url())
        stack.enter_context(
            environment(
                {
                    "TIDEGATE_HOME": str(home),
                    "TIDEGATE_DATABASE_URL": postgres.url(),
                    "TIDEGATE_VALKEY_URL": valkey.url(),
                    "TIDEGATE_BROKER_URL": valkey.url(1),
                    # Who looks for the most that a shop can do refuses nobody; `overload` measures with the limiter on.
                    LIMITER: os.environ.get(LIMITER, "false"),
                }
            )
        )
        yield Servers(home, postgres.url(), postgres.data, valkey_process.pid, changed)


@contextmanager
def fleet(
    home: Path, module: str, *, processes: int, environment: Mapping[str, str] | None = None, probe: bool = True
) -> Iterator[Fleet]:
    """`processes` of `module` (`benchmarks.site`) on one port, each with a listening socket of its own.

    With `probe` it is waited for until /readyz answers on fresh connections.
    """
    port = free_port()
    listeners = open_listeners("127.0.0.1", port, slots=processes)
    made = Fleet(port, home / f"{module}.log")
    try:
        for number, listener in enumerate(listeners, start=1):
            made.metrics_ports.append(free_port(avoid=[port, *made.metrics_ports]))
            told = {
                **os.environ,
                "TIDEGATE_PORT": str(port),
                "TIDEGATE_PROCESS_NAME": f"site-{number}",
                "TIDEGATE_LISTEN_FD": str(listener.fileno()),
                "TIDEGATE_METRICS_PORT": str(made.metrics_ports[-1]),
                "PYTHONUNBUFFERED": "1",
                **(environment or {}),
            }
            made.processes.append(_spawn(module, told, keep=(listener.fileno(),), log=made.log))
        if probe:
            _wait_ready(made)
        yield made
    finally:
        for process in made.processes:
            stop(process, with_signal=Program(argv=()).stop_signal)
        for listener in listeners:
            listener.close()


def busy_s() -> float:
    """CPU seconds that all cores together have worked so far, for whomever."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


@contextmanager
def serving(home: Path, module: str, *arguments: str, port: int) -> Iterator[psutil.Process]:
    """A program that listens on `port` by itself, from when it does until the end of the block."""
    log = home / f"{module}.log"
    process = _spawn(module, os.environ, arguments=arguments, log=log)
    try:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while port_is_free(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{module} did not start: {last_words(log)}")
            time.sleep(POLL_S)
        yield psutil.Process(process.pid)
    finally:
        stop(process, with_signal=Program(argv=()).stop_signal)


def machine(servers: Servers, *, processes: int) -> dict[str, object]:
    """What a figure must be read with: durability as the engine's session sees it, cores, processes, settings."""
    return {
        **servers.durability(),
        "processes": processes,
        "cores": psutil.cpu_count() or 0,
        "changed_settings": list(servers.changed_settings),
    }


def _spawn(
    module: str,
    environment: Mapping[str, str],
    *,
    arguments: Sequence[str] = (),
    keep: tuple[int, ...] = (),
    log: Path,
) -> subprocess.Popen[bytes]:
    program = Program(argv=(sys.executable, "-m", module, *arguments))
    with log.open("ab") as out:
        return subprocess.Popen(
            launch_command(program),
            cwd=ROOT,
            env=dict(environment),
            pass_fds=keep,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )


def _wait_ready(made: Fleet) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    good = 0
    while good < READY_CHECKS * len(made.processes):
        made.check_alive()
        if time.monotonic() > deadline:
            raise RuntimeError(f"the site was not ready within {READY_TIMEOUT_S:g} s: {last_words(made.log)}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{made.port}/readyz", timeout=READY_TIMEOUT_S) as answer:
                good = good + 1 if answer.status == 200 else 0
        except (urllib.error.URLError, OSError):
            good = 0
            time.sleep(POLL_S)


def used_s(process: psutil.Process) -> float:
    """CPU seconds of a process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables for the length of a block; settings and keys that were read before are forgotten."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    current_settings.cache_clear()
    current_sealer.cache_clear()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        current_settings.cache_clear()
        current_sealer.cache_clear()
