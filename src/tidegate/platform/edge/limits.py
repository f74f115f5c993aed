"""Bounds on what one request may cost: the size of its head and body, the time it takes, how many run at once."""

from __future__ import annotations

import asyncio

from prometheus_client import Gauge
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidegate.platform.edge.exchange import exchange_of
from tidegate.platform.problems import BodyTooLarge, HeadersTooLarge, InvalidRequest, MalformedBody, Overloaded
from tidegate.platform.settings import HttpSettings

IN_FLIGHT = Gauge("tidegate_http_in_flight", "Requests being worked on.")


class HeadLimit:
    """Bounds the request line and the headers, and refuses NUL characters, which PostgreSQL cannot store."""

    def __init__(self, limits: HttpSettings) -> None:
        self._max_bytes = limits.max_header_bytes

    def check(self, scope: Scope) -> None:
        """Raises: HeadersTooLarge, InvalidRequest."""
        query: bytes = scope["query_string"]
        size = len(scope.get("raw_path") or b"") + len(query)
        for name, value in scope["headers"]:
            size += len(name) + len(value) + 4
        if size > self._max_bytes:
            raise HeadersTooLarge()
        if "\0" in scope["path"] or b"%00" in query or b"\0" in query:
            raise InvalidRequest("The address contains a character that cannot be used.")


class Bounds:
    """Refuses bodies that are too large, answers 503 when too much runs at once or one request takes too long."""

    def __init__(self, app: ASGIApp, *, limits: HttpSettings) -> None:
        self._app = app
        self._limits = limits
        self._running = 0
        IN_FLIGHT.set_function(lambda: self._running)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        receive = self._bounded_body(scope, receive)
        if self._running >= self._limits.max_connections:
            raise Overloaded()
        self._running += 1
        deadline = asyncio.timeout(self._limits.request_timeout_s)
        try:
            async with deadline:
                await self._app(scope, receive, send)
        except TimeoutError:
            if not deadline.expired() or exchange_of(scope).complete:
                raise
            raise Overloaded(
                "This took too long and was stopped. Look whether it took effect before you try again."
            ) from None
        finally:
            self._running -= 1

    def _bounded_body(self, scope: Scope, receive: Receive) -> Receive:
        """`receive`, counting. Raises: BodyTooLarge at once when the length is announced."""
        most = self._limits.max_body_bytes
        for name, value in scope["headers"]:
            if name == b"content-length":
                if not value.isdigit():
                    raise MalformedBody()
                if len(value) > 18 or int(value) > most:
                    raise BodyTooLarge()
                return receive  # the server never hands on more than was announced
        got = 0

        async def counted() -> Message:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            if got > most:
                # This kind passes through the frameworks' readers of bodies, which turn others into a plain 400.
                raise HTTPException(413)
            return message

        return counted
