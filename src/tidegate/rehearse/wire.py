"""HTTP/1.1 as the crowd speaks it: kept-alive connections, one request at a time each, answers read no further than
is needed.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, cast

import msgspec

Asker = TypeVar("Asker")
"""For whom a request is made: whatever is told of its answer."""

ID_MARK = b'"id":"'
ID_LENGTH = 36
MOST_BYTES = 4 << 20
"""Of an answer; a longer one ends its connection."""

KEPT_S = 10.0
"""As browsers do, the crowd ends a connection that was idle for so long: a server may end it at the same moment."""

ENDED_AT_ONCE = 64
OVERLOADED = 503


@dataclass(frozen=True, slots=True)
class Ways:
    """How the crowd reaches the shop: over so many connections, from these addresses of this machine in turn."""

    host: str
    port: int
    connections: int = 256
    addresses: Sequence[str] = ()


class Answer:
    """A whole response as it came; `body_at` is where its body begins."""

    __slots__ = ("_body_at", "_data", "status")

    def __init__(self, status: int, data: bytes, body_at: int) -> None:
        self.status = status
        self._data = data
        self._body_at = body_at

    def body(self) -> bytes:
        """The body."""
        return self._data[self._body_at :]

    def header(self, name: bytes) -> bytes:
        """A header by its lower-case name; empty when it is not there."""
        at = self._data.find(b"\r\n" + name + b": ", 0, self._body_at)
        if at < 0:
            return b""
        begin = at + len(name) + 4
        return self._data[begin : self._data.find(b"\r\n", begin)]

    def identity(self) -> bytes:
        """The id of the document, as text; empty when it has none."""
        at = self._data.find(ID_MARK, self._body_at)
        return self._data[at + len(ID_MARK) : at + len(ID_MARK) + ID_LENGTH] if at >= 0 else b""

    def is_paid(self) -> bool:
        """Whether it is a paid order."""
        return self._data.find(b'"state":"paid"', self._body_at) >= 0

    def is_refusal(self) -> bool:
        """Whether the shop had too much to do for it."""
        return self.status == OVERLOADED

    def is_unsettled(self) -> bool:
        """Whether it is an order whose payment is still under way."""
        return self._data.find(b'"state":"awaiting_payment"', self._body_at) >= 0

    def problem(self) -> str:
        """The slug of a problem document, or the status."""
        try:
            found = msgspec.json.decode(self._data[self._body_at :], type=dict[str, object])
        except msgspec.MsgspecError:
            return str(self.status)
        return str(found.get("type", self.status)).rsplit("/", 1)[-1]


class Listener(Protocol[Asker]):
    """Who is told of answers."""

    def opened(self, connection: Connection[Asker]) -> None:
        """The connection can be used."""

    def answered(self, connection: Connection[Asker], asker: Asker, answer: Answer) -> None:
        """The request of `asker` was answered."""

    def lost(self, connection: Connection[Asker], asker: Asker | None) -> None:
        """The connection is gone, and with it the answer to `asker` if there was one."""


class Connection(asyncio.Protocol, Generic[Asker]):
    """One kept-alive connection with at most one request in flight."""

    __slots__ = ("_asker", "_listener", "_pending", "_transport", "free_s", "last", "served")

    def __init__(self, listener: Listener[Asker]) -> None:
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._asker: Asker | None = None
        self._pending = b""
        self.served = False
        """Whether any request was answered over it."""
        self.last = False
        """Whether the server said that it ends the connection with this answer."""
        self.free_s = 0.0
        """Since when nobody uses it (`time.perf_counter`)."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Tell the listener."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own says so only by its methods
        self._listener.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the listener."""
        asker, self._asker, self._transport = self._asker, None, None
        self._listener.lost(self, asker)

    def send(self, asker: Asker, request: bytes) -> None:
        """Send one request for `asker`."""
        assert self._transport is not None
        self._asker = asker
        self._transport.write(request)

    def close(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Collect one answer. Only answers with a Content-Length, or without a body, are understood."""
        if self._pending:
            data = self._pending + data
        head_end = data.find(b"\r\n\r\n")
        if head_end < 0:
            self._pending = data
            if len(data) > MOST_BYTES:
                self.close()
            return
        at = data.find(b"content-length: ", 0, head_end)
        if at < 0:  # not every server writes it as ours does
            at = data.find(b"Content-Length: ", 0, head_end)
        try:
            length = int(data[at + 16 : data.find(b"\r", at)]) if at >= 0 else 0
            status = int(data[9:12])
        except ValueError:  # this is no HTTP
            self.close()
            return
        if self._asker is None or (at < 0 and status not in (204, 304)) or length > MOST_BYTES:
            self.close()
            return
        if len(data) < head_end + 4 + length:
            self._pending = data
            return
        self._pending = b""
        self.last = data.find(b"\r\nconnection: close", 0, head_end + 2) >= 0
        asker, self._asker, self.served = self._asker, None, True
        self._listener.answered(self, asker, Answer(status, data, head_end + 4))


class Idle(Generic[Asker]):
    """Connections that nobody uses. The one last used is taken first, and none that the server may be about to end."""

    def __init__(self, *, kept_s: float = KEPT_S) -> None:
        self._kept_s = kept_s
        self._connections: deque[Connection[Asker]] = deque()

    def put(self, connection: Connection[Asker]) -> None:
        """Keep it; one that the server ends is none."""
        if not connection.last:
            connection.free_s = time.perf_counter()
            self._connections.append(connection)

    def take(self) -> Connection[Asker] | None:
        """One that can be used; None where there is none. An old one is ended, so that a new one takes its place."""
        if not self._connections:
            return None
        connection = self._connections.pop()
        if not self._is_old(connection):
            return connection
        connection.close()
        return None

    def end_old(self, *, most: int = ENDED_AT_ONCE) -> None:
        """End some of those that were idle for too long; whoever is told makes new ones."""
        for _ in range(most):
            if not self._connections or not self._is_old(self._connections[0]):
                return
            self._connections.popleft().close()

    def discard(self, connection: Connection[Asker]) -> None:
        """It has ended."""
        if connection in self._connections:
            self._connections.remove(connection)

    def _is_old(self, connection: Connection[Asker]) -> bool:
        return time.perf_counter() - connection.free_s > self._kept_s
