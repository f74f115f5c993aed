"""What the server itself bounds, on real connections."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from starlette.types import ASGIApp

from tests.logs import CaughtLogs
from tests.platform.edge.conftest import small_settings
from tests.waiting import eventually
from tidegate.platform.edge.lean import Guard, Ready, Shelf
from tidegate.platform.edge.relief import LOOK_S
from tidegate.platform.edge.server import listen, make_server
from tidegate.platform.problems import Overloaded
from tidegate.platform.settings import HttpSettings

Serving = Callable[..., Any]
GET = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"


class Connection:
    """A raw connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(head[0].split()[1]), headers, body

    async def closed(self) -> bool:
        async with asyncio.timeout(10):
            try:
                return await self.reader.read(1) == b""
            except ConnectionResetError:
                return True


@pytest.fixture
def serving(edge: Callable[..., ASGIApp]) -> Serving:
    """`async with serving(max_header_bytes=500) as connect`: the small shop on a real port."""

    @asynccontextmanager
    async def serve(
        *, shelf: Shelf | None = None, beside: Sequence[socket.socket] = (), **http: Any
    ) -> AsyncIterator[Callable[[], Any]]:
        sock = listen("127.0.0.1", 0)
        limits = HttpSettings(shutdown_grace_s=1, **http)
        server = make_server(edge(**http), limits, shelf=shelf, beside=beside)
        running = asyncio.create_task(server._serve([sock]))
        port = sock.getsockname()[1]
        opened: list[asyncio.StreamWriter] = []

        async def connect(port: int = port) -> Connection:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            opened.append(writer)
            return Connection(reader, writer)

        try:
            async with asyncio.timeout(10):
                while not server.started:
                    await asyncio.sleep(0.01)
            yield connect
        finally:
            for writer in opened:
                writer.close()
            server.should_exit = True
            await running

    return serve


async def test_several_requests_share_a_connection(serving: Serving) -> None:
    async with serving(max_header_bytes=500) as connect:
        connection = await connect()
        for _ in range(20):  # more bytes in all than one head may have
            await connection.send(GET + b"\r\n")
            status, headers, body = await connection.answer()
            assert (status, body) == (200, b"<p>home</p>")
            assert "server" not in headers
        await connection.send((GET + b"\r\n") * 3)
        assert [(await connection.answer())[0] for _ in range(3)] == [200, 200, 200]


async def test_a_body_does_not_count_as_head(serving: Serving) -> None:
    async with serving(max_header_bytes=500) as connect:
        connection = await connect()
        head = b"POST /count HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3000\r\n\r\n"
        for part in (head[:20], head[20:] + b"x" * 1_000, b"x" * 1_000, b"x" * 1_000, GET + b"\r\n"):
            await connection.send(part)
        assert (await connection.answer())[2] == b'{"bytes":3000}'
        assert (await connection.answer())[0] == 200


async def test_an_endless_head_is_cut_off(serving: Serving) -> None:
    async with serving(max_header_bytes=500) as connect:
        connection = await connect()
        await connection.send(GET)
        for _ in range(50):
            await connection.send(b"X-Filler: " + b"x" * 100 + b"\r\n")
        status, headers, body = await connection.answer()
        assert (status, json.loads(body)["type"]) == (431, "/problems/headers-too-large")
        assert headers["connection"] == "close"
        assert await connection.closed()


async def test_one_endless_header_is_cut_off(serving: Serving) -> None:
    async with serving(max_header_bytes=500) as connect:
        connection = await connect()
        await connection.send(GET + b"X-Filler: ")
        for _ in range(10):
            await connection.send(b"x" * 100)
        assert (await connection.answer())[0] == 431


async def test_a_large_head_in_one_piece_is_refused(serving: Serving) -> None:
    async with serving(max_header_bytes=500) as connect:
        connection = await connect()
        await connection.send(GET + b"X-Filler: " + b"x" * 600 + b"\r\n\r\n")
        status, _, body = await connection.answer()
        assert (status, json.loads(body)["type"]) == (431, "/problems/headers-too-large")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n", b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)  # fmt: skip
async def test_what_is_no_http_is_told_so(serving: Serving, request_bytes: bytes) -> None:
    async with serving() as connect:
        connection = await connect()
        await connection.send(request_bytes)
        status, _, body = await connection.answer()
        assert (status, json.loads(body)["status"]) == (400, 400)
        assert await connection.closed()


async def test_who_says_nothing_does_not_stay(serving: Serving) -> None:
    async with serving(request_timeout_s=1, keep_alive_s=30) as connect:
        silent, slow, idle = await connect(), await connect(), await connect()
        await slow.send(b"GET / HTTP/1.1\r\nHost:")
        await idle.send(GET + b"\r\n")
        assert (await idle.answer())[0] == 200
        assert await silent.closed()
        assert await slow.closed()
        await idle.send(GET + b"\r\n")  # an idle connection has the keep-alive time
        assert (await idle.answer())[0] == 200


async def test_more_connections_than_allowed_are_told_to_come_back(serving: Serving) -> None:
    async with serving(max_connections=2) as connect:
        first, second = await connect(), await connect()
        for connection in (first, second):
            await connection.send(GET + b"\r\n")
            assert (await connection.answer())[0] == 200
        third = await connect()
        status, headers, _ = await third.answer()
        assert (status, headers["retry-after"]) == (503, "2")
        assert await third.closed()


async def test_too_much_body_closes_the_connection(serving: Serving) -> None:
    async with serving(max_body_bytes=100) as connect:
        connection = await connect()
        await connection.send(b"POST /count HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n")
        assert (await connection.answer())[0] == 413
        assert await connection.closed()


async def test_half_an_answer_is_cut_off(serving: Serving) -> None:
    async with serving() as connect:
        connection = await connect()
        await connection.send(b"GET /cut HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        async with asyncio.timeout(10):
            answered = await connection.reader.read()
        assert b"200 OK" in answered
        assert not answered.endswith(b"0\r\n\r\n")


def test_a_port_can_be_shared() -> None:
    with listen("127.0.0.1", 0) as first, listen("127.0.0.1", first.getsockname()[1]) as second:
        assert first.getsockname() == second.getsockname()
        assert first.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)


SHELVED = b"/api/v1/baskets/b1"
LOOK = b"GET " + SHELVED + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n"
FROM_SHELF = b'{"id":"b1","quantity":1}'


def shelf(**http: Any) -> Shelf:
    """Holds the same answer as the route `get_basket` gives, with an ETag."""
    made = Shelf(small_settings(**http))
    headers = ((b"content-type", b"application/json"), (b"etag", b'W/"1"'))
    made.fill({SHELVED.decode(): Ready("/api/v1/baskets/{basket_id}", FROM_SHELF, 'W/"1"', headers)})
    return made


async def test_what_is_on_the_shelf_looks_like_the_long_way(serving: Serving, logs: CaughtLogs) -> None:
    async with serving(shelf=shelf()) as connect:
        connection = await connect()
        await connection.send(LOOK + b"\r\n")
        status, headers, body = await connection.answer()
        assert headers.pop("etag") == 'W/"1"'
        await connection.send(LOOK + b"Content-Length: 0\r\n\r\n")
        long_status, long_headers, long_body = await connection.answer()
        assert "etag" not in long_headers, "that was the route"
        assert (status, body) == (long_status, long_body)
        assert headers.pop("x-request-id") != long_headers.pop("x-request-id")
        assert headers == long_headers
    lines = [line for line in logs.lines() if line.get("event") == "request"]
    assert [(line["method"], line["route"], line["status"]) for line in lines] == [
        ("GET", "/api/v1/baskets/{basket_id}", 200)
    ] * 2


async def test_who_has_what_is_on_the_shelf_is_told_so(serving: Serving) -> None:
    async with serving(shelf=shelf()) as connect:
        connection = await connect()
        await connection.send(LOOK + b'If-None-Match: W/"1"\r\n\r\n')
        status, headers, body = await connection.answer()
        assert (status, headers["etag"], body) == (304, 'W/"1"', b"")
        assert "content-length" not in headers
        await connection.send(LOOK + b'If-None-Match: W/"0"\r\n\r\n')
        assert (await connection.answer())[::2] == (200, FROM_SHELF)


async def test_the_shelf_keeps_the_order_of_requests(serving: Serving) -> None:
    async with serving(shelf=shelf()) as connect:
        connection = await connect()
        slow = b"POST /count HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\n\r\nabc"
        await connection.send(slow + (LOOK + b"\r\n") * 2 + GET + b"\r\n" + LOOK + b"\r\n")
        bodies = [(await connection.answer())[2] for _ in range(5)]
        assert bodies == [b'{"bytes":3}', FROM_SHELF, FROM_SHELF, b"<p>home</p>", FROM_SHELF]


def guarded(asked: list[str], **http: Any) -> Shelf:
    """The shelf, which nobody may have anything of; it notes the addresses that asked."""

    def never(address: str, headers: Mapping[bytes, bytes]) -> int:
        asked.append(address)
        return 7

    made = shelf(**http)
    made.guard = Guard(wait_s=never, refusal=too_many, held_s=0.05, held_most=2)
    return made


def too_many(wait_s: int) -> Overloaded:
    return Overloaded(retry_after_s=wait_s)


async def test_a_refusal_from_the_shelf_looks_like_one_from_the_long_way(serving: Serving, logs: CaughtLogs) -> None:
    async with serving(shelf=guarded([])) as connect:
        connection = await connect()
        await connection.send(LOOK + b"\r\n")
        status, headers, body = await connection.answer()
        await connection.send(LOOK.replace(SHELVED, b"/raise/full") + b"\r\n")  # a route, with the same problem
        long_status, long_headers, long_body = await connection.answer()
    assert (status, headers.pop("retry-after")) == (503, "7")
    assert (status, json.loads(body)) == (long_status, without_id(long_body))
    differing = ("retry-after", "x-request-id", "content-length", "cache-control")
    assert {name for name in headers if name not in differing} == {n for n in long_headers if n not in differing}
    assert headers["cache-control"] == long_headers["cache-control"] == "no-store"
    [line] = [each for each in logs.lines() if each.get("route") == "/api/v1/baskets/{basket_id}"]
    assert (line["status"], line["request_id"]) == (503, headers["x-request-id"])


def without_id(body: bytes) -> dict[str, object]:
    document: dict[str, object] = json.loads(body)
    return {name: value for name, value in document.items() if name != "request_id"}


async def test_a_refusal_waits_and_is_never_overtaken(serving: Serving) -> None:
    filled = guarded([])
    filled.guard = replace(filled.guard, held_s=60.0)
    async with serving(shelf=filled) as connect:
        impatient, gone, third = await connect(), await connect(), await connect()
        await impatient.send(LOOK + b"\r\n")
        await gone.send(LOOK + b"\r\n")
        await eventually(lambda: filled.held == 2)
        await third.send(LOOK + b"\r\n")
        assert (await third.answer())[0] == 503, "no more than so many wait"
        await third.send(GET + b"\r\n" + LOOK + b"\r\n")
        assert [(await third.answer())[0] for _ in range(2)] == [200, 200], "a pipeline goes the long way, in order"
        gone.writer.transport.abort()
        await eventually(lambda: filled.held == 1)
        await third.send((LOOK + b"\r\n") * 2)
        assert [(await third.answer())[0] for _ in range(2)] == [503, 200], "who asks on is sent the long way"
        assert filled.held == 1
        await impatient.send(GET + b"\r\n")
        assert [(await impatient.answer())[0] for _ in range(2)] == [503, 200]
    assert filled.held == 0


async def test_who_is_refused_together_does_not_come_back_together() -> None:
    filled = guarded([])
    filled.guard = replace(filled.guard, held_s=8.0)
    headers = [(b"host", b"127.0.0.1")]
    answers = [filled.answer(SHELVED, headers, client="192.0.2.7", date=()) for _ in range(100)]
    held_s = sorted(found[1] for found in answers if found is not None)
    assert len(held_s) == 100
    assert 4.0 <= held_s[0] < held_s[-1] <= 12.0
    assert held_s[75] - held_s[25] > 1.0, "4 s if they were spread evenly"


OURS = ["127.0.0.0/8", "10.0.0.0/8"]


@pytest.mark.parametrize(
    ("trusted", "lines", "client", "kept_id"),
    [
        ([], b"X-Forwarded-For: 192.0.2.7\r\nX-Request-Id: edge-12345678\r\n", "127.0.0.1", False),
        (["10.0.0.0/8"], b"X-Forwarded-For: 192.0.2.7\r\nX-Request-Id: edge-12345678\r\n", "127.0.0.1", False),
        (OURS, b"X-Forwarded-For: 192.0.2.7\r\nX-Request-Id: edge-12345678\r\n", "192.0.2.7", True),
        (OURS, b"X-Forwarded-For: 6.6.6.6, 192.0.2.7, 10.1.2.3\r\nX-Request-Id: <script>\r\n", "192.0.2.7", False),
        (OURS, b"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-For: 192.0.2.8\r\n", "192.0.2.8", False),
        (OURS, b"X-Forwarded-For: somebody\r\n", "127.0.0.1", False),
        (OURS, b"", "127.0.0.1", False),
    ],
)
async def test_the_shelf_knows_clients_behind_our_proxies_and_believes_nobody_else(
    serving: Serving, trusted: list[str], lines: bytes, client: str, kept_id: bool
) -> None:
    asked: list[str] = []
    filled = guarded(asked, trusted_proxies=trusted)
    async with serving(shelf=filled, trusted_proxies=trusted) as connect:
        connection = await connect()
        await connection.send(LOOK + lines + b"\r\n")
        status, headers, _ = await connection.answer()
        await connection.send(LOOK.replace(SHELVED, b"/whoami") + lines + b"\r\n")
        whoami = json.loads((await connection.answer())[2])["client"]
    assert status == 503, "the shelf refused it, and not the route"
    assert asked == [client] == [whoami], "both ways see the same client"
    assert (headers["x-request-id"] == "edge-12345678") is kept_id


async def test_a_slow_answer_is_not_cut_by_the_time_of_one_that_came_with_it(serving: Serving) -> None:
    async with serving(shelf=shelf(), keep_alive_s=1, request_timeout_s=2) as connect:
        connection = await connect()
        await connection.send(LOOK + b"\r\n" + GET.replace(b"GET / ", b"GET /slow ") + b"\r\n")
        assert [(await connection.answer())[0] for _ in range(2)] == [200, 503]


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        (b"GET " + SHELVED + b" HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n", 400),
        (b"GET " + SHELVED + b" HTTP/1.1\r\n\r\n", 400),
        (LOOK + b"Host: 127.0.0.1\r\n\r\n", 400),
        (LOOK + b"X-Filler: " + b"x" * 2_000 + b"\r\n\r\n", 431),
        (LOOK.replace(b"GET", b"DELETE") + b"\r\n", 405),
        (LOOK.replace(b"baskets/b1", b"baskets/b1?x=1") + b"\r\n", 200),
    ],
)
async def test_the_shelf_lets_nothing_pass_that_the_edge_would_stop(
    serving: Serving, request_bytes: bytes, expected: int
) -> None:
    filled = Shelf(small_settings(max_header_bytes=1_000))
    filled.fill({SHELVED.decode(): Ready("shelf", b"from the shelf", "1", ())})
    async with serving(shelf=filled, max_header_bytes=1_000) as connect:
        connection = await connect()
        await connection.send(request_bytes)
        status, _, body = await connection.answer()
        assert status == expected
        assert body != b"from the shelf"


async def test_a_connection_ends_when_its_client_says_so(serving: Serving) -> None:
    async with serving(shelf=shelf(), keep_alive_s=1) as connect:
        for head in (LOOK, GET):
            connection = await connect()
            await connection.send(head + b"Connection: close\r\n\r\n")
            status, headers, _ = await connection.answer()
            assert (status, headers["connection"]) == (200, "close")
            assert await connection.closed()
        idle = await connect()
        await idle.send(LOOK + b"\r\n")
        assert (await idle.answer())[0] == 200
        assert await idle.closed(), "an idle connection ends after the time that it may be kept"


async def test_a_body_in_parts_comes_as_it_is_made(serving: Serving) -> None:
    async with serving() as connect:
        connection = await connect()
        await connection.send(b"GET /cut HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        async with asyncio.timeout(10):
            head = await connection.reader.readuntil(b"\r\n\r\n")
            assert b"transfer-encoding: chunked" in head
            assert await connection.reader.readexactly(9) == b"4\r\nhalf\r\n"
        assert await connection.closed()
        connection = await connect()
        await connection.send(b"HEAD / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + GET + b"\r\n")
        async with asyncio.timeout(10):
            head = await connection.reader.readuntil(b"\r\n\r\n")
        assert b"content-length: 11\r\n" in head
        assert (await connection.answer())[2] == b"<p>home</p>"


@pytest.fixture
def hanging() -> Iterator[socket.socket]:
    """A listening socket whose process takes no connections."""
    with listen("127.0.0.1", 0) as sock:
        sock.listen(100)
        yield sock


def waits_in(sock: socket.socket) -> bool:
    """Whether a connection waits there; it is taken."""
    try:
        taken, _ = sock.accept()
    except BlockingIOError:
        return False
    taken.close()
    return True


async def test_what_waits_for_a_process_that_hangs_is_taken_by_one_beside_it(
    serving: Serving, hanging: socket.socket
) -> None:
    with listen("127.0.0.1", 0) as nobody_listens:
        async with serving(beside=[nobody_listens, hanging]) as connect:
            waiting = [await connect(hanging.getsockname()[1]) for _ in range(30)]
            for _ in range(2):
                for each in waiting:
                    await each.send(GET + b"\r\n")
                assert [(await each.answer())[2] for each in waiting] == [b"<p>home</p>"] * 30
        late = await asyncio.open_connection("127.0.0.1", hanging.getsockname()[1])
        await asyncio.sleep(3 * LOOK_S)
        assert waits_in(hanging), "one that has left takes nobody's"
        late[1].close()


async def test_a_process_that_is_full_takes_nobody_elses(serving: Serving, hanging: socket.socket) -> None:
    async with serving(beside=[hanging], max_connections=1) as connect:
        own = await connect()
        await own.send(GET + b"\r\n")
        assert (await own.answer())[0] == 200
        waiting = await connect(hanging.getsockname()[1])
        await waiting.send(GET + b"\r\n")
        await asyncio.sleep(3 * LOOK_S)
        own.writer.close()
        assert (await waiting.answer())[0] == 200
