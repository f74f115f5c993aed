"""`tidegate up`: one process that starts all others, keeps them running, and stops them in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tidegate.ops.children import STARTUP_FAILED, Child, ChildSpec
from tidegate.ops.contracts import Prepared, RunningProcess, UpOptions
from tidegate.ops.control import Control, Say
from tidegate.ops.counts import WORKER, counts_of, parse_counts
from tidegate.ops.detours import FILE, lead_round
from tidegate.ops.endpoints import write_endpoints
from tidegate.ops.fleet import (
    GATEWAY,
    LED_TO,
    MAIL_CATCHER,
    POSTGRES,
    SCHEDULER,
    STOP_ORDER,
    VALKEY,
    background_spec,
    child_environment,
    kind_of,
    own_program,
    pick_metrics_port,
    postgres_spec,
    valkey_spec,
    worker_commands,
)
from tidegate.ops.home import Home, claimed_home
from tidegate.ops.leftovers import end_leftovers
from tidegate.ops.logs import follow, keep_trimmed, open_log
from tidegate.ops.readiness import is_ready
from tidegate.ops.reload import check_reload, watch_sources
from tidegate.ops.servers import Servers
from tidegate.ops.summary import say, say_event, show_started
from tidegate.platform.embedded.children import launch_command
from tidegate.platform.embedded.last_words import last_words
from tidegate.platform.embedded.ports import free_port
from tidegate.platform.embedded.postgres import EmbeddedPostgres
from tidegate.platform.embedded.valkey import EmbeddedValkey
from tidegate.platform.problems import StartupError
from tidegate.platform.secrets import load_or_create
from tidegate.platform.settings import Settings, load_settings

READY_POLL_S = 0.05
INTERRUPTED = 130
"""Exit code after a second Ctrl-C, which stops nothing in order."""


def run_up(options: UpOptions) -> None:
    """Run a shop until SIGINT, SIGTERM or SIGHUP.

    Raises: StartupError when something outside must be mended first.
    """
    if options.reload:
        check_reload()
    if options.processes:
        parse_counts([options.processes])
    with claimed_home(load_settings().home) as home:
        # Read again: the endpoints of a supervisor that was killed are no settings.
        asyncio.run(Supervisor(load_settings(), home, options).run())


class Supervisor:
    """One run of `tidegate up`."""

    def __init__(self, settings: Settings, home: Home, options: UpOptions) -> None:
        self._settings = settings
        self._home = home
        self._options = options
        self._demo = options.demo or settings.demo
        self._began = time.monotonic()
        self._stop = asyncio.Event()
        self._children: dict[str, Child] = {}
        self._counts = counts_of(settings) | (parse_counts([options.processes]) if options.processes else {})
        self._servers = Servers(settings, home, add=self._child, changed=self._write_endpoints)
        self._environment: dict[str, str] = {}
        self._control = Control(self._do)
        self._told: dict[str, Any] = {}
        self._postgres: EmbeddedPostgres | None = None
        self._urls: dict[str, str] = {}
        self._open = False

    async def run(self) -> None:
        """Start everything, wait for the signal to stop, stop everything."""
        self._take_signals()
        told_to_stop = asyncio.create_task(self._stop.wait())
        starting = asyncio.create_task(self._start())
        side_work: list[asyncio.Task[None]] = [asyncio.create_task(keep_trimmed(self._home.logs))]
        if self._options.verbose:
            side_work.append(asyncio.create_task(follow(self._home.logs, say)))
        try:
            await asyncio.wait({starting, told_to_stop}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                if self._options.reload:
                    side_work.append(asyncio.create_task(watch_sources(self._reload)))
                await told_to_stop
        finally:
            for task in (starting, told_to_stop, *side_work):
                task.cancel()
            await asyncio.gather(starting, told_to_stop, *side_work, return_exceptions=True)
            await self._stop_all()

    # --- starting

    async def _start(self) -> None:
        settings, home = self._settings, self._home
        if home.was_killed:
            await asyncio.to_thread(end_leftovers, home.path)
        self._servers.listen(self._counts)
        servers = await self._start_servers(load_or_create(home.path))
        mail_catcher = not settings.mail.smtp_url
        self._urls["smtp_url"] = settings.mail.smtp_url or f"smtp://127.0.0.1:{free_port()}"
        self._urls["base_url"] = settings.base_url
        detours = settings.supervisor.detours
        if GATEWAY in detours:
            self._urls["gateway_url"] = f"http://127.0.0.1:{free_port()}"
        told = lead_round(self._urls, detours, note=home.run / FILE)
        self._environment = child_environment(settings, home, urls=told, demo=self._demo)
        # These are started before the servers are ready: they import what they need meanwhile. The sites then wait at
        # the gate until the database is prepared.
        gate, opener = os.pipe()
        self._servers.start(self._counts, environment=self._environment, gate_fd=gate)
        preparing = asyncio.create_task(self._prepare(self._environment))
        try:
            await self._all_ready(servers)
            prepared = await preparing
        finally:
            preparing.cancel()
            await asyncio.gather(preparing, return_exceptions=True)
        os.close(opener)
        await self._site_ready()
        commands = worker_commands(self._counts[WORKER]) | {SCHEDULER: (SCHEDULER,)}
        if mail_catcher:
            commands[MAIL_CATCHER] = (MAIL_CATCHER,)
        if GATEWAY in detours:
            commands[GATEWAY] = (GATEWAY,)
        # Only now: on a small machine their imports would keep the shop closed for another second.
        await self._all_ready([self._background(name, command) for name, command in commands.items()])
        self._told = await self._control.start()
        self._open = True
        self._write_endpoints()
        show_started(
            base_url=settings.base_url,
            home=str(home.path),
            started_in_s=time.monotonic() - self._began,
            rows=[(child.spec, _running(child)) for child in self._everyone()],
            prepared=prepared,
        )

    async def _start_servers(self, secrets: dict[str, str]) -> list[Child]:
        """Start the embedded servers that no URL replaces, and note the URLs of all."""
        settings = self._settings
        folder = self._home.path
        steps = []
        valkey = EmbeddedValkey(folder / "valkey", secrets["valkey_password"], settings.cache)
        postgres = EmbeddedPostgres(folder / "postgres", secrets["database_password"], settings.database)
        if not settings.database_url.get_secret_value():
            self._postgres = postgres
            steps.append(postgres.prepare)
        if own_valkey := not settings.valkey_url.get_secret_value():
            steps.append(valkey.prepare)
        await asyncio.gather(*(asyncio.to_thread(_explained, step) for step in steps))
        self._urls["database_url"] = postgres.url() if self._postgres else settings.require_database_url()
        self._urls["valkey_url"] = valkey.url() if own_valkey else settings.require_valkey_url()
        self._urls["broker_url"] = settings.broker_url.get_secret_value() or self._urls["valkey_url"]
        specs = [postgres_spec(postgres)] if self._postgres else []
        specs += [valkey_spec(valkey, settings)] if own_valkey else []
        return [self._add(spec) for spec in specs]

    async def _prepare(self, environment: dict[str, str]) -> Prepared:
        """Migrations, the administrator's account and demo data: `tidegate prepare`, in a process of its own."""
        file = self._home.logs / "prepare.log"
        log = open_log(file)
        program = own_program("prepare", name="prepare", environment=environment)
        process = await asyncio.create_subprocess_exec(
            *launch_command(program),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=dict(program.environment),
            start_new_session=True,
        )
        os.close(log)
        try:
            out, _ = await process.communicate()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode == STARTUP_FAILED:
            raise StartupError(last_words(file))
        if process.returncode != 0:
            raise StartupError(f"the database could not be prepared: {last_words(file)} (see {file})")
        told = json.loads(out)
        return Prepared(administrator=told["administrator"], notes=tuple(told["notes"]))

    async def _all_ready(self, children: Sequence[Child]) -> None:
        timeout_s = self._settings.supervisor.start_timeout_s
        await asyncio.gather(*(child.ready(timeout_s=timeout_s) for child in children))

    async def _site_ready(self) -> None:
        await self._servers.ready()
        site = self._servers.children[0]
        deadline = time.monotonic() + self._settings.supervisor.start_timeout_s
        while not await is_ready(self._settings.host, self._settings.port):
            if time.monotonic() > deadline:
                raise StartupError(f"the shop is not ready: {last_words(site.log)} (see {site.log})")
            await asyncio.sleep(READY_POLL_S)

    def _child(self, spec: ChildSpec) -> Child:
        child = Child(
            spec,
            log_folder=self._home.logs,
            limits=self._settings.supervisor,
            tell=self._tell,
            changed=self._write_endpoints,
        )
        child.start()
        return child

    def _add(self, spec: ChildSpec) -> Child:
        self._children[spec.name] = self._child(spec)
        return self._children[spec.name]

    def _background(self, name: str, command: Sequence[str]) -> Child:
        observability = self._settings.observability
        port = pick_metrics_port(
            observability.metrics_port_base,
            host=observability.metrics_host,
            avoid={child.spec.metrics_port for child in self._everyone()},
        )
        environment = self._environment
        if name in LED_TO:
            environment = child_environment(self._settings, self._home, urls=self._urls, demo=self._demo)
        spec = background_spec(self._settings, name, command, environment=environment, metrics_port=port)
        return self._add(spec)

    def _everyone(self) -> list[Child]:
        """Those that run, in the order in which they were started."""
        servers = [child for name, child in self._children.items() if kind_of(name) in (POSTGRES, VALKEY)]
        return [*servers, *self._servers.children, *(each for each in self._children.values() if each not in servers)]

    # --- running

    def _tell(self, line: str) -> None:
        """What happens to children. Not while starting: what goes wrong then ends the start with one clear line."""
        if self._open or self._stop.is_set():
            say_event(line)

    def _write_endpoints(self) -> None:
        """Once the shop is open, and again whenever a process is replaced."""
        if not self._open:
            return
        try:
            write_endpoints(
                self._home.endpoints,
                urls=self._urls,
                demo=self._demo,
                supervisor_pid=os.getpid(),
                processes=[_running(child) for child in self._everyone()],
                parts=self._servers.parts,
                control=self._told,
            )
        except OSError as error:
            say_event(f"cannot write {self._home.endpoints}: {error.strerror}")

    async def _reload(self, file: str) -> None:
        say_event(f"{file} changed: starting the shop's processes again")
        await asyncio.gather(
            *(child.restart() for child in self._servers.children),
            *(child.restart() for child in self._children.values() if kind_of(child.spec.name) in (WORKER, SCHEDULER)),
        )

    async def _do(self, asked: Mapping[str, Any], say: Say) -> None:
        """What a command asks for. Raises: StartupError."""
        match asked:
            case {"do": "scale", "counts": dict(told)}:
                counts = parse_counts([f"{kind}={count}" for kind, count in told.items()])
                for kind, count in counts.items():
                    await (self._scale_workers(count, say) if kind == WORKER else self._servers.scale(kind, count, say))
                    self._counts[kind] = count
                await say(", ".join(f"{kind}={count}" for kind, count in self._counts.items()))
            case {"do": "restart"}:
                await self._servers.restart(say)
                others = [each for name, each in self._children.items() if kind_of(name) in (WORKER, SCHEDULER)]
                await asyncio.gather(*(child.restart() for child in others))
                await self._all_ready(others)
                await say("every process was replaced")
            case _:
                raise StartupError("this shop is of another version: it does not know that command")

    async def _scale_workers(self, count: int, say: Say) -> None:
        """What waits for a worker waits in PostgreSQL meanwhile."""
        commands = worker_commands(count)
        old = [name for name in self._children if kind_of(name) == WORKER]
        await asyncio.gather(*(self._children[name].stop() for name in old))
        for name in old:
            del self._children[name]
        await self._all_ready([self._background(name, command) for name, command in commands.items()])
        self._write_endpoints()
        await say(f"{count} worker processes run")

    # --- stopping

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # started with nohup
            loop.add_signal_handler(number, self._told_to_stop)

    def _told_to_stop(self) -> None:
        if not self._stop.is_set():
            say("")
            say_event("stopping; once more kills everything at once")
            self._stop.set()
            return
        self._servers.kill()
        for child in self._children.values():
            child.kill()
        self._home.endpoints.unlink(missing_ok=True)
        os._exit(INTERRUPTED)

    async def _stop_all(self) -> None:
        """In order, each group at once; bounded, since each child is killed when its time is over."""
        self._open = False
        self._home.endpoints.unlink(missing_ok=True)
        await self._control.close()
        for kinds in STOP_ORDER:
            group = [child for name, child in self._children.items() if kind_of(name) in kinds]
            await asyncio.gather(self._servers.stop(kinds), *(child.stop() for child in group))
        if self._postgres is not None:
            self._postgres.forget_socket()


def _running(child: Child) -> RunningProcess:
    return RunningProcess(child.spec.name, child.pid, child.spec.metrics_port)


def _explained(step: object) -> None:
    """Call a preparation; what the system refuses becomes one clear line."""
    assert callable(step)
    try:
        step()
    except OSError as error:
        place = f" {error.filename}" if isinstance(error.filename, (str, Path)) else ""
        raise StartupError(f"cannot prepare the servers: {error.strerror}{place}") from None
