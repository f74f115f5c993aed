"""uvicorn with the bounds that it lacks: the size of a head while it arrives, silent connections, their number."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, cast

from starlette.types import ASGIApp
from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tidegate.platform.edge.glance import glance
from tidegate.platform.edge.headers import Header
from tidegate.platform.edge.lean import Shelf, WholeCycle
from tidegate.platform.edge.refusals import Entrance, may_go_on
from tidegate.platform.edge.relief import relieve
from tidegate.platform.overload.doors import Place
from tidegate.platform.overload.rules import Priority
from tidegate.platform.problems import HeadersTooLarge, MalformedBody, Overloaded, Problem
from tidegate.platform.settings import HttpSettings

LATE_BODY_S = 0.5
"""How long a request whose body is not there yet keeps its place."""

REASONS = {400: "Bad Request", 431: "Request Header Fields Too Large", 503: "Service Unavailable"}

DRAIN_LOOK_S = 0.05
"""How often a server that leaves looks whether its connections have ended."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection. The parser would collect an endless head; an idle stranger could keep a socket for ever."""

    limits: ClassVar[HttpSettings] = HttpSettings()
    shelf: ClassVar[Shelf | None] = None
    entrance: ClassVar[Entrance | None] = None
    cycles: ClassVar[type[WholeCycle]]
    _head_bytes = 0
    _head_open = True
    _only_head = True
    """Whether nothing but one unfinished head was in the bytes that were just parsed."""
    _head_timer: asyncio.TimerHandle | None = None
    draining: ClassVar[bool] = False
    """Whether this process leaves once everybody has their answer: each connection ends with its next one."""
    _answered = False
    """Whether the request that is being read has its answer."""
    _held: tuple[bytes, asyncio.TimerHandle] | None = None
    """An answer that waits, and what will send it."""
    _place: Place | None = None
    """The place of the request whose head has just been read, until its cycle has it."""
    _begun = False
    """Whether the parser is in the midst of a request."""
    _asked_s = float("-inf")
    """When the last request came that was refused without being parsed: the time of silence counts from there."""
    _body_late: tuple[Place, asyncio.TimerHandle] | None = None
    """The place of a request whose body has not come whole, and what will give it up."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or tell it at once that there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            self._refuse(Overloaded())
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        self._take_held()
        if self._body_late is not None:
            self._body_late[1].cancel()
            self._body_late = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; refuse a head that does not end within its bounds."""
        if self.transport.is_closing():
            return
        if self.entrance is not None and self.entrance.doors.crowded and self._turn_away(self.entrance, data):
            return
        self._only_head = self._head_open
        super().data_received(data)
        if self.entrance is not None and not self._head_open:
            self._await_body()
        if self._only_head:
            if self._head_timer is None:
                self._await_head()
            self._head_bytes += len(data)
            if self._head_bytes > self.limits.max_header_bytes and not self.transport.is_closing():
                self._refuse(HeadersTooLarge())

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._begun = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is whole: from here on the application's own bounds hold."""
        self._head_open = False
        self._only_head = False
        self._head_bytes = 0
        self._stop_timer()
        if self._held is not None:  # somebody asks on and does not wait: the long way makes them
            self._let_go()
        elif self.shelf is not None and self._answer_at_once(self.shelf):
            return
        if self.entrance is not None and not self._is_let_in(self.entrance):
            return
        self._unset_keepalive_if_required()  # an answer to a request in the same bytes may have begun that time
        try:
            super().on_headers_complete()
        finally:
            if self._place is not None:  # an address that cannot be read ends here
                self._place.leave(0)
                self._place = None

    def on_body(self, body: bytes) -> None:
        """Take a part of a body, and throw away that of a request which has its answer."""
        if not self._answered:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The next byte begins another head."""
        if self._answered:
            self._answered = False
            self._stop_timer()
            if self._held is None:
                self.on_response_complete()
        else:
            super().on_message_complete()
            if self._body_late is not None:
                self._take_body(*self._body_late)
        self._head_open = True
        self._begun = False

    def _answer_at_once(self, shelf: Shelf) -> bool:
        """Send what is on the shelf for this request, if anything, and nothing before it waits for its answer."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        busy = cycle is not None and not cycle.response_complete
        if busy or self.pipeline or self.flow.write_paused or self.transport.is_closing() or self.draining:
            return False
        parser = self.parser
        if parser.get_method() != b"GET" or parser.get_http_version() != "1.1" or not parser.should_keep_alive():
            return False
        client = self.client[0] if self.client else ""
        found = shelf.answer(self.url, self.headers, client=client, date=self.server_state.default_headers)
        if found is None:
            return False
        response, held_s = found
        if held_s:
            shelf.held += 1
            self._held = response, self.loop.call_later(held_s, self._let_go)
        else:
            self.transport.write(response)
        self._answered = True
        return True

    def _is_let_in(self, entrance: Entrance) -> bool:
        """Give the request a place, or refuse it."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if self.pipeline or (cycle is not None and not cycle.response_complete):
            return True  # it waits for the answer before it, and gets a place then
        method = self.parser.get_method()
        place = entrance.doors.admit(entrance.priority_of(method, self.url, self.headers))
        if place is not None:
            self._place = place
            return True
        self._answered = True
        if self.flow.write_paused:
            self.transport.abort()  # who asks on and reads no answer would have us keep all of them
        elif not self.transport.is_closing():
            ends = self.draining or not self.parser.should_keep_alive() or not may_go_on(self.headers)
            own = [*self.server_state.default_headers, *([(b"connection", b"close")] if ends else [])]
            doublings = entrance.doors.doublings
            self.transport.write(
                entrance.refusals.answer(method, self.url, self.headers, date=own, doublings=doublings)
            )
            if ends:
                self.transport.close()
        return False

    def _turn_away(self, entrance: Entrance, data: bytes) -> bool:
        """Refuse a request before the parser has seen it, which is most of what a refusal costs us; no: read it."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if self._begun or self._held is not None or (cycle is not None and not cycle.response_complete):
            return False
        asked = glance(data)
        if (
            asked is None
            or self.flow.write_paused
            or self.draining
            or (self.shelf is not None and self.shelf.holds(asked.target))
        ):
            return False
        if not entrance.turns_away(asked):
            return False
        date, doublings = self.server_state.default_headers, entrance.doors.doublings
        self.transport.write(entrance.refusals.document(date=date, doublings=doublings))
        if self.timeout_keep_alive_task is None:
            self._stop_timer()
            self.on_response_complete()
        else:
            self._asked_s = self.loop.time()
        return True

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that has been silent for long."""
        left_s = self._asked_s + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left_s, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def _await_body(self) -> None:
        """Who sends the rest of a body late holds no place meanwhile, and nobody who was refused may take for ever."""
        if self._answered:
            if self._head_timer is None:
                self._await_head()
            return
        place = getattr(self.cycle, "place", None)
        if place is not None and self._body_late is None:
            self._body_late = place, self.loop.call_later(LATE_BODY_S, place.step_out)

    def _take_body(self, place: Place, timer: asyncio.TimerHandle) -> None:
        """The rest of a body has come: who gave a place up for that time has it again."""
        timer.cancel()
        self._body_late = None
        place.step_in()
        place.start()

    def _let_go(self) -> None:
        """Send the answer that waits."""
        response = self._take_held()
        if response is not None and not self.transport.is_closing():
            self.transport.write(response)
            self.on_response_complete()

    def _take_held(self) -> bytes | None:
        """The answer that waits, which from now on waits no longer."""
        if self._held is None or self.shelf is None:
            return None
        (response, timer), self._held = self._held, None
        timer.cancel()
        self.shelf.held -= 1
        return response

    def shutdown(self) -> None:
        """Take no further requests: what uvicorn calls before it stops."""
        self._let_go()
        super().shutdown()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Begin to serve a request; uvicorn makes the cycle in the midst of its own work."""
        cycle.__class__ = self.cycles
        if self.draining and not self.pipeline:
            cycle.keep_alive = False
        if self.entrance is not None:
            cast("WholeCycle", cycle).place = self._place or self.entrance.doors.let_in(Priority.BROWSE)
            self._place = None
        super()._start_asgi_task(cycle, app)

    def drain(self) -> None:
        """Let an answer that has not begun tell that the connection ends with it."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is not None and not cycle.response_started and not self.pipeline:
            cycle.keep_alive = False

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls when the bytes are no HTTP."""
        self._refuse(MalformedBody("This is not an HTTP request."))

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.limits.request_timeout_s, self._head_overdue)

    def _head_overdue(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, problem: Problem) -> None:
        """Answer without the application, and close."""
        self._stop_timer()
        body = json.dumps(problem.document()).encode()
        retry = f"retry-after: {problem.retry_after_s}\r\n" if problem.retry_after_s else ""
        head = (
            f"HTTP/1.1 {problem.status} {REASONS[problem.status]}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\n{retry}cache-control: no-store\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


class StoppingServer(Server):
    """uvicorn's server, which says when it serves and when it begins to stop: endless responses would hold it up.

    SIGTERM ends it within `shutdown_grace_s` and closes idle connections at once. SIGQUIT ends it without losing a
    request: it accepts no more connections, and each one that it has ends with its next answer or by its idle time.
    """

    on_start: Callable[[], None] | None = None
    on_stop: Callable[[], None] | None = None
    drain_s: float = 0.0
    """Longest time to wait for connections to end by themselves."""
    beside: Sequence[socket.socket] = ()
    """The sockets of the processes beside it, for when one of them does not take its connections."""
    _relief: asyncio.Task[None] | None = None
    _drains = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        await super().startup(sockets)
        if self.started:
            if threading.current_thread() is threading.main_thread():
                asyncio.get_running_loop().add_signal_handler(signal.SIGQUIT, self.drain)
            if self.beside:
                relief = relieve(self.beside, make_protocol=self._make_protocol, has_room=self._has_room)
                self._relief = asyncio.create_task(relief)
            if self.on_start is not None:
                self.on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop in an orderly way."""
        if self._relief is not None:
            self._relief.cancel()
        if self.on_stop is not None:
            self.on_stop()
        if self._drains:
            await self._drain(sockets or [])
        await super().shutdown(sockets)

    def drain(self) -> None:
        """Leave without losing a request: what SIGQUIT asks for."""
        self._drains = self.should_exit = True

    def _make_protocol(self) -> asyncio.Protocol:
        protocol = cast("type[BoundedProtocol]", self.config.http_protocol_class)
        return protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    def _has_room(self) -> bool:
        protocol = cast("type[BoundedProtocol]", self.config.http_protocol_class)
        return len(self.server_state.connections) < protocol.limits.max_connections

    async def _drain(self, sockets: Sequence[socket.socket]) -> None:
        for server in self.servers:
            server.close()
        for sock in sockets:
            sock.close()
        protocol = cast("type[BoundedProtocol]", self.config.http_protocol_class)
        protocol.draining = True
        for connection in list(self.server_state.connections):
            cast("BoundedProtocol", connection).drain()
        deadline_s = asyncio.get_running_loop().time() + self.drain_s
        while self.server_state.connections and not self.force_exit and not self._captured_signals:
            if asyncio.get_running_loop().time() > deadline_s:
                return
            await asyncio.sleep(DRAIN_LOOK_S)


def make_server(
    app: ASGIApp,
    limits: HttpSettings,
    *,
    shelf: Shelf | None = None,
    entrance: Entrance | None = None,
    on_start: Callable[[], None] | None = None,
    on_stop: Callable[[], None] | None = None,
    beside: Sequence[socket.socket] = (),
) -> StoppingServer:
    """A uvicorn server for `app` with our limits; it logs through the process's own logging, and no access log.

    What is on the `shelf` is answered without `app`; so are those whom the `entrance` refuses. `on_start` is called
    once it serves, `on_stop` before it waits for responses to end. Connections that wait in the sockets `beside` its
    own are taken, too.
    """
    lines: Mapping[Header, bytes] = {} if shelf is None else shelf.lines
    cycles = type("LinedCycle", (WholeCycle,), {"lines": lines})
    own = {"limits": limits, "shelf": shelf, "entrance": entrance, "cycles": cycles}
    protocol = type("LimitedProtocol", (BoundedProtocol,), own)
    server = StoppingServer(
        Config(
            _typed(app),
            http=protocol,
            loop="uvloop",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=limits.keep_alive_s,
            timeout_graceful_shutdown=limits.shutdown_grace_s,
        )
    )
    server.on_start, server.on_stop, server.beside = on_start, on_stop, beside
    server.drain_s = limits.keep_alive_s + limits.shutdown_grace_s
    return server


def listen(host: str, port: int) -> socket.socket:
    """A listening socket with SO_REUSEPORT, so that several processes may share the port evenly."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sends at once only where it is named
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "SO_REUSEPORT"):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((host, port))
    sock.setblocking(False)
    return sock


def _typed(app: ASGIApp) -> Any:
    """Starlette's and uvicorn's types of the same protocol do not know each other."""
    return app
