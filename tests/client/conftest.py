"""A site on a real port, and time that passes when somebody sleeps."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.gate.conftest import account, database_url, make_room, package_database_url
from tests.waiting import eventually
from tidegate.client import Pace, Shop
from tidegate.entrypoints.site import create_app
from tidegate.gate import Gate
from tidegate.platform.database import Database
from tidegate.platform.edge.lean import Shelf
from tidegate.platform.edge.server import listen, make_server
from tidegate.platform.settings import Settings

__all__ = ["database_url", "make_room", "package_database_url"]


@dataclass
class Time:
    """A client's time. Each sleep takes one of `events` and lets it happen; chance is always in the middle."""

    refresh: Callable[[], Awaitable[None]]
    now_s: float = 0.0
    slept: list[float] = field(default_factory=list)
    events: deque[Callable[[], Awaitable[object]]] = field(default_factory=deque)

    async def sleep(self, seconds: float) -> None:
        """Pass the time, and let the shop's processes see what happened."""
        assert len(self.slept) < 50, "nothing more will happen"
        self.slept.append(seconds)
        self.now_s += seconds
        if self.events:
            await self.events.popleft()()
        await self.refresh()

    @property
    def pace(self) -> Pace:
        """It, as the client takes it."""
        return Pace(now_s=lambda: self.now_s, sleep=self.sleep, draw=lambda: 0.5)


@dataclass
class Site:
    """A running site process: where it listens, its gate, and which requests it was sent."""

    address: str
    gate: Gate
    time: Time
    database: Database
    asked: list[tuple[str, str, int]] = field(default_factory=list)
    shops: list[tuple[Shop, httpx.AsyncClient]] = field(default_factory=list)

    async def shop(self, *, token: str | None = "", patience_s: float = 300.0) -> Shop:
        """Somebody's view of it: of somebody with an account, unless told whose token."""
        if token == "":
            token = (await account(self.database))["authorization"].split()[1]

        async def note(answer: httpx.Response) -> None:
            kind = answer.request.url.path.removeprefix("/api/v1/drops/").split("/")[1:2] or [""]
            self.asked.append((answer.request.method, kind[0], answer.status_code))

        http = httpx.AsyncClient(event_hooks={"response": [note]})
        shop = Shop(self.address, token=token, http=http, pace=self.time.pace, patience_s=patience_s)
        self.shops.append((shop, http))
        return shop


@pytest.fixture
async def site(settings: Settings, database: Database) -> AsyncIterator[Site]:
    """A site on a port of its own. Its statuses are renewed when its client's time passes."""
    slow = settings.gate.model_copy(update={"status_refresh_ms": 60_000})
    settings = settings.model_copy(update={"gate": slow})
    shelf = Shelf(settings)
    app: Any = create_app(settings, shelf=shelf)
    sock = listen("127.0.0.1", 0)
    server = make_server(app, settings.http, shelf=shelf)
    serving = asyncio.create_task(server._serve([sock]))
    try:
        await eventually(lambda: _is_started(server))
        gate: Gate = app.app.state.gate
        made = Site(f"http://127.0.0.1:{sock.getsockname()[1]}", gate, Time(gate.refresh), database)
        yield made
        for _, http in made.shops:
            await http.aclose()
    finally:
        server.should_exit = True
        await serving


async def _is_started(server: Any) -> bool:
    started: bool = server.started
    return started
