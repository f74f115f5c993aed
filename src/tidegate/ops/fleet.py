"""Which processes make up a shop, and what each of them is told through its environment."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

from tidegate.ops.children import ChildSpec
from tidegate.ops.counts import CHECKOUT, GATE, SITE, WORKER
from tidegate.ops.home import Home
from tidegate.platform.bytecode import cache_environment
from tidegate.platform.embedded.children import Program
from tidegate.platform.embedded.ports import free_port, port_is_free
from tidegate.platform.embedded.postgres import EmbeddedPostgres
from tidegate.platform.embedded.valkey import EmbeddedValkey
from tidegate.platform.lanes import URGENT_LANES
from tidegate.platform.settings import Settings

SERVED_BY: Mapping[str, tuple[str, ...]] = {
    SITE: ("serve", "site"),
    GATE: ("serve", "gate", "--shop"),
    CHECKOUT: ("serve", "checkout"),
}
"""Kinds of processes that answer requests, and the command of each."""

URGENT = f"{WORKER}-urgent"
"""The worker that never takes bulk, so that a receipt does not wait behind a large send."""

SCHEDULER = "scheduler"
MAIL_CATCHER = "mail-catcher"
GATEWAY = "gateway"
"""The sandbox as a process of its own: only where a rehearsal leads the way to it round."""

LED_TO = (MAIL_CATCHER, GATEWAY)
"""Those that others depend on: they are told the true addresses, with detours they would else ask themselves."""

VALKEY = "valkey"
POSTGRES = "postgres"

STOP_ORDER = ((SITE,), (GATE, CHECKOUT), (SCHEDULER, WORKER), (MAIL_CATCHER, GATEWAY), (VALKEY,), (POSTGRES,))
"""Who stops together, and in which order: whoever gives work goes before whoever does it."""

POSTGRES_STOP_S = 30.0
"""A fast shutdown writes a checkpoint."""

SITE_MARGIN_S = 2.0
"""What a site process gets beyond the time that its requests may take to finish."""

METRICS_PORTS = 1_000
"""How far from the first metrics port free ones are looked for."""


def kind_of(name: str) -> str:
    """`site` for `site-2`: the kind of a child by its name."""
    return next((kind for kind in (SITE, GATE, CHECKOUT, WORKER) if name.startswith(f"{kind}-")), name)


def postgres_spec(server: EmbeddedPostgres) -> ChildSpec:
    """The embedded PostgreSQL; before each start, orphans of the last one are waited for."""
    return ChildSpec(
        name=POSTGRES,
        program=server.program,
        stop_timeout_s=POSTGRES_STOP_S,
        before_start=server.clear,
        is_ready=server.is_ready,
        after_kill=server.kill,
        address=str(server.socket_folder),
    )


def valkey_spec(server: EmbeddedValkey, settings: Settings) -> ChildSpec:
    """The embedded Valkey."""
    return ChildSpec(
        name=VALKEY,
        program=server.program,
        stop_timeout_s=settings.supervisor.stop_timeout_s,
        is_ready=server.is_ready,
        address=f"127.0.0.1:{server.port}",
    )


def child_environment(settings: Settings, home: Home, *, urls: Mapping[str, str], demo: bool) -> dict[str, str]:
    """Our own environment, with the addresses of this shop in the place of whatever it says about them."""
    environment = {
        **os.environ,
        "TIDEGATE_HOME": str(home.path),
        "TIDEGATE_DATABASE_URL": urls["database_url"],
        "TIDEGATE_VALKEY_URL": urls["valkey_url"],
        "TIDEGATE_BROKER_URL": urls["broker_url"],
        "TIDEGATE_MAIL__SMTP_URL": urls["smtp_url"],
        "TIDEGATE_DEMO": "true" if demo else "false",
        "TIDEGATE_PORT": str(settings.port),
        "PYTHONUNBUFFERED": "1",
    }
    if "gateway_url" in urls:
        environment["TIDEGATE_PAYMENTS__SANDBOX_URL"] = urls["gateway_url"]
    return environment | cache_environment(home.path)


def own_program(
    *command: str,
    name: str,
    environment: Mapping[str, str],
    metrics_port: int = 0,
    listeners: Sequence[socket.socket] = (),
    beside: Sequence[socket.socket] = (),
    started_file: Path | None = None,
    gate_fd: int = -1,
) -> Program:
    """`tidegate COMMAND` as a child called `name`."""
    told = {**environment, "TIDEGATE_PROCESS_NAME": name}
    if metrics_port:
        told["TIDEGATE_METRICS_PORT"] = str(metrics_port)
    keep_fds = []
    for variable, sockets in (("TIDEGATE_LISTEN_FD", listeners), ("TIDEGATE_BESIDE_FD", beside)):
        if fds := list(dict.fromkeys(each.fileno() for each in sockets)):
            told[variable] = ",".join(map(str, fds))
            keep_fds += fds
    if started_file is not None:
        told["TIDEGATE_STARTED_FILE"] = str(started_file)
    if gate_fd >= 0:
        told["TIDEGATE_GATE_FD"] = str(gate_fd)
        keep_fds.append(gate_fd)
    return Program(
        argv=(sys.executable, "-m", "tidegate", *command),
        environment=told,
        keep_fds=tuple(keep_fds),
    )


def server_spec(
    settings: Settings,
    kind: str,
    name: str,
    *,
    environment: Mapping[str, str],
    listeners: Sequence[socket.socket],
    beside: Sequence[socket.socket],
    port: int,
    metrics_port: int,
    started_file: Path,
    gate_fd: int = -1,
) -> ChildSpec:
    """A process that serves requests, ready when it does; it begins at the end of the pipe `gate_fd`, if any.

    One of a part listens on a `port` of this machine; who asks it is the site, and says for whom.
    """
    if kind != SITE:
        environment = {
            **environment,
            "TIDEGATE_HOST": "127.0.0.1",
            "TIDEGATE_PORT": str(port),
            "TIDEGATE_HTTP__BASE_URL": settings.base_url,
            "TIDEGATE_HTTP__TRUSTED_PROXIES": '["127.0.0.1/32"]',
        }
    program = own_program(
        *SERVED_BY[kind],
        name=name,
        environment=environment,
        metrics_port=metrics_port,
        listeners=listeners,
        beside=beside,
        started_file=started_file,
        gate_fd=gate_fd,
    )
    return ChildSpec(
        name=name,
        program=partial(_same, program),
        stop_timeout_s=max(settings.supervisor.stop_timeout_s, settings.http.shutdown_grace_s + SITE_MARGIN_S),
        before_start=partial(started_file.unlink, missing_ok=True),
        is_ready=started_file.exists,
        metrics_port=metrics_port,
        address=f"{settings.host}:{settings.port}" if kind == SITE else f"127.0.0.1:{port}",
    )


def worker_commands(processes: int) -> dict[str, tuple[str, ...]]:
    """The commands of `processes` Celery processes, by the names of their children.

    One has all lanes but bulk to itself; the others have all lanes. Where there is one only, it has all lanes.
    """
    commands: dict[str, tuple[str, ...]] = {WORKER: (WORKER, "--processes", str(max(processes - 1, 1)))}
    if processes > 1:
        commands[URGENT] = (WORKER, "--processes", "1", *(part for lane in URGENT_LANES for part in ("--lane", lane)))
    return commands


def background_spec(
    settings: Settings, name: str, command: Sequence[str], *, environment: Mapping[str, str], metrics_port: int
) -> ChildSpec:
    """A worker, the scheduler or the mail catcher."""
    return ChildSpec(
        name=name,
        program=partial(_same, own_program(*command, name=name, environment=environment, metrics_port=metrics_port)),
        stop_timeout_s=settings.supervisor.stop_timeout_s,
        metrics_port=metrics_port,
        address=environment["TIDEGATE_MAIL__SMTP_URL"] if name == MAIL_CATCHER else "",
    )


def pick_metrics_port(first: int, *, host: str, avoid: Collection[int]) -> int:
    """A free port from `first` on that is not among those to `avoid`; any free one when there is none nearby."""
    for port in range(first, min(first + METRICS_PORTS, 65_536)):
        if port not in avoid and port_is_free(port, host=host):
            return port
    return free_port(avoid=avoid)


def _same(program: Program) -> Program:
    return program
