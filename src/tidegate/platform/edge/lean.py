"""Short ways through the server: a response in one write, and answers that wait ready to be sent.

uvicorn writes head and body apart, two calls of the system and two packets, and looks every header up in regular
expressions, also those that every response carries. `WholeCycle` writes once, and knows the lines of those headers.

A `Shelf` holds answers that are the same for everyone: a request for one of them is answered while it is read, without
a task, a framework or a layer of the edge. What those would have done is done here: the host is checked, the size of
the head is bounded, the client is taken from a trusted proxy's word, the request is noted, and the response carries the
same headers. Whoever asks too often gets the same refusal as on the long way, which the server holds back for a while
without a task. Whatever is out of the ordinary (a body, another method, a query) goes the long way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import random
from time import perf_counter, time
from typing import TYPE_CHECKING, Any

from uuid_utils import uuid7
from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE, RequestResponseCycle

from tidegate.platform.access_log import note_request
from tidegate.platform.edge.errors import problem_response
from tidegate.platform.edge.exchange import first_of_each
from tidegate.platform.edge.headers import Header, cache_default, default_headers
from tidegate.platform.edge.hosts import HostList
from tidegate.platform.edge.proxies import ProxyList, good_request_id
from tidegate.platform.overload.doors import PLACE, Place
from tidegate.platform.problems import Problem
from tidegate.platform.settings import Settings

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent

SPECIAL = frozenset({b"connection", b"transfer-encoding"})
"""Headers that say how the connection goes on: responses with one are left to uvicorn."""

LONG_WAY = frozenset({b"content-length", b"expect", b"transfer-encoding", b"upgrade"})
"""Headers of requests that the shelf leaves alone."""

KNOWN_REFUSALS = 128
"""Refusals that are kept written, one for each time to wait in seconds."""


class WholeCycle(RequestResponseCycle):
    """uvicorn's request and response, with a response that is whole at once written at once.

    Its head waits for the first part of its body, as ASGI wants it.
    """

    lines: Mapping[Header, bytes]
    """Headers that many responses carry, as they are written."""
    place: Place | None = None
    """Its place inside, where they are counted."""
    _start: Any = None

    async def run_asgi(self, app: Any) -> None:
        """Serve it; whatever becomes of it, its place is free afterwards."""
        place = self.place
        if place is None:
            await super().run_asgi(app)
            return
        PLACE.set(place)
        try:
            await super().run_asgi(app)
        finally:
            place.leave(0)

    async def send(self, message: ASGISendEvent) -> None:
        """Take a part of the response (ASGI)."""
        if message["type"] == "http.response.start" and not self.response_started:
            self.response_started = True
            self._start = message
            if self.place is not None:
                self.place.leave(message["status"])
            return
        start, self._start = self._start, None
        if start is None:
            await super().send(message)
            return
        whole = None if message.get("more_body") or self.scope["method"] == "HEAD" else self._whole(start, message)
        if whole is None:
            self.response_started = False
            await super().send(start)
            await super().send(message)
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        self.waiting_for_100_continue = False
        self.transport.write(whole)
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def _whole(self, start: Any, message: Any) -> bytes | None:
        """All bytes of a response; None where its length is not told or uvicorn must look at how to go on."""
        body: bytes = message.get("body", b"")
        written = [STATUS_LINE[start["status"]]]
        for name, value in self.default_headers:
            written += (name, b": ", value, b"\r\n")
        length = b"0" if start["status"] in (204, 304) else None
        for header in start.get("headers", ()):
            line = self.lines.get(header)
            if line is None:
                name, value = header
                name = name.lower()
                if name in SPECIAL or HEADER_RE.search(name) or HEADER_VALUE_RE.search(value):
                    return None
                if name == b"content-length":
                    length = value
                line = b"%b: %b\r\n" % (name, value)
            written.append(line)
        if length is None or length != b"%d" % len(body):
            return None
        written.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        written.append(body)
        return b"".join(written)


def lines_of(headers: Sequence[Header]) -> dict[Header, bytes]:
    """Headers as they are written."""
    return {(name, value): b"%b: %b\r\n" % (name, value) for name, value in headers}


@dataclass(frozen=True, slots=True)
class Ready:
    """An answer to GET that waits ready. `route`: the address's template; `etag` is among the `headers` too."""

    route: str
    body: bytes
    etag: str
    headers: tuple[Header, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Who may have what is on a shelf, and what is said to those who may not.

    `wait_s` tells for a network address (empty: unknown) and the headers of a request how many seconds to wait, 0 for
    who may have it now; `refusal` is the problem to that number. A refusal is held back for about `held_s` (`spread`),
    of at most `held_most` connections at once.
    """

    wait_s: Callable[[str, Mapping[bytes, bytes]], int]
    refusal: Callable[[int], Problem]
    held_s: float = 0.0
    held_most: int = 0


def spread(seconds: float) -> float:
    """Half to one and a half times as many: who is refused together would come back together, time and again."""
    return seconds * (0.5 + random())  # noqa: S311 - no secret


EVERYBODY = Guard(wait_s=lambda address, headers: 0, refusal=lambda wait_s: Problem())


@dataclass(frozen=True, slots=True)
class _Shelved:
    route: str
    etag: bytes
    whole: bytes
    unchanged: bytes
    """What follows the status line and the first headers, of a 200 and of a 304."""


class Shelf:
    """Answers by their address, sent by `server.BoundedProtocol` itself. Empty until somebody fills it."""

    def __init__(self, settings: Settings) -> None:
        """Raises: StartupError when a setting of the edge is wrong."""
        self._hosts = HostList(settings)
        self._proxies = ProxyList(settings.http.trusted_proxies) if settings.http.trusted_proxies else None
        self.guard = EVERYBODY
        self.held = 0
        """How many connections wait for their refusal."""
        self._max_bytes = settings.http.max_header_bytes
        self._common = (*default_headers(settings), cache_default("/api/"))
        self._answers: dict[bytes, _Shelved] = {}
        self._refusal = lru_cache(maxsize=KNOWN_REFUSALS)(self._written_refusal)
        self.lines = lines_of((*self._common, cache_default("/"), (b"content-type", b"application/json")))

    def holds(self, target: bytes) -> bool:
        """Whether there is an answer for this target as it was sent."""
        return target in self._answers

    def fill(self, answers: Mapping[str, Ready]) -> None:
        """Hold these answers, by path, in place of all before."""
        self._answers = {path.encode(): self._shelved(answer) for path, answer in answers.items()}

    def answer(
        self, target: bytes, headers: Sequence[Header], *, client: str, date: Sequence[Header]
    ) -> tuple[bytes, float] | None:
        """The whole response to a GET request for `target` as it was sent, which this notes; None: the long way.

        With it comes for how many seconds to hold it back. `client`: network address of who asks. `date`: headers that
        the server itself adds.
        """
        found = self._answers.get(target)
        if found is None:
            return None
        started = perf_counter()
        host, wanted, size = b"", b"", len(target)
        chains: list[bytes] = []
        for name, value in headers:
            size += len(name) + len(value) + 4
            if name == b"host":
                if host:
                    return None
                host = value
            elif name == b"if-none-match":
                wanted = wanted or value
            elif name == b"x-forwarded-for":
                chains.append(value)
            elif name in LONG_WAY:
                return None
        if size > self._max_bytes or not self._hosts.is_allowed(host):
            return None
        known, request_id = first_of_each(headers), None
        if self._proxies is not None and self._proxies.trusts(client):
            client = self._proxies.client_of(chains) or client
            request_id = good_request_id(known.get(b"x-request-id", b""))
        wait_s = self.guard.wait_s(client, known)
        held_s = 0.0
        if wait_s:
            status, rest = self._refusal(wait_s)
            held_s = spread(self.guard.held_s) if self.held < self.guard.held_most else 0.0
        else:
            status, rest = (304, found.unchanged) if wanted == found.etag else (200, found.whole)
        request_id = request_id or uuid7().hex
        first = b"".join([b"%b: %b\r\n" % header for header in date])
        response = b"%bx-request-id: %b\r\n%b" % (STATUS_LINE[status] + first, request_id.encode(), rest)
        note_request(("GET", found.route, status, perf_counter() - started, request_id, time()))
        return response, held_s

    def _written_refusal(self, wait_s: int) -> tuple[int, bytes]:
        """Status, and what follows the first headers, of the refusal with this time to wait."""
        response = problem_response(self.guard.refusal(wait_s))
        return response.status_code, self._tail(dict(response.raw_headers)) + bytes(response.body)

    def _shelved(self, ready: Ready) -> _Shelved:
        own = dict(ready.headers)
        unchanged = {name: value for name, value in own.items() if name in (b"etag", b"cache-control")}
        return _Shelved(
            route=ready.route,
            etag=ready.etag.encode(),
            whole=self._tail({**own, b"content-length": b"%d" % len(ready.body)}) + ready.body,
            unchanged=self._tail(unchanged),
        )

    def _tail(self, own: Mapping[bytes, bytes]) -> bytes:
        headers = [*own.items(), *(header for header in self._common if header[0] not in own)]
        return b"".join(lines_of(headers).values()) + b"\r\n"
