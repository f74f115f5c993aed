"""A TCP proxy between a client and its server that breaks what passes: in tests at a chosen byte, in rehearsals all.

    async with Proxy.before_postgres(url) as proxy:
        conn = await AsyncConnection.connect(proxy.url)
        proxy.down.cut_at(b"COMMIT")     # the server's answer to the next COMMIT never arrives
        proxy.break_all(Break.SLOW, delay_s=0.3)

`up` is the way to the server, `down` the way back. Each way can cut the connection at a mark, fall silent at a mark,
or be slow. A cut resets both sides; silence keeps them open, as a network does that drops packets.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import parse_qs, urlsplit, urlunsplit

CHUNK = 65_536
ON_THE_WAY = 256
"""Most pieces of one direction of a connection that wait for their time."""

RESET_AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER that makes the kernel send a reset, not a farewell."""

Dial = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Break(StrEnum):
    """What a network does to all that passes. RESET also refuses what is new; BLACK_HOLE takes it and is silent."""

    NONE = "none"
    SLOW = "slow"
    RESET = "reset"
    BLACK_HOLE = "black_hole"


@dataclass(eq=False)
class Way:
    """One direction of all connections."""

    passed: int = 0
    """Bytes that came so far."""
    delay_s: float = 0.0
    """How much later each byte arrives."""
    cuts: int = 0
    """How many connections were cut at a mark."""
    _cut_marks: list[bytes] = field(default_factory=list)
    _silence_marks: list[bytes] = field(default_factory=list)
    _open: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._open.set()

    @property
    def silent(self) -> bool:
        """Whether bytes are held back."""
        return not self._open.is_set()

    def cut_at(self, mark: bytes, *, times: int = 1) -> None:
        """Cut the connection instead of passing on the next bytes that contain `mark`, `times` times."""
        self._cut_marks += [mark] * times

    def fall_silent(self, *, at: bytes = b"") -> None:
        """Hold back all bytes: from now on, or from the next ones that contain `at`."""
        if at:
            self._silence_marks.append(at)
        else:
            self._open.clear()

    def speak(self) -> None:
        """End the silence; what was held back arrives."""
        self._open.set()

    async def admit(self, chunk: bytes) -> bool:
        """Wait until these bytes may go on; false when the connection is to be cut instead."""
        self.passed += len(chunk)
        for mark in self._cut_marks:
            if mark in chunk:
                self._cut_marks.remove(mark)
                self.cuts += 1
                return False
        for mark in self._silence_marks:
            if mark in chunk:
                self._silence_marks.remove(mark)
                self._open.clear()
                break
        await self._open.wait()
        return True


class Proxy:
    """Listens on a port of its own at 127.0.0.1 and passes bytes on to whatever `dial` connects to."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._refuses = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._last: Way | None = None
        self.up, self.down = Way(), Way()
        self.connections = 0
        self.round_trips = 0
        """How often the client's side spoke after the server's, over all connections."""
        self.port = 0
        self.url = ""

    @classmethod
    @asynccontextmanager
    async def before_postgres(cls, url: str) -> AsyncIterator[Proxy]:
        """A proxy before the PostgreSQL of a URL with a socket folder; its own `url` leads through it."""
        async with cls(lambda: dial_url(url)) as proxy:
            proxy.url = detour_url(url, proxy.port)
            yield proxy

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def has_connections(self) -> bool:
        """Whether anybody is connected now; once that has ended, all that was to arrive has."""
        return bool(self._writers)

    def cut(self) -> None:
        """Break all connections now; new ones are taken."""
        for writer in self._writers:
            _reset(writer)

    def go_down(self) -> None:
        """Break all connections now, and every new one as soon as it is made."""
        self._refuses = True
        self.cut()

    def break_all(self, how: Break, *, delay_s: float = 0.0) -> None:
        """Do this to everything that passes, from now on and instead of what was done before.

        `delay_s` is how much later each byte arrives of a SLOW network, each way.
        """
        self.up.delay_s = self.down.delay_s = delay_s if how is Break.SLOW else 0.0
        for way in (self.up, self.down):
            if how is Break.BLACK_HOLE:
                way.fall_silent()
            else:
                way.speak()
        self._refuses = how is Break.RESET
        if self._refuses:
            self.cut()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.CancelledError):  # at our own end; asyncio would write of it to the log
            await self._lead(reader, writer)

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        self._writers.add(writer)
        try:
            if self._refuses:
                raise ConnectionRefusedError("the server is down")
            upstream_reader, upstream_writer = await self._dial()
        except OSError:
            _reset(writer)
            self._writers.discard(writer)
            return
        self._writers.add(upstream_writer)
        ways = (
            asyncio.create_task(self._pass_on(self.up, reader, upstream_writer)),
            asyncio.create_task(self._pass_on(self.down, upstream_reader, writer)),
        )
        ended = False
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            ended = all(way.result() for way in done)
        finally:
            for side in (writer, upstream_writer):
                if ended:
                    side.close()  # what is on its way arrives first
                else:
                    _reset(side)
                self._writers.discard(side)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pass_on(self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Until the end of one side, or a cut: then false."""
        loop = asyncio.get_running_loop()
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(ON_THE_WAY)
        delivery = asyncio.create_task(self._deliver(on_the_way, writer))
        try:
            try:
                while chunk := await reader.read(CHUNK):
                    if way is self.up and self._last is not self.up:
                        self.round_trips += 1
                    self._last = way
                    if not await way.admit(chunk):
                        return False
                    await on_the_way.put((loop.time() + way.delay_s, chunk))
                await way.admit(b"")
                await on_the_way.join()
            except ConnectionError:
                return False
            return True
        finally:
            delivery.cancel()
            await asyncio.gather(delivery, return_exceptions=True)

    async def _deliver(self, chunks: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, chunk = await chunks.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            with suppress(ConnectionError):
                writer.write(chunk)
                await writer.drain()
            chunks.task_done()


def dial_url(url: str) -> Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to the server of a URL: over TCP, or to the PostgreSQL whose socket folder it names."""
    parts = urlsplit(url)
    if parts.hostname:
        assert parts.port is not None
        return asyncio.open_connection(parts.hostname, parts.port)
    query = parse_qs(parts.query)
    return asyncio.open_unix_connection(f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}")


def detour_url(url: str, port: int) -> str:
    """The same URL with a port of this machine in the place of its server."""
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    query = "sslmode=disable&gssencmode=disable" if parts.scheme.startswith("postgres") else parts.query
    return urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{port}", query=query))


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection as a broken network does."""
    side = writer.get_extra_info("socket")
    if side is not None and side.family == socket.AF_INET:
        with suppress(OSError, ValueError):  # it may be closed already
            side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_ONCE)
    writer.transport.abort()
