"""The status of a room over real connections: who asks too often, and clients behind a proxy of ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.checkout.buying import problem
from tests.gate.conftest import MakeRoom, account
from tests.waiting import eventually
from tidegate.entrypoints.site import create_app
from tidegate.gate.http_pace import SLOWED_MOST
from tidegate.platform.database import Database
from tidegate.platform.edge.lean import Shelf
from tidegate.platform.edge.server import listen, make_server
from tidegate.platform.settings import Settings

STATUS = "/api/v1/drops/boots/status"
DRAW = "/api/v1/drops/boots/draw"
PER_MINUTE = 20


class Counted:
    """The site's application, and which requests got as far as to it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.seen: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.seen.append(scope["path"])
        await self._app(scope, receive, send)


@asynccontextmanager
async def serving(
    settings: Settings, *, trusted: list[str], **pace: int
) -> AsyncIterator[tuple[httpx.AsyncClient, Counted, Shelf]]:
    """A site on a real port, whose status is there: a client of it, its application, and its shelf."""
    settings = settings.model_copy(
        update={
            "gate": settings.gate.model_copy(update=pace),
            "http": settings.http.model_copy(update={"trusted_proxies": trusted, "shutdown_grace_s": 1}),
        }
    )
    shelf = Shelf(settings)
    app = Counted(create_app(settings, shelf=shelf))
    with listen("127.0.0.1", 0) as sock:
        server = make_server(app, settings.http, shelf=shelf)
        running = asyncio.create_task(server._serve([sock]))
        try:
            await eventually(lambda: server.started)
            address = f"http://127.0.0.1:{sock.getsockname()[1]}"
            async with httpx.AsyncClient(base_url=address, limits=httpx.Limits(max_connections=None)) as client:
                yield client, app, shelf
        finally:
            server.should_exit = True
            await running


async def test_a_hundred_times_too_many_questions_are_refused_out_of_memory(
    make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    """What others may notice is the work that a refusal makes: none in the application, so none behind it."""
    await make_room()
    eager, calm = await account(database), await account(database)
    async with serving(settings, trusted=[], status_per_minute=PER_MINUTE) as (client, app, shelf):
        shelf.guard = replace(shelf.guard, held_s=3.0)
        eagerly = [asyncio.create_task(client.get(STATUS, headers=eager)) for _ in range(5 * PER_MINUTE)]
        await eventually(lambda: shelf.held >= 3 * PER_MINUTE)
        others = [await client.get(STATUS, headers=headers) for headers in (calm, {}, calm)]
        assert [answer.status_code for answer in others] == [200] * 3
        assert not all(task.done() for task in eagerly), "they are answered while refusals are still held back"
        answers = await asyncio.gather(*eagerly)
        assert app.seen == [], "no request for the status came as far as the application"
        refused = [answer for answer in answers if answer.status_code == 429]
        assert 3 * PER_MINUTE <= len(refused) <= 4 * PER_MINUTE
        again = await asyncio.gather(*(client.get(f"{STATUS}?long=way", headers=eager) for _ in range(5)))
        long_way = next(answer for answer in again if answer.status_code == 429)
        assert app.seen == [STATUS] * 5
    assert {problem(answer) for answer in [*refused, long_way]} == {(429, "too-many-requests")}
    assert {answer.headers["retry-after"] for answer in refused} <= {"1", "2", "3"}
    same = ("content-type", "cache-control", "vary", "content-security-policy")
    assert [refused[-1].headers[name] for name in same] == [long_way.headers[name] for name in same]
    assert refused[-1].json().keys() == long_way.json().keys()
    assert shelf.held == 0
    assert len(refused) < SLOWED_MOST


async def test_behind_a_proxy_each_client_has_a_limit_of_their_own(make_room: MakeRoom, settings: Settings) -> None:
    await make_room()
    pace = {"status_per_minute_per_network": PER_MINUTE}

    async def ask(client: httpx.AsyncClient, address: str, times: int) -> list[int]:
        headers = {"x-forwarded-for": address, "x-forwarded-proto": "https"}
        answers = await asyncio.gather(*(client.get(STATUS, headers=headers) for _ in range(times)))
        return [answer.status_code for answer in answers]

    async with serving(settings, trusted=["127.0.0.0/8"], **pace) as (client, app, _):
        first = await ask(client, "198.51.100.1", PER_MINUTE + 10)
        assert 8 <= first.count(429) <= 10
        assert (await ask(client, "9.9.9.9, 198.51.100.1", 5)).count(429) >= 4, "made-up hops do not help"
        assert await ask(client, "198.51.100.2", 5) == [200] * 5, "another client of the same proxy"
        assert app.seen == [], "all of them out of memory"
    async with serving(settings, trusted=["192.0.2.0/24"], **pace) as (client, app, _):
        assert await ask(client, "198.51.100.1", PER_MINUTE + 10) == [200] * (PER_MINUTE + 10), "no proxy of ours"
        assert app.seen == []


async def test_a_crowd_that_was_drawn_gets_the_draw_out_of_memory(make_room: MakeRoom, settings: Settings) -> None:
    await make_room()
    async with serving(settings, trusted=[]) as (client, app, _):
        first = await client.get(DRAW)
        answers = [first, *(await asyncio.gather(*(client.get(DRAW) for _ in range(30))))]
        assert {answer.content for answer in answers} == {first.content}
        assert (first.status_code, first.json()["assurance"]) == (200, "pending")
        known = await client.get(DRAW, headers={"if-none-match": first.headers["etag"]})
        assert (known.status_code, known.content) == (304, b"")
        assert app.seen == [], "all of them out of memory"
        long_way = await client.get(DRAW, params={"x": "1"})
        assert app.seen == [DRAW]
        assert (long_way.content, long_way.headers["etag"]) == (first.content, first.headers["etag"])
        known = await client.get(f"{DRAW}?x=1", headers={"if-none-match": first.headers["etag"]})
        assert (known.status_code, known.content) == (304, b"")
