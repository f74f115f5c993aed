"""A TCP proxy between a client and its server that breaks connections at a chosen byte.

    async with Proxy.before_postgres(url) as proxy:
        conn = await AsyncConnection.connect(proxy.url)
        proxy.down.cut_at(b"COMMIT")     # the server's answer to the next COMMIT never arrives

`up` is the way to the server, `down` the way back. Each way can cut the connection at a mark, fall silent at a mark,
or be slow. A cut closes both sides; silence keeps them open, as a network does that drops packets.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit, urlunsplit

CHUNK = 65_536

Dial = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


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
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        path = f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}"
        proxy = cls(lambda: asyncio.open_unix_connection(path))
        async with proxy:
            place = f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}"
            proxy.url = urlunsplit(parts._replace(netloc=place, query="sslmode=disable&gssencmode=disable"))
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

    def cut(self) -> None:
        """Break all connections now; new ones are taken."""
        for writer in self._writers:
            writer.transport.abort()

    def go_down(self) -> None:
        """Break all connections now, and every new one as soon as it is made."""

        async def refuse() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            raise ConnectionRefusedError("the server is down")

        self._dial = refuse
        self.cut()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        self._writers.add(writer)
        try:
            upstream_reader, upstream_writer = await self._dial()
        except OSError:
            writer.transport.abort()
            self._writers.discard(writer)
            return
        self._writers.add(upstream_writer)
        ways = (
            asyncio.create_task(self._pass_on(self.up, reader, upstream_writer)),
            asyncio.create_task(self._pass_on(self.down, upstream_reader, writer)),
        )
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for side in (writer, upstream_writer):
                side.transport.abort()
                self._writers.discard(side)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pass_on(self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the end of one side or a cut."""
        loop = asyncio.get_running_loop()
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        delivery = asyncio.create_task(self._deliver(on_the_way, writer))
        try:
            with suppress(ConnectionError):
                while chunk := await reader.read(CHUNK):
                    if way is self.up and self._last is not self.up:
                        self.round_trips += 1
                    self._last = way
                    if not await way.admit(chunk):
                        return
                    on_the_way.put_nowait((loop.time() + way.delay_s, chunk))
                await way.admit(b"")
                await on_the_way.join()
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
