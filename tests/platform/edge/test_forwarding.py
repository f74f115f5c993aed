"""Requests for a part of the site go to its process; and a process that is replaced loses none. On real connections."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.waiting import eventually
from tidegate.platform.edge.errors import FAILED_KEY, problem_response
from tidegate.platform.edge.forwarding import Forwarding, Parts
from tidegate.platform.edge.server import StoppingServer, listen, make_server
from tidegate.platform.edge.upstream import MOST_BUFFERED, Address, Upstream
from tidegate.platform.settings import HttpSettings

pytestmark = pytest.mark.anyio

LIMITS = HttpSettings(keep_alive_s=1, shutdown_grace_s=2, request_timeout_s=5, max_body_bytes=100_000)
PATIENCE_S = 0.5
"""Long enough for a test's own process to answer in, however busy the machine is."""
ROUTES = {"till": [("GET", "/till/{number}"), ("POST", "/till/{number}"), ("POST", "/pay")]}
CHUNK = b"x" * 65_536


def saying(name: str, *, on_request: Callable[[Scope], Any] = lambda scope: None) -> ASGIApp:
    """An application that tells its name and what it was asked."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        if (waits := on_request(scope)) is not None:
            await waits
        headers = {key.decode(): value.decode() for key, value in scope["headers"]}
        told = {"by": name, "path": scope["path"], "query": scope["query_string"].decode(), "headers": headers}
        parts = [CHUNK] * 40 if scope["path"] == "/till/long" else [json.dumps(told | {"bytes": len(body)}).encode()]
        length = [] if len(parts) > 1 else [(b"content-length", b"%d" % len(parts[0]))]
        kind = (b"content-type", b"application/json")
        await send({"type": "http.response.start", "status": 201, "headers": [kind, (b"x-own", b"a"), *length]})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app


def leading(here: ASGIApp, parts: Parts, *, limits: HttpSettings = LIMITS) -> ASGIApp:
    """A site that has parts: the way to them before all, and what went wrong on it said as the edge does."""

    async def edge(scope: Scope, receive: Receive, send: Send) -> None:
        problem = scope.get(FAILED_KEY)
        await (problem_response(problem) if problem else here)(scope, receive, send)

    inner = Forwarding(edge, parts=parts, routes=ROUTES, limits=limits)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (inner if scope["type"] == "http" else here)(scope, receive, send)

    return app


@asynccontextmanager
async def serving(app: ASGIApp, *, sock: socket.socket | None = None) -> AsyncIterator[tuple[StoppingServer, int]]:
    sock = sock or listen("127.0.0.1", 0)
    port = sock.getsockname()[1]
    server = make_server(app, LIMITS)
    running = asyncio.create_task(server._serve([sock]))
    try:
        await eventually(lambda: server.started)
        yield server, port
    finally:
        server.should_exit = True
        await running


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "endpoints.json"


def tell(file: Path, *ports: int) -> None:
    draft = file.with_suffix(".new")
    draft.write_text(json.dumps({"parts": {"till": ports}}))
    draft.replace(file)


Front = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def parts(file: Path) -> Parts:
    return Parts(file, LIMITS, patience_s=PATIENCE_S)


@pytest.fixture
def front(parts: Parts) -> Front:
    """`async with front() as client`: the site, which leads requests of the part `till` elsewhere."""

    @asynccontextmanager
    async def open_front(limits: HttpSettings = LIMITS) -> AsyncIterator[httpx.AsyncClient]:
        app = leading(saying("site"), parts, limits=limits)
        async with (
            serving(app) as (_, port),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20.0) as client,
        ):
            yield client
        parts.close()

    return open_front


async def test_a_part_answers_for_its_routes_and_the_site_for_the_rest(front: Front, file: Path) -> None:
    async with serving(saying("till")) as (_, port), front() as client:
        assert (await client.get("/till/7")).json()["by"] == "site", "nobody told of a part"
        tell(file, port)
        await eventually(lambda: is_by(client, "till"))
        asked = await client.post(
            "/till/7?a=1&b=%20",
            content=b"b" * 70_000,
            headers={"x-forwarded-for": "9.9.9.9", "x-request-id": "chosen-by-a-stranger", "cookie": "c=1"},
        )
        told = asked.json()
        assert (asked.status_code, asked.headers["x-own"], told["by"], told["bytes"]) == (201, "a", "till", 70_000)
        assert (told["path"], told["query"]) == ("/till/7", "a=1&b=%20")
        assert told["headers"]["x-forwarded-for"] == "127.0.0.1", "nobody says themselves who they are"
        assert told["headers"]["host"] == f"127.0.0.1:{client.base_url.port}"
        assert told["headers"]["cookie"] == "c=1"
        assert "x-request-id" not in told["headers"]
        for method, path in (("GET", "/"), ("GET", "/till/7/more"), ("DELETE", "/till/7"), ("GET", "/pay")):
            assert (await client.request(method, path)).json()["by"] == "site", (method, path)
        too_large = await client.post("/till/7", content=b"b" * 100_001)
        assert too_large.json()["by"] == "site", "what is too large is judged where it arrives"
        long = await client.get("/till/long")
        assert len(long.content) == 40 * len(CHUNK) > 2 * MOST_BUFFERED, "a long answer comes through in parts"
        file.unlink()
        await eventually(lambda: is_by(client, "site"))


async def is_by(client: httpx.AsyncClient, name: str) -> bool:
    return bool((await client.get("/till/1")).json()["by"] == name)


async def test_a_part_that_is_away_costs_no_request(front: Front, file: Path) -> None:
    async with serving(saying("two")) as (_, two), front() as client:
        async with serving(saying("one")) as (_, one):
            tell(file, one, two)
            await eventually(lambda: is_by(client, "one"))
        answers = Counter([(await client.post("/till/1", content=b"abc")).json()["by"] for _ in range(5)])
        assert answers == {"two": 5}, "the one that left is not waited for"
    tell(file, one, two)
    async with front() as client:
        last = (await client.post("/till/1", content=b"abc")).json()
        assert (last["by"], last["bytes"]) == ("site", 3), "where no process of the part is left, the site serves it"


async def test_what_may_have_taken_effect_is_not_asked_again(front: Front, file: Path) -> None:
    """A process dies over a request: one that may be repeated is, another is told of."""
    asked: list[str] = []

    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).split(b" ")[0].decode())
        writer.close()

    deadly = await asyncio.start_server(die, "127.0.0.1", 0)
    port = deadly.sockets[0].getsockname()[1]
    tell(file, port)
    async with deadly, front() as client:
        lost = await client.post("/pay", content=b"1")
        assert (lost.status_code, lost.json()["type"]) == (503, "/problems/overloaded")
        assert "Look whether it took effect" in lost.json()["detail"] and lost.headers["retry-after"]
        assert asked == ["POST"]
        repeated = await client.post("/pay", content=b"1", headers={"idempotency-key": "k"})
        assert repeated.json()["by"] == "site"
        assert (await client.get("/till/1")).json()["by"] == "site"
        assert asked == ["POST", "POST", "GET"]


@pytest.fixture
def frozen() -> Iterator[socket.socket]:
    """Where a process listens that is frozen: connections are made, and nobody accepts, reads or answers."""
    with listen("127.0.0.1", 0) as sock:
        sock.listen(128)
        yield sock


async def sent(client: httpx.AsyncClient, parts: Parts, path: str = "/pay") -> asyncio.Task[httpx.Response]:
    """A request that must not be repeated, once some process was asked it."""
    asking = asyncio.create_task(client.post(path, content=b"1"))
    await eventually(lambda: any(address.watch.waiting for address in parts.now(0.0).get("till", ())))
    return asking


async def test_a_frozen_process_is_left_alone_until_it_answers(
    front: Front, file: Path, parts: Parts, frozen: socket.socket
) -> None:
    tell(file, frozen.getsockname()[1])
    async with front(LIMITS.model_copy(update={"request_timeout_s": 1})) as client:
        first = await sent(client, parts)
        assert await is_by(client, "site"), "what may be repeated waits no longer than until the silence is noticed"
        for path in ("/pay", "/till/1"):
            assert (await client.post(path, content=b"1")).json()["by"] == "site", "nobody is sent there any more"
        assert not first.done()
        lost = await first
        assert (lost.status_code, lost.json()["type"]) == (503, "/problems/overloaded")
        assert "Look whether it took effect" in lost.json()["detail"]
        async with serving(saying("till"), sock=frozen):
            await eventually(lambda: is_by(client, "till"))
            assert (await client.post("/pay", content=b"1")).json()["by"] == "till"


async def test_who_waits_for_a_frozen_process_gets_its_answer_if_it_wakes_in_time(
    front: Front, file: Path, parts: Parts, frozen: socket.socket
) -> None:
    tell(file, frozen.getsockname()[1])
    async with front() as client:
        waiting = await sent(client, parts)
        assert await is_by(client, "site")
        async with serving(saying("till"), sock=frozen):
            assert (await waiting).json()["by"] == "till"


async def test_the_others_are_asked_for_a_frozen_process(
    front: Front, file: Path, parts: Parts, frozen: socket.socket
) -> None:
    async with serving(saying("two")) as (_, two), front() as client:
        tell(file, frozen.getsockname()[1], two)
        assert await is_by(client, "two"), "asked the first one, and then the other"
        assert [address.watch.silent for address in parts.now(0.0)["till"]] == [True, False]
        asked = [client.post("/pay", content=b"1") for _ in range(20)]
        assert Counter([answer.json()["by"] for answer in await asyncio.gather(*asked)]) == {"two": 20}


async def test_an_answer_that_takes_long_is_no_silence(front: Front, file: Path, parts: Parts) -> None:
    """A purchase waits for a payment provider: alone at first, then among quick ones."""
    asked: Counter[str] = Counter()
    provider = asyncio.Event()

    def on_request(scope: Scope) -> Any:
        asked[scope["path"]] += 1
        return provider.wait() if scope["path"] == "/till/slow" else None

    async with serving(saying("till", on_request=on_request)) as (_, port), front() as client:
        tell(file, port)
        slow = await sent(client, parts, "/till/slow")
        await eventually(lambda: asked["/livez"] >= 2)
        for _ in range(20):
            assert (await client.post("/pay", content=b"1")).json()["by"] == "till"
        assert not slow.done()
        provider.set()
        assert (await slow).json()["by"] == "till"


async def test_replacing_processes_under_load_loses_no_request(front: Front, file: Path) -> None:
    """A site's process twice (the new one takes the socket), and a part's once, while people keep asking."""
    shared = listen("127.0.0.1", 0)
    shared.listen(128)
    told: Counter[str] = Counter()
    stop = asyncio.Event()
    slow = lambda scope: asyncio.sleep(0.02)  # noqa: E731

    def site(name: str) -> ASGIApp:
        return leading(saying(name, on_request=slow), Parts(file, LIMITS))

    async def ask(number: int) -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{shared.getsockname()[1]}") as client:
            while not stop.is_set():
                answer = await (client.post("/pay", content=b"1") if number % 2 else client.get("/"))
                assert answer.status_code == 201
                told[answer.json()["by"]] += 1

    async with asyncio.timeout(20):
        async with (
            serving(saying("till-1", on_request=slow)) as (first_till, one),
            serving(site("site-1"), sock=shared.dup()) as (first, _),
        ):
            tell(file, one)
            asking = [asyncio.create_task(ask(number)) for number in range(8)]
            await eventually(lambda: told["site-1"] > 20 and told["till-1"] > 20)
            async with serving(site("site-2"), sock=shared.dup()) as (second, _):
                first.drain()
                await eventually(lambda: not first.server_state.connections and told["site-2"] > 20)
                async with serving(saying("till-2", on_request=slow)) as (_, two):
                    tell(file, two)
                    await eventually(lambda: told["till-2"] > 20)
                    first_till.drain()
                    await eventually(lambda: not first_till.server_state.connections)
                    async with serving(site("site-3"), sock=shared.dup()):
                        second.drain()
                        await eventually(lambda: not second.server_state.connections and told["site-3"] > 20)
                        stop.set()
                        await asyncio.gather(*asking)
    shared.close()
    assert set(told) == {"site-1", "site-2", "site-3", "till-1", "till-2"}, told


async def test_a_connection_is_kept_only_while_its_process_is_known_and_its_answer_was_read() -> None:
    request = b"GET /till/1 HTTP/1.1\r\nhost: a\r\n\r\n"
    async with serving(saying("till")) as (_, port):
        address = Address(port, idle_s=60.0)

        async def answered() -> Upstream:
            found = address.take(now_s=0.0) or await address.open()
            found.ask(request)
            assert (await found.head())[0] == 201
            while (await found.part())[1]:
                pass
            return found

        first = await answered()
        address.give_back(first, now_s=0.0)
        assert await answered() is first
        unread = await address.open()
        unread.ask(request)
        await unread.head()
        address.give_back(unread, now_s=0.0)
        assert address.take(now_s=0.0) is None, "the next answer would not be its own"
        address.close()
        address.give_back(first, now_s=0.0)
        assert not first.usable, "nobody would ever take it again"
