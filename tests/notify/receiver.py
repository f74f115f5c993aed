"""A webhook receiver for tests that speaks real HTTP and answers as it is told to."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Call:
    """What was received."""

    headers: dict[str, str]
    body: bytes


Script = Callable[[Call], "int | tuple[int, dict[str, str]] | str"]
"""From a call to its answer: a status, a status with headers, or "hang" or "close"."""


def takes_all(call: Call) -> int:
    """Answers well."""
    return 200


@dataclass(slots=True)
class Receiver:
    """What was taken, and how calls are answered. `most` is how many were open at once."""

    port: int = 0
    script: Script = takes_all
    body: bytes = b"ok"
    calls: list[Call] = field(default_factory=list)
    open: int = 0
    most: int = 0
    hanging: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> Counter[str]:
        """How often each webhook came."""
        return Counter(call.headers["webhook-id"] for call in self.calls)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Take a call."""
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            call = Call({name.lower(): value for name, value in request.headers.items()}, await request.read())
            self.calls.append(call)
            said = self.script(call)
            if said == "hang":
                self.hanging.set()
                await asyncio.Event().wait()
            if said == "close":
                assert request.transport is not None
                request.transport.close()
                return web.Response()
            status, headers = said if isinstance(said, tuple) else (said, {})
            assert isinstance(status, int)
            return web.Response(status=status, headers=headers, body=self.body)
        finally:
            self.open -= 1


@asynccontextmanager
async def open_receiver() -> AsyncIterator[Receiver]:
    """A receiver on a free port for the length of a block."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/{tail:.*}", receiver.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        await runner.cleanup()
