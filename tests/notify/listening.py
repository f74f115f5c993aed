"""Site processes where people listen to their inboxes, and browsers that do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import FastAPI
from redis.asyncio import Redis

from tests.waiting import eventually
from tidegate import accounts
from tidegate.notify import http_inbox
from tidegate.notify.live import Listeners, open_listeners
from tidegate.platform.database import Database
from tidegate.platform.edge.server import StoppingServer, listen, make_server
from tidegate.platform.edge.stack import make_app
from tidegate.platform.settings import Settings


@dataclass(slots=True)
class Process:
    """A site process on a port of its own."""

    address: str
    listeners: Listeners
    server: StoppingServer
    serving: asyncio.Task[None]

    async def stop(self) -> None:
        """Stop it as a signal does."""
        self.server.should_exit = True
        await self.serving


@asynccontextmanager
async def running(database: Database, settings: Settings) -> AsyncIterator[Process]:
    """A process that serves nothing but streams, as the site does."""

    async def resolve(token: str) -> accounts.Person | None:
        async with database.connection() as conn:
            return await accounts.find_person(conn, token=token)

    app = FastAPI()
    app.include_router(http_inbox.router)
    valkey = Redis.from_url(settings.require_valkey_url())
    async with open_listeners(database, settings, valkey=valkey) as listeners:
        app.state.settings, app.state.resolve_person, app.state.listeners = settings, resolve, listeners
        sock = listen("127.0.0.1", 0)
        server: Any = make_server(make_app(app, settings), settings.http, on_stop=listeners.close)
        process = Process(
            f"http://127.0.0.1:{sock.getsockname()[1]}",
            listeners,
            server,
            asyncio.create_task(server._serve([sock])),
        )
        try:
            await eventually(lambda: server.started)
            await eventually(lambda: listeners.subscribed)
            yield process
        finally:
            await process.stop()
            await valkey.aclose()


@dataclass(slots=True)
class Heard:
    """What came over a stream so far."""

    events: list[tuple[str, Any]] = field(default_factory=list)
    last_id: str = ""
    raw: str = ""
    over: bool = False

    @property
    def subjects(self) -> list[str]:
        """Of the messages."""
        return [data["subject"] for event, data in self.events if event == "message"]

    @property
    def unread(self) -> int | None:
        """As it was told last."""
        return next((data["unread"] for event, data in reversed(self.events) if event == "unread"), None)

    @property
    def kinds(self) -> list[str]:
        """Of all events."""
        return [event for event, _ in self.events]

    def take(self, block: str) -> None:
        """One event as it was sent."""
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if "event" in fields:
            self.last_id = fields.get("id", self.last_id)
            self.events.append((fields["event"], json.loads(fields["data"])))


@asynccontextmanager
async def hearing(process: Process, token: str, *, last_id: str = "") -> AsyncIterator[Heard]:
    """A browser that listens, until the block ends; it is known to the process when the block begins."""
    heard = Heard()

    async def read() -> None:
        headers = {"authorization": f"Bearer {token}"} | ({"last-event-id": last_id} if last_id else {})
        async with (
            httpx.AsyncClient(timeout=None) as client,
            client.stream("GET", f"{process.address}/api/v1/inbox/events", headers=headers) as answer,
        ):
            assert answer.status_code == 200, await answer.aread()
            assert answer.headers["content-type"].startswith("text/event-stream")
            async for text in answer.aiter_text():
                heard.raw += text
                *blocks, heard.raw = heard.raw.split("\n\n")
                for block in blocks:
                    heard.take(block)
        heard.over = True

    reading = asyncio.create_task(read())
    try:
        await _until(reading, lambda: heard.unread is not None)
        yield heard
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def _until(reading: asyncio.Task[None], condition: Callable[[], bool]) -> None:
    await eventually(lambda: condition() or reading.done())
    if reading.done():
        reading.result()
