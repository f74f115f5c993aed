"""What the server refuses early, on real connections: who, with which bytes, and what the connection is worth then."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.platform.edge.test_server import Connection
from tests.waiting import eventually
from tidegate.entrypoints.priorities import Priorities
from tidegate.platform.edge.lean import Ready, Shelf
from tidegate.platform.edge.refusals import Entrance, Refusals
from tidegate.platform.edge.server import listen, make_server
from tidegate.platform.overload.doors import Doors, outside
from tidegate.platform.overload.rules import Priority
from tidegate.platform.settings import HttpSettings, Settings
from tidegate.platform.settings_overload import OverloadSettings
from tidegate.web import busy_pages

PAY = b"POST /api/v1/purchases HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
BROWSE = b"GET /products/lamp HTTP/1.1\r\nHost: a\r\n"
PAGE = BROWSE + b"Accept: text/html\r\n"
STAFF = b"GET /admin/orders HTTP/1.1\r\nHost: a\r\nCookie: tidegate_session=x\r\n\r\n"


class Shop:
    """Answers when it is told to."""

    def __init__(self, settings: Settings) -> None:
        self.go_on = asyncio.Event()
        self.doors = Doors(settings)
        self.elsewhere = False
        self.pause = asyncio.Event()
        self.paused = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            while True:
                kind = (await receive())["type"]
                await send({"type": f"{kind}.complete"})
                if kind == "lifespan.shutdown":
                    return
        while (await receive()).get("more_body"):
            pass
        if self.elsewhere:
            with outside():
                await self.go_on.wait()
        await self.go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def open_shop(
    *, keep_alive_s: int = 15, shelf: Shelf | None = None, **knobs: int
) -> AsyncIterator[tuple[Shop, Callable[[], Any]]]:
    """A server with two places unless told otherwise."""
    settings = Settings(overload=OverloadSettings(**({"least": 2, "first": 2, "most": 2, "reserve": 1} | knobs)))
    shop = Shop(settings)
    entrance = Entrance(shop.doors, Priorities(), Refusals(settings, busy_pages(settings)))
    sock = listen("127.0.0.1", 0)
    app: ASGIApp = shop
    limits = HttpSettings(shutdown_grace_s=1, request_timeout_s=1, keep_alive_s=keep_alive_s)
    server = make_server(app, limits, shelf=shelf, entrance=entrance)
    running = asyncio.create_task(server._serve([sock]))
    writers: list[asyncio.StreamWriter] = []

    async def connect() -> Connection:
        reader, writer = await asyncio.open_connection("127.0.0.1", sock.getsockname()[1])
        writers.append(writer)
        return Connection(reader, writer)

    try:
        await eventually(lambda: server.started)
        yield shop, connect
    finally:
        shop.go_on.set()
        for writer in writers:
            writer.close()
        server.should_exit = True
        await running


async def ask(connect: Callable[[], Any], request: bytes) -> Connection:
    """Send it on a connection of its own."""
    connection: Connection = await connect()
    await connection.send(request)
    return connection


async def fill(shop: Shop, connect: Callable[[], Any]) -> list[Connection]:
    """Two purchases that wait."""
    found = [await ask(connect, PAY) for _ in range(2)]
    await eventually(lambda: shop.doors.inside == 2)
    return found


async def test_one_too_many_is_refused_at_once_and_may_ask_again_on_the_same_connection() -> None:
    async with open_shop() as (shop, connect):
        inside = await fill(shop, connect)
        late = await ask(connect, PAY)
        status, headers, body = await late.answer()
        assert (status, headers["content-type"]) == (503, "application/problem+json")
        assert json.loads(body)["type"] == "/problems/overloaded"
        assert 2 <= int(headers["retry-after"]) <= 6
        assert headers["cache-control"] == "no-store"
        assert "content-security-policy" in headers
        assert shop.doors.refused[Priority.PAY] == 1
        shop.go_on.set()
        assert [(await each.answer())[0] for each in inside] == [200, 200]
        await late.send(PAY)
        assert (await late.answer())[0] == 200
        assert shop.doors.inside == 0


async def test_times_to_wait_differ() -> None:
    async with open_shop() as (shop, connect):
        await fill(shop, connect)
        late = await connect()
        waits = set()
        for _ in range(10):
            await late.send(PAY)
            waits.add((await late.answer())[1]["retry-after"])
        assert waits == {"2", "3", "4", "5", "6"}
        shop.doors.doublings = 2
        longer = set()
        for _ in range(60):
            await late.send(PAY)
            longer.add(int((await late.answer())[1]["retry-after"]))
        assert longer == set(range(2, 25)), "to the second, so that nobody comes back with everybody else"
        shop.doors.doublings = 0
        await late.send(PAY)
        assert (await late.answer())[1]["retry-after"] in waits


@pytest.mark.parametrize(
    ("headers", "title"),
    [
        (b"", "The shop is full right now"),
        (b"Accept-Language: de\r\n", "full|voll|Laden"),
        (b"Cookie: a=b; tidegate_locale=de_DE\r\n", "full|voll|Laden"),
    ],
)
async def test_a_person_gets_a_small_page_in_their_language(headers: bytes, title: str) -> None:
    async with open_shop() as (shop, connect):
        await fill(shop, connect)
        late = await ask(connect, PAGE + headers + b"\r\n")
        status, got, body = await late.answer()
        assert (status, got["content-type"]) == (503, "text/html; charset=utf-8")
        assert got["content-language"] == ("de-DE" if headers else "en-GB")
        assert len(body) < 3_000
        assert any(each in body.decode() for each in title.split("|"))
        assert b"data-ask-again-s" in body


async def test_a_form_is_not_sent_again_by_itself() -> None:
    async with open_shop() as (shop, connect):
        await fill(shop, connect)
        late = await ask(
            connect, b"POST /cart/lines HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nContent-Length: 0\r\n\r\n"
        )
        body = (await late.answer())[2]
        assert b"data-ask-again-s" not in body
        assert b'href="/"' in body


async def test_browsing_is_refused_before_paying_and_staff_keep_their_places() -> None:
    async with open_shop(least=10, first=10, most=10) as (shop, connect):
        for _ in range(6):
            await ask(connect, PAY)
        await eventually(lambda: shop.doors.inside == 6)
        assert (await (await ask(connect, BROWSE + b"\r\n")).answer())[0] == 503
        for _ in range(4):
            await ask(connect, PAY)
        await eventually(lambda: shop.doors.inside == 10)
        assert (await (await ask(connect, PAY)).answer())[0] == 503
        staff, probe = await ask(connect, STAFF), await ask(connect, b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        await eventually(lambda: shop.doors.reserved[Priority.STAFF] == shop.doors.reserved[Priority.HEALTH] == 1)
        assert (await (await ask(connect, STAFF)).answer())[0] == 503  # the reserve is bounded
        no_session = STAFF.replace(b"Cookie: tidegate_session=x\r\n", b"")
        assert (await (await ask(connect, no_session)).answer())[0] == 503
        shop.go_on.set()
        assert [(await each.answer())[0] for each in (staff, probe)] == [200, 200]


async def test_the_body_of_a_refused_request_does_not_spoil_the_connection() -> None:
    async with open_shop() as (shop, connect):
        await fill(shop, connect)
        late = await ask(connect, b"POST /api/v1/purchases HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n{")
        assert (await late.answer())[0] == 503
        await late.send(b'"a":1' + PAY)
        assert (await late.answer())[0] == 503
        never = await ask(connect, b"POST /api/v1/purchases HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n{")
        assert (await never.answer())[0] == 503
        assert await never.closed()  # it does not wait for ever for the rest
        large = await ask(connect, b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n{")
        status, headers, _ = await large.answer()
        assert (status, headers["connection"]) == (503, "close")
        assert await large.closed()


async def test_a_head_request_gets_no_body() -> None:
    async with open_shop() as (shop, connect):
        await fill(shop, connect)
        late = await ask(connect, PAGE.replace(b"GET", b"HEAD") + b"\r\n" + BROWSE + b"\r\n")
        head = await late.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503")
        assert (await late.answer())[0] == 503


async def test_who_waits_for_somebody_else_or_for_the_rest_of_a_body_holds_no_place() -> None:
    async with open_shop() as (shop, connect):
        shop.elsewhere = True
        inside = [await ask(connect, PAY) for _ in range(2)]
        await eventually(lambda: len(inside) == 2 and shop.doors.inside == 0)
        third = await ask(connect, PAY)
        await eventually(lambda: shop.doors.inside == 0)
        slow = [await ask(connect, PAY[:-1]) for _ in range(2)]
        await eventually(lambda: shop.doors.inside == 2)
        await eventually(lambda: shop.doors.inside == 0)  # half a second later
        shop.go_on.set()
        for each in (*inside, third):
            assert (await each.answer())[0] == 200
        for each in slow:
            await each.send(b"}")
            assert (await each.answer())[0] == 200
        assert shop.doors.inside == 0


@pytest.mark.parametrize("target", [b"http://a:x/", b"http://", b"//", b"a", b"/%zz"])
async def test_an_address_that_cannot_be_read_takes_no_place(target: bytes) -> None:
    async with open_shop() as (shop, connect):
        shop.go_on.set()
        connection = await ask(connect, b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
        assert (await connection.answer())[0] in (200, 400)
        await eventually(lambda: shop.doors.inside == 0)


async def test_a_client_that_leaves_gives_its_place_back() -> None:
    async with open_shop() as (shop, connect):
        for each in await fill(shop, connect):
            each.writer.close()
        shop.go_on.set()
        await eventually(lambda: shop.doors.inside == 0)


async def test_who_asks_on_and_reads_no_refusal_is_cut_off() -> None:
    async with open_shop() as (shop, connect):
        await fill(shop, connect)
        deaf = await connect()

        def is_cut_off() -> bool:
            assert sum(shop.doors.refused) < 20_000, "all their refusals are kept"
            deaf.writer.write((PAGE + b"\r\n") * 200)
            return bool(deaf.writer.is_closing())

        await eventually(is_cut_off)


async def test_a_connection_is_kept_while_its_requests_are_refused_and_ended_when_it_is_silent() -> None:
    async with open_shop(keep_alive_s=1) as (shop, connect):
        await fill(shop, connect)
        late = await connect()
        began = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < began + 1.5:  # longer than a silent one is kept
            await late.send(PAY)
            assert (await late.answer())[0] == 503
        assert await late.closed()


async def test_requests_that_come_together_are_each_refused() -> None:
    async with open_shop() as (shop, connect):
        await fill(shop, connect)
        late = await ask(connect, PAY + PAY + PAY[:50])
        assert [(await late.answer())[0] for _ in range(2)] == [503, 503]
        await late.send(PAY[50:])
        assert (await late.answer())[0] == 503
        await late.send(PAY)
        assert (await late.answer())[0] == 503
        assert shop.doors.refused[Priority.PAY] == 4


async def test_what_lies_ready_is_not_refused() -> None:
    shelf = Shelf(Settings())
    shelf.fill({"/api/v1/drops/d/status": Ready("/api/v1/drops/{drop}/status", b"{}", '"1"', ())})
    async with open_shop(shelf=shelf) as (shop, connect):
        await fill(shop, connect)
        for target, status in ((b"/api/v1/drops/d/status", 200), (b"/api/v1/drops/d/places", 503)):
            asking = await ask(connect, b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % target)
            assert (await asking.answer())[0] == status
