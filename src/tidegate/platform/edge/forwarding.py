"""Parts of the site that processes of their own serve: their requests go there, whoever the browser asked.

`tidegate up` says in its endpoints file which parts have processes, and where these listen. A part without a process
that answers is served by the site itself, which has all routes: a part that is away costs nothing but its own speed. A
process that is there and says nothing (see `silence`) is left alone until it does.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import Counter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidegate.platform.edge.errors import FAILED_KEY
from tidegate.platform.edge.headers import Header
from tidegate.platform.edge.proxies import TRUSTED_KEY
from tidegate.platform.edge.silence import PATIENCE_S
from tidegate.platform.edge.upstream import Address, ConnectionLost, Upstream
from tidegate.platform.overload.doors import outside
from tidegate.platform.problems import Overloaded
from tidegate.platform.settings import HttpSettings
from tidegate.platform.texts import text as _

log = structlog.get_logger(__name__)

FORWARDED = Counter("tidegate_forwarded", "Requests that another process was asked, by how that went.", ["part", "how"])

LOOK_EVERY_S = 0.25
"""How often it is looked which parts have processes."""

AWAY_S = 0.5
"""How long a process that could not be reached is not asked again."""

MARGIN_S = 3.0
"""What a part may take beyond its own limit of time; and how long before a part drops a connection we do."""

NOT_PASSED_ON = frozenset(
    {
        b"connection", b"keep-alive", b"te", b"trailer", b"upgrade", b"expect", b"proxy-connection", b"content-length",
        b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded",
    }
)  # fmt: skip
"""Headers of the connection to us, or that only we may say."""

SAFE = frozenset({"GET", "PUT", "DELETE"})
"""Methods that may be asked twice (RFC 9110)."""

Routes = Iterable[tuple[str, str]]
"""Methods and templates of addresses: `("GET", "/orders/{order_id}")`."""


class Parts:
    """Which parts there are, and the processes of each, as the endpoints file says now."""

    def __init__(self, file: Path, limits: HttpSettings, *, patience_s: float = PATIENCE_S) -> None:
        """`patience_s`: see `silence.PATIENCE_S`."""
        self._file = file
        self._patience_s = patience_s
        self._idle_s = max(limits.keep_alive_s - MARGIN_S, 1.0)
        self._look_at_s = 0.0
        self._seen: tuple[int, int] | None = None
        self._addresses: dict[int, Address] = {}
        self._parts: Mapping[str, Sequence[Address]] = {}

    def now(self, now_s: float) -> Mapping[str, Sequence[Address]]:
        """The addresses of each part; `now_s` is the loop's time."""
        if now_s >= self._look_at_s:
            self._look_at_s = now_s + LOOK_EVERY_S
            self._look()
        return self._parts

    def _look(self) -> None:
        try:
            found = os.stat(self._file)
            seen = (found.st_mtime_ns, found.st_ino)
            if seen == self._seen:
                return
            told = json.loads(self._file.read_bytes()).get("parts", {})
            parts = {str(part): [int(port) for port in ports] for part, ports in told.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            seen, parts = None, {}
        self._seen = seen
        ports = {port for each in parts.values() for port in each}
        for gone in self._addresses.keys() - ports:
            self._addresses.pop(gone).close()
        for port in ports - self._addresses.keys():
            self._addresses[port] = Address(port, idle_s=self._idle_s, patience_s=self._patience_s)
        self._parts = {part: [self._addresses[port] for port in each] for part, each in parts.items() if each}

    def close(self) -> None:
        """End the idle connections, and ask nobody any more."""
        for address in self._addresses.values():
            address.close()


class Forwarding:
    """Asks the process of a part where there is one, and `app` for everything else (ASGI).

    `app` says what went wrong, too: the problem is in its scope at FAILED_KEY.
    """

    def __init__(self, app: ASGIApp, *, parts: Parts, routes: Mapping[str, Routes], limits: HttpSettings) -> None:
        self._app = app
        self._parts = parts
        self._limits = limits
        self._patterns = {part: _patterns(those) for part, those in routes.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        now_s = asyncio.get_running_loop().time()
        parts = self._parts.now(now_s)
        part = self._part_of(scope, parts) if parts else ""
        if not part:
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._limits.request_timeout_s):
                body = await _whole_body(scope, receive, most=self._limits.max_body_bytes)
        except TimeoutError:
            await self._app({**scope, FAILED_KEY: Overloaded()}, receive, send)
            return
        if body is None:
            await self._app(scope, receive, send)
            return
        addresses = sorted(parts[part], key=lambda each: (each.away_until_s > now_s, each.watch.waiting))
        if await self._asked(part, addresses, _request(scope, body), scope, send):
            return
        FORWARDED.labels(part, "served here").inc()
        await self._app(scope, _replay(body, receive), send)

    def _part_of(self, scope: Scope, parts: Mapping[str, object]) -> str:
        """Which part is asked for; empty: none."""
        method, path = scope["method"], scope["path"]
        for part in parts:
            patterns = self._patterns.get(part)
            if patterns and (pattern := patterns.get(method)) and pattern.fullmatch(path):
                return part
        return ""

    async def _asked(self, part: str, addresses: Sequence[Address], request: bytes, scope: Scope, send: Send) -> bool:
        """Ask one process after the other, none that is silent; whether the request has its answer."""
        repeatable = _may_repeat(scope)
        for address in addresses:
            if address.watch.silent:
                continue
            address.watch.begin()
            try:
                await self._ask(address, request, send, repeatable=repeatable)
            except (ConnectionLost, TimeoutError) as error:
                begun = isinstance(error, ConnectionLost) and error.begun
                if begun:
                    raise  # the server ends the connection: half an answer is none
                if repeatable and isinstance(error, ConnectionLost):
                    continue
                FORWARDED.labels(part, "lost").inc()
                problem = Overloaded(_("The answer was lost. Look whether it took effect before you try again."))
                await self._app({**scope, FAILED_KEY: problem}, _nothing, send)
                return True
            except OSError as error:
                address.away_until_s = asyncio.get_running_loop().time() + AWAY_S
                log.warning("part_away", part=part, port=address.port, error=type(error).__name__)
                continue
            finally:
                address.watch.end()
            FORWARDED.labels(part, "answered").inc()
            return True
        return False

    async def _ask(self, address: Address, request: bytes, send: Send, *, repeatable: bool) -> None:
        """Hand on one answer. Raises: OSError when nobody was asked; ConnectionLost; TimeoutError."""
        loop = asyncio.get_running_loop()
        limit_s = self._limits.request_timeout_s + MARGIN_S
        kept = address.take(now_s=loop.time())
        connection = kept or await self._open(address)
        if address.watch.silent:  # it fell silent while the connection was made
            address.give_back(connection, now_s=loop.time())
            raise OSError("silent")
        try:
            connection.ask(request, repeatable=repeatable)
            try:
                status, headers = await _head(connection, limit_s)
            except ConnectionLost:
                if kept is None or not repeatable or address.watch.silent:
                    raise
                address.give_back(connection, now_s=loop.time())  # it had ended while it was idle
                connection = await self._open(address)
                connection.ask(request, repeatable=repeatable)
                status, headers = await _head(connection, limit_s)
            await send({"type": "http.response.start", "status": status, "headers": headers})
            more = True
            while more:
                body, more = await _part(connection, limit_s)
                await send({"type": "http.response.body", "body": body, "more_body": more})
        finally:
            address.give_back(connection, now_s=loop.time())

    async def _open(self, address: Address) -> Upstream:
        try:
            async with asyncio.timeout(1.0):
                return await address.open()
        except TimeoutError:
            raise OSError("no connection within a second") from None


async def _head(connection: Upstream, limit_s: float) -> tuple[int, list[Header]]:
    """Wait for an answer to begin. How long that takes is the part's affair: it holds no place here meanwhile."""
    with outside():
        async with asyncio.timeout(limit_s):
            return await connection.head()


async def _part(connection: Upstream, limit_s: float) -> tuple[bytes, bool]:
    """Wait for more of an answer. Raises: ConnectionLost, also for one that does not go on."""
    try:
        async with asyncio.timeout(limit_s):
            return await connection.part()
    except TimeoutError:
        raise ConnectionLost(begun=True) from None


def _patterns(routes: Routes) -> Mapping[str, re.Pattern[str]]:
    """One expression for each method."""
    by_method: dict[str, list[str]] = {}
    for method, template in routes:
        pieces = re.split(r"\{[^}]*\}", template)
        by_method.setdefault(method, []).append("[^/]+".join(re.escape(piece) for piece in pieces))
    return {method: re.compile("|".join(f"(?:{each})" for each in those)) for method, those in by_method.items()}


def _may_repeat(scope: Scope) -> bool:
    """Whether asking twice has no other effect than asking once."""
    if scope["method"] in SAFE:
        return True
    return any(name == b"idempotency-key" for name, _ in scope["headers"])


async def _whole_body(scope: Scope, receive: Receive, *, most: int) -> bytes | None:
    """The body; None for one that is too large or of unknown length, which the site judges itself."""
    length = b"0"
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            length = value
    if not length.isdigit() or len(length) > 18 or int(length) > most:
        return None
    if length == b"0":
        return b""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _request(scope: Scope, body: bytes) -> bytes:
    """The request as the part gets it: from the client that we know, by the scheme that it came by."""
    query: bytes = scope["query_string"]
    target: bytes = scope["raw_path"] + (b"?" + query if query else b"")
    trusted = scope.get(TRUSTED_KEY)
    written = [b"%b %b HTTP/1.1\r\n" % (scope["method"].encode(), target)]
    for name, value in scope["headers"]:
        if name not in NOT_PASSED_ON and (trusted or name != b"x-request-id"):
            written.append(b"%b: %b\r\n" % (name, value))
    if client := scope.get("client"):
        written.append(b"x-forwarded-for: %b\r\n" % client[0].encode())
    written.append(b"x-forwarded-proto: %b\r\n" % scope["scheme"].encode())
    if body or scope["method"] not in SAFE:
        written.append(b"content-length: %d\r\n" % len(body))
    written += (b"\r\n", body)
    return b"".join(written)


def _replay(body: bytes, receive: Receive) -> Receive:
    """`receive` with the body that was read already before it."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Any:
        return waiting.pop() if waiting else await receive()

    return again


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
