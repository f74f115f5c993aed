"""The processes of a shop that answer requests: started, replaced, more and fewer of them, without losing a request.

The site's listening sockets are the supervisor's and outlive its processes. None is closed while the shop runs, since
connections may wait in it; with fewer processes than sockets, some processes listen on several. What waits in the
socket of a process that died or hangs, the processes beside it take. A process of a part has a port of its own, which
the site is told of while it serves: one that died is not waited for.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from tidegate.ops.children import Child, ChildSpec
from tidegate.ops.counts import CHECKOUT, GATE, SITE
from tidegate.ops.fleet import pick_metrics_port, server_spec
from tidegate.ops.home import Home
from tidegate.ops.sockets import another_listener, open_listeners
from tidegate.platform.embedded.ports import free_port
from tidegate.platform.settings import Settings

PARTS = (GATE, CHECKOUT)
LEAVE_MARGIN_S = 3.0
"""What a process that drains gets beyond what its connections may take to end."""

PACE_S = 2.0
"""How long at most the next process is waited with until a replaced one has left: its idle connections may keep it."""

UNTOLD_S = 1.0
"""By then every site process knows that a part's process is gone from the endpoints file."""

Say = Callable[[str], Awaitable[None]]


@dataclass(slots=True, eq=False)
class Server:
    """One of them: where it listens (a process of a part: on a port of its own), and its child."""

    listeners: tuple[socket.socket, ...]
    port: int
    child: Child

    @property
    def name(self) -> str:
        """As logs and the endpoints file name it."""
        return self.child.spec.name


class Servers:
    """All of them. `add` starts a child; `changed` is called when others should learn of a change."""

    def __init__(
        self, settings: Settings, home: Home, *, add: Callable[[ChildSpec], Child], changed: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._home = home
        self._add = add
        self._changed = changed
        self._environment: Mapping[str, str] = {}
        self._site_sockets: list[socket.socket] = []
        self._servers: dict[str, list[Server]] = {SITE: [], GATE: [], CHECKOUT: []}
        self._leaving: dict[Child, asyncio.Task[None]] = {}
        self._coming: set[Child] = set()
        self._started = 0

    @property
    def children(self) -> list[Child]:
        """Those that serve, in order, and those that are about to."""
        return [server.child for kind in self._servers.values() for server in kind]

    @property
    def parts(self) -> dict[str, list[int]]:
        """The ports of the parts."""
        return {kind: [server.port for server in self._servers[kind]] for kind in PARTS if self._servers[kind]}

    def listen(self, counts: Mapping[str, int]) -> None:
        """Open the site's sockets. Raises: StartupError when the address is taken."""
        self._site_sockets = open_listeners(self._settings.host, self._settings.port, slots=counts[SITE])

    def start(self, counts: Mapping[str, int], *, environment: Mapping[str, str], gate_fd: int) -> None:
        """Start them; they begin to serve at the end of the pipe `gate_fd`."""
        self._environment = environment
        for kind in self._servers:
            for number in range(counts[kind]):
                listeners = self._listeners(kind, number, counts[kind])
                self._servers[kind].append(self._server(kind, number, listeners, gate_fd=gate_fd))
        self._coming.clear()

    async def ready(self) -> None:
        """Return when all serve. Raises: StartupError."""
        await asyncio.gather(*(self._ready(child) for child in self.children))

    async def scale(self, kind: str, count: int, say: Say) -> None:
        """Have `count` of a kind. Raises: StartupError when one does not start; those that served go on."""
        old, sockets = self._servers[kind], len(self._site_sockets)
        for _ in range(count - sockets if kind == SITE else 0):
            self._site_sockets.append(
                another_listener(self._settings.host, self._settings.port, beside=self._site_sockets[0])
            )
        wanted = [self._listeners(kind, number, count) for number in range(count)]
        kept = [
            old[number] if number < len(old) and set(old[number].listeners) == set(listeners) else None
            for number, listeners in enumerate(wanted)
        ]
        try:
            new = await self._new(kind, {number: wanted[number] for number, same in enumerate(kept) if same is None})
        except BaseException:
            del self._site_sockets[sockets:]  # nobody listens on them, so nothing waits in them
            raise
        self._servers[kind] = [same or new[number] for number, same in enumerate(kept)]
        self._changed()
        gone = [server for server in old if server not in kept]
        leaving = [self._leave(kind, server) for server in gone]
        for server in new.values():
            await say(f"{server.name} serves (process {server.child.pid})")
        await asyncio.gather(*leaving)
        for server in gone:
            await say(f"{server.name} has finished what it held and left")

    async def restart(self, say: Say) -> None:
        """Replace them one by one. Raises: StartupError when one does not start; the old one serves on."""
        for kind in (*PARTS, SITE):
            for number, old in enumerate(list(self._servers[kind])):
                new = (await self._new(kind, {number: old.listeners}))[number]
                self._servers[kind][number] = new
                self._changed()
                leaving = self._leave(kind, old)
                await say(f"{new.name} serves (process {new.child.pid})")
                await asyncio.wait({leaving}, timeout=PACE_S)
        await asyncio.gather(*self._leaving.values())

    async def stop(self, kinds: Sequence[str]) -> None:
        """Stop all of some kinds, and those that are leaving."""
        servers = [server for kind in kinds for server in self._servers.get(kind, ())]
        children = [server.child for server in servers]
        if SITE in kinds:
            children += [*self._leaving, *self._coming]
        stopping = [asyncio.create_task(child.stop()) for child in children]
        await asyncio.sleep(0)  # they are asked to stop before their sockets close
        for listener in self._site_sockets if SITE in kinds else ():
            listener.close()
        await asyncio.gather(*stopping)

    def kill(self) -> None:
        """End all at once."""
        for child in [*self.children, *self._leaving, *self._coming]:
            child.kill()

    # --- one of them

    def _listeners(self, kind: str, number: int, count: int) -> tuple[socket.socket, ...]:
        """The sockets of process `number` (0 is the first) of `count`."""
        return tuple(dict.fromkeys(self._site_sockets[number::count])) if kind == SITE else ()

    async def _new(self, kind: str, wanted: Mapping[int, tuple[socket.socket, ...]]) -> dict[int, Server]:
        """Processes that serve, by their numbers. Raises: StartupError when one of them does not come to that."""
        made = {number: self._server(kind, number, listeners) for number, listeners in wanted.items()}
        coming = {server.child for server in made.values()}
        try:
            await asyncio.gather(*(self._ready(child) for child in coming))
        except BaseException:
            for child in coming:
                child.kill()
            await asyncio.gather(*(child.stop() for child in coming), return_exceptions=True)
            raise
        finally:
            self._coming -= coming
        return made

    def _server(self, kind: str, number: int, listeners: tuple[socket.socket, ...], *, gate_fd: int = -1) -> Server:
        self._started += 1
        others = [server for each in self._servers.values() for server in each]
        port = 0 if kind == SITE else free_port(avoid=[server.port for server in others])
        name = f"{kind}-{number + 1}"
        observability = self._settings.observability
        taken = {child.spec.metrics_port for child in [*self.children, *self._leaving, *self._coming]}
        metrics_port = pick_metrics_port(observability.metrics_port_base, host=observability.metrics_host, avoid=taken)
        spec = server_spec(
            self._settings,
            kind,
            name,
            environment=self._environment,
            listeners=listeners,
            beside=[each for each in self._site_sockets if each not in listeners] if kind == SITE else (),
            port=port,
            metrics_port=metrics_port,
            started_file=self._home.run / f"started-{os.getpid()}-{self._started}",
            gate_fd=gate_fd,
        )
        server = Server(listeners, port, self._add(spec))
        self._coming.add(server.child)
        return server

    async def _ready(self, child: Child) -> None:
        await child.ready(timeout_s=self._settings.supervisor.start_timeout_s)

    def _leave(self, kind: str, server: Server) -> asyncio.Task[None]:
        """Let one finish what it holds; the task ends with it."""
        task = asyncio.create_task(self._let_leave(kind, server.child))
        self._leaving[server.child] = task
        task.add_done_callback(lambda _: self._leaving.pop(server.child, None))
        return task

    async def _let_leave(self, kind: str, child: Child) -> None:
        http = self._settings.http
        if kind in PARTS:
            await asyncio.sleep(UNTOLD_S)
        patience_s = http.keep_alive_s + http.shutdown_grace_s + LEAVE_MARGIN_S
        await child.stop(with_signal=signal.SIGQUIT, timeout_s=patience_s + self._settings.supervisor.stop_timeout_s)
