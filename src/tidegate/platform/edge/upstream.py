"""Connections to a process that serves a part of the site: kept alive, one request at a time each."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import httptools
import structlog

from tidegate.platform.edge.headers import Header
from tidegate.platform.edge.silence import PATIENCE_S, Watch

log = structlog.get_logger(__name__)

MOST_BUFFERED = 262_144
"""Bytes of an answer that may wait for whoever asked; more stay in the kernel until some have left."""

OWN_TO_A_CONNECTION = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"date"})
"""Headers of an answer that the next server sets itself."""

QUESTION = b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
"""What a process is asked that says nothing; any answer is one."""


class ConnectionLost(Exception):
    """The connection ended before the answer did. `begun`: whether any of the answer had come."""

    def __init__(self, *, begun: bool) -> None:
        super().__init__("the connection was lost")
        self.begun = begun


class Upstream(asyncio.Protocol):
    """One connection: `ask`, then `head`, then `part` until there is no more."""

    __slots__ = (
        "_body", "_buffered", "_complete", "_head", "_headers", "_hear", "_lost", "_parser", "_paused", "_repeatable",
        "_reusable", "_transport", "_waiter", "idle_since_s",
    )  # fmt: skip

    def __init__(self, hear: Callable[[], None]) -> None:
        """`hear` is told whenever something comes."""
        self._hear = hear
        self._repeatable = False
        self._transport: asyncio.Transport | None = None
        self._lost = False
        self._waiter: asyncio.Future[None] | None = None
        self.idle_since_s = 0.0
        self._forget()

    def _forget(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[Header] = []
        self._head = False
        self._complete = False
        self._reusable = False
        self._body: deque[bytes] = deque()
        self._buffered = 0
        self._paused = False

    @property
    def usable(self) -> bool:
        """Whether another request may be sent on it."""
        return not self._lost and self._transport is not None and not self._transport.is_closing()

    @property
    def done(self) -> bool:
        """Whether the last answer came whole and was taken, and the other side keeps the connection."""
        return self._complete and not self._body and self._reusable and self.usable

    def ask(self, request: bytes, *, repeatable: bool = False) -> None:
        """Send a whole request; one that is `repeatable` may be given up to be asked elsewhere."""
        assert self._transport is not None
        self._forget()
        self._repeatable = repeatable
        self._transport.write(request)

    def give_up(self) -> None:
        """Have whoever waits for an answer that has not begun ask elsewhere, where that is harmless."""
        if self._repeatable and not self._head and self._transport is not None:
            self._transport.abort()  # to close it would wait until a frozen process has read what was sent

    async def head(self) -> tuple[int, list[Header]]:
        """Status and headers of the answer. Raises: ConnectionLost."""
        while not self._head:
            await self._wait()
        return self._parser.get_status_code(), self._headers

    async def part(self) -> tuple[bytes, bool]:
        """What has come of the body, and whether more will. Raises: ConnectionLost."""
        while not self._body and not self._complete:
            await self._wait()
        body = self._body.popleft() if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        self._buffered = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return body, not self._complete

    async def _wait(self) -> None:
        if self._lost:
            raise ConnectionLost(begun=self._head)
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def close(self) -> None:
        """End it."""
        if self._transport is not None:
            self._transport.close()

    # --- what asyncio calls

    def connection_made(self, transport: Any) -> None:
        """It stands."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer; whatever is none ends the connection."""
        self._hear()
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._lost = True
            self.close()
        if self._buffered > MOST_BUFFERED and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        if self._head:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._lost = True
        self._wake()

    # --- what the parser calls

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header of the answer."""
        if (small := name.lower()) not in OWN_TO_A_CONNECTION:
            self._headers.append((small, value))

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._head = True

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._body.append(body)
        self._buffered += len(body)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        self._complete = True
        self._reusable = self._parser.should_keep_alive()


class Address:
    """One process, where it listens, and the connections to it."""

    def __init__(self, port: int, *, idle_s: float, patience_s: float = PATIENCE_S) -> None:
        """`idle_s`: how long a connection may have been idle to be used; less than the other side keeps it."""
        self.port = port
        self.away_until_s = 0.0
        self.watch = Watch(self._ask_whether_it_lives, patience_s=patience_s, on_turn=self._turned)
        self._idle_s = idle_s
        self._idle: list[Upstream] = []
        self._in_use: set[Upstream] = set()
        self._closed = False

    def take(self, *, now_s: float) -> Upstream | None:
        """An idle connection, or None."""
        while self._idle:
            found = self._idle.pop()
            if found.usable and now_s - found.idle_since_s < self._idle_s:
                self._in_use.add(found)
                return found
            found.close()
        return None

    async def open(self) -> Upstream:
        """A new connection. Raises: OSError."""
        made = await self._connect()
        self._in_use.add(made)
        return made

    def give_back(self, connection: Upstream, *, now_s: float) -> None:
        """Keep it for the next request, if it is good for one."""
        self._in_use.discard(connection)
        if self._closed or not connection.done:
            connection.close()
            return
        connection.idle_since_s = now_s
        self._idle.append(connection)
        if now_s - self._idle[0].idle_since_s > self._idle_s:
            self._idle.pop(0).close()

    def close(self) -> None:
        """End the connections that nobody uses, and those in use once they are not."""
        self._closed = True
        self.watch.stop()
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    async def _connect(self) -> Upstream:
        make = partial(Upstream, self.watch.hear)
        _, made = await asyncio.get_running_loop().create_connection(make, "127.0.0.1", self.port)
        return made

    async def _ask_whether_it_lives(self) -> None:
        """Wait until it answers anything, or is gone: then its connections say so themselves."""
        with suppress(OSError, ConnectionLost):
            connection = await self._connect()
            try:
                connection.ask(QUESTION)
                await connection.head()
            finally:
                connection.close()

    def _turned(self, silent: bool) -> None:
        if not silent:
            log.warning("part_silent_no_more", port=self.port)
            return
        log.warning("part_silent", port=self.port, waiting=self.watch.waiting)
        for connection in self._in_use:
            connection.give_up()
