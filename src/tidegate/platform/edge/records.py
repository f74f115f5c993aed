"""What is written about every request: its id, one log line, metrics; and the headers that every response carries.

No address as it was asked for, no query, no client address and no body is written: only the route's template.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import perf_counter, time

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils import uuid7

from tidegate.platform.access_log import REQUEST_ID, note_request
from tidegate.platform.edge.exchange import SCOPE_KEY, Exchange, first_of_each
from tidegate.platform.edge.headers import Header, cache_default
from tidegate.platform.edge.proxies import incoming_request_id

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
CLIENT_GONE = 499
"""Written, never sent: the client left before there was an answer."""


class Records:
    """The outermost layer of the edge proper: gives a request its exchange, and sees every response leave."""

    def __init__(self, app: ASGIApp, *, headers: Sequence[Header], route_of: Callable[[Scope], str]) -> None:
        self._app = app
        self._api = (*headers, cache_default("/api/"))
        self._pages = (*headers, cache_default("/"))
        self._names = frozenset(name for name, _ in headers) | {b"cache-control"}
        self._route_of = route_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        started = perf_counter()
        headers = first_of_each(scope["headers"])
        exchange = Exchange(request_id=incoming_request_id(scope) or uuid7().hex, headers=headers)
        method: str = scope["method"]
        # A HEAD is a GET whose body stays here: no route has to think of it.
        inner = dict(scope, method="GET") if method == "HEAD" else scope
        inner[SCOPE_KEY] = exchange
        token = REQUEST_ID.set(exchange.request_id)

        def note() -> None:
            note_request(
                (
                    method if method in METHODS else "OTHER",
                    exchange.route or self._route_of(inner),
                    exchange.status,
                    perf_counter() - started,
                    exchange.request_id,
                    time(),
                )
            )

        try:
            await self._app(inner, receive, self._sender(exchange, send, scope, note))
        except asyncio.CancelledError:
            exchange.status = exchange.status or CLIENT_GONE
            raise
        finally:
            if not exchange.stream:
                note()
            REQUEST_ID.reset(token)

    def _sender(self, exchange: Exchange, send: Send, scope: Scope, note: Callable[[], None]) -> Send:
        own = (b"x-request-id", exchange.request_id.encode())
        bodiless = scope["method"] == "HEAD"
        defaults = self._api if scope["path"].startswith("/api/") else self._pages

        async def recorded(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                headers = [own, *message.get("headers", ())]
                present = {name for name, _ in headers}
                if self._names.isdisjoint(present):
                    headers += defaults
                else:
                    headers += [header for header in defaults if header[0] not in present]
                message = {**message, "headers": headers}
                if exchange.stream:
                    note()
            elif message["type"] == "http.response.body":
                exchange.complete = not message.get("more_body", False)
                if bodiless:
                    message = {**message, "body": b""}
            await send(message)

        return recorded


def route_names(app: FastAPI) -> Callable[[Scope], str]:
    """A function that tells the template of the route that served a request: few values, no personal data.

    `app` has all its routes.
    """
    known: dict[int, str] = {}
    for context in iter_route_contexts(app.routes):  # also makes FastAPI work them out now, not for the first visitor
        served = context.endpoint or getattr(context.route, "app", None)
        known[id(served)] = context.path_format or context.path or "unnamed"

    def route_of(scope: Scope) -> str:
        endpoint = scope.get("endpoint")
        if endpoint is None:
            return "unmatched"
        return known.get(id(endpoint), "unnamed").removesuffix("/{path}") or "/"

    return route_of
