"""Which processes make up a shop, and what each of them is told through its environment."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from functools import partial

from tidegate.ops.children import ChildSpec
from tidegate.ops.home import Home
from tidegate.platform.bytecode import cache_environment
from tidegate.platform.embedded.children import Program
from tidegate.platform.embedded.ports import free_port, port_is_free
from tidegate.platform.embedded.postgres import EmbeddedPostgres
from tidegate.platform.embedded.valkey import EmbeddedValkey
from tidegate.platform.lanes import URGENT_LANES
from tidegate.platform.settings import Settings

SITE = "site"
WORKER = "worker"
URGENT = f"{WORKER}-urgent"
"""The worker that never takes bulk, so that a receipt does not wait behind a large send."""

SCHEDULER = "scheduler"
MAIL_CATCHER = "mail-catcher"
GATEWAY = "gateway"
"""The sandbox as a process of its own: only where a rehearsal leads the way to it round."""

VALKEY = "valkey"
POSTGRES = "postgres"

STOP_ORDER = ((SITE,), (SCHEDULER, WORKER), (MAIL_CATCHER, GATEWAY), (VALKEY,), (POSTGRES,))
"""Who stops together, and in which order: whoever gives work goes before whoever does it."""

POSTGRES_STOP_S = 30.0
"""A fast shutdown writes a checkpoint."""

SITE_MARGIN_S = 2.0
"""What a site process gets beyond the time that its requests may take to finish."""

BACKGROUND = 5
"""Most processes that `background_specs` describes."""

METRICS_PORTS = 1_000
"""How far from the first metrics port free ones are looked for."""


def kind_of(name: str) -> str:
    """`site` for `site-2`: the kind of a child by its name."""
    return next((kind for kind in (SITE, WORKER) if name.startswith(f"{kind}-")), name)


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
    listener: socket.socket | None = None,
    gate_fd: int = -1,
) -> Program:
    """`tidegate COMMAND` as a child called `name`."""
    told = {**environment, "TIDEGATE_PROCESS_NAME": name}
    if metrics_port:
        told["TIDEGATE_METRICS_PORT"] = str(metrics_port)
    keep_fds = []
    if listener is not None:
        told["TIDEGATE_LISTEN_FD"] = str(listener.fileno())
        keep_fds.append(listener.fileno())
    if gate_fd >= 0:
        told["TIDEGATE_GATE_FD"] = str(gate_fd)
        keep_fds.append(gate_fd)
    return Program(
        argv=(sys.executable, "-m", "tidegate", *command),
        environment=told,
        keep_fds=tuple(keep_fds),
    )


def site_specs(
    settings: Settings,
    *,
    environment: Mapping[str, str],
    listeners: Sequence[socket.socket],
    metrics_ports: Sequence[int],
    gate_fd: int,
) -> list[ChildSpec]:
    """The site processes, one for each listening socket; they begin to serve at the end of the pipe `gate_fd`."""
    specs = []
    for number, (listener, port) in enumerate(zip(listeners, metrics_ports, strict=True), start=1):
        program = own_program(
            "serve",
            SITE,
            name=f"{SITE}-{number}",
            environment=environment,
            metrics_port=port,
            listener=listener,
            gate_fd=gate_fd,
        )
        specs.append(
            ChildSpec(
                name=f"{SITE}-{number}",
                program=partial(_same, program),
                stop_timeout_s=max(settings.supervisor.stop_timeout_s, settings.http.shutdown_grace_s + SITE_MARGIN_S),
                metrics_port=port,
                address=f"{settings.host}:{settings.port}",
            )
        )
    return specs


def background_specs(
    settings: Settings,
    *,
    environment: Mapping[str, str],
    mail_catcher: bool,
    metrics_ports: Sequence[int],
    direct: Mapping[str, str],
) -> list[ChildSpec]:
    """The workers, the scheduler and, where no mail server is set, the mail catcher.

    One worker has a process of its own for all lanes but bulk; the other has the remaining processes for all lanes.
    Where there is to be one process only, it has all lanes. `direct` is the environment of those that others depend on:
    with detours they would else wait for themselves.
    """
    others = max(settings.jobs.worker_processes - 1, 1)
    commands: dict[str, tuple[str, ...]] = {WORKER: (WORKER, "--processes", str(others))}
    if settings.jobs.worker_processes > 1:
        commands[URGENT] = (WORKER, "--processes", "1", *(part for lane in URGENT_LANES for part in ("--lane", lane)))
    commands[SCHEDULER] = (SCHEDULER,)
    if mail_catcher:
        commands[MAIL_CATCHER] = (MAIL_CATCHER,)
    if GATEWAY in settings.supervisor.detours:
        commands[GATEWAY] = (GATEWAY,)
    told = {name: direct if name in (MAIL_CATCHER, GATEWAY) else environment for name in commands}
    return [
        ChildSpec(
            name=name,
            program=partial(_same, own_program(*command, name=name, environment=told[name], metrics_port=port)),
            stop_timeout_s=settings.supervisor.stop_timeout_s,
            metrics_port=port,
            address=direct["TIDEGATE_MAIL__SMTP_URL"] if name == MAIL_CATCHER else "",
        )
        for (name, command), port in zip(commands.items(), metrics_ports, strict=False)
    ]


def pick_metrics_ports(first: int, *, count: int, host: str) -> list[int]:
    """`count` free ports from `first` on; any free ones when there are not enough."""
    last = min(first + METRICS_PORTS, 65_536)
    found: list[int] = []
    for port in range(first, last):
        if len(found) == count:
            return found
        if port_is_free(port, host=host):
            found.append(port)
    while len(found) < count:
        found.append(free_port(avoid=found))
    return found


def _same(program: Program) -> Program:
    return program
