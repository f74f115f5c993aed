"""The gateway as a server: in the loop of a test, or as a process of its own (`python -m tests.gateway`)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.gateway.api import Api, Broken, encoded
from tests.gateway.control import Control
from tests.gateway.faults import FaultPlan
from tests.gateway.hooks import HookPlan, Sender, signed
from tests.gateway.ledger import Ledger


@dataclass(slots=True)
class Gateway:
    """A simulator of Stripe. Tests in its process use its parts; others speak HTTP with it."""

    ledger: Ledger = field(default_factory=Ledger)
    faults: FaultPlan = field(default_factory=FaultPlan)
    hooks: HookPlan = field(default_factory=HookPlan)
    api: Api = field(init=False)
    sender: Sender = field(init=False)
    control: ASGIApp = field(init=False)

    def __post_init__(self) -> None:
        self.api = Api(self.ledger, self.faults)
        self.sender = Sender(self.hooks)
        self.ledger.tell = self.sender.send
        self.control = Control(self).app()

    @property
    def url(self) -> str:
        """For `settings.payments.stripe_api_base`."""
        return self.ledger.url

    def webhook(self, kind: str, *, about: str = "", at: float | None = None) -> tuple[dict[str, str], bytes]:
        """The last event of a kind, about an object or the last one, signed anew."""
        for event in reversed(self.ledger.events):
            if event["type"] == kind and about in ("", event["data"]["object"]["id"]):
                return signed(event, secrets=self.hooks.secrets, at=at)
        raise AssertionError(f"no {kind} among {[event['type'] for event in self.ledger.events]}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self.control(scope, receive, send)
            return
        request = Request(scope, receive)
        body = (await request.body()).decode()
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            answer = await self.api.answer(request.method, request.url.path, headers, request.url.query, body)
        except Broken:
            await _break_connection(send)
            return
        status, fields, content = encoded(answer)
        raw = [(name.encode(), value.encode()) for name, value in fields.items()]
        raw.append((b"content-length", str(len(content)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": content})


async def _break_connection(send: Send) -> None:
    """Abort the socket under uvicorn's cycle, and wait until it has noticed."""
    cycle: Any = send.__self__  # type: ignore[attr-defined]
    cycle.transport.abort()
    while not cycle.disconnected:
        await asyncio.sleep(0)


class _Server(uvicorn.Server):
    """One that leaves the process's signals alone, and ends as soon as it is told to."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stop = asyncio.Event()

    async def main_loop(self) -> None:
        """Wait for the end; uvicorn's own looks ten times a second."""
        await self.stop.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(app: ASGIApp, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """An ASGI application on a port of this loop for the length of a block; its address."""
    # asyncio switches Nagle's delay off only on sockets that name their protocol; `socket.create_server` does not.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(2_048)
        config = uvicorn.Config(app, log_level="critical", access_log=False, lifespan="off", ws="none")
        server = _Server(config)
        running = asyncio.create_task(server.serve(sockets=[sock]))
        try:
            yield f"http://{host}:{sock.getsockname()[1]}"
        finally:
            server.force_exit = True
            server.stop.set()
            await running


@asynccontextmanager
async def open_gateway(*, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Gateway]:
    """A gateway in this loop for the length of a block."""
    gateway = Gateway()
    async with serving(gateway, host=host, port=port) as gateway.ledger.url:
        try:
            yield gateway
        finally:
            await gateway.sender.close()
