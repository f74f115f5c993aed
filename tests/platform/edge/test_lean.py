"""What the edge does with less work means the same as before: headers by name, bodies in parts, deadlines, answers."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from tests.platform.edge.conftest import HOST, Client, small_settings
from tests.platform.edge.test_errors import assert_problem
from tidegate.platform.edge.exchange import exchange_of
from tidegate.platform.edge.hot import HotRequest, answer, hot_route
from tidegate.platform.edge.limits import Bounds
from tidegate.platform.edge.stack import make_app
from tidegate.platform.problems import Overloaded
from tidegate.platform.settings import HttpSettings


def scope_of(*headers: tuple[bytes, bytes]) -> Scope:
    return {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": list(headers)}


def sends(*messages: Message) -> Receive:
    waiting = list(messages)

    async def receive() -> Message:
        return waiting.pop(0)

    return receive


async def ignore(message: Message) -> None:
    """Nobody listens."""


async def test_two_hosts_are_none(client: Client) -> None:
    async with client() as http:
        for _ in range(2):  # the second time the name is known
            assert (await http.get("/", headers={"host": "127.0.0.1"})).status_code == 200
            for other in ("127.0.0.1", "evil.example"):
                response = await http.get("/", headers=[("host", "127.0.0.1"), ("host", other)])
                assert_problem(response, 400, "unknown-host")
        assert_problem(await http.get("/", headers={"host": "evil.example"}), 400, "unknown-host")


async def test_the_token_that_exempts_from_the_origin_check_is_the_one_that_is_used(client: Client) -> None:
    foreign = ("sec-fetch-site", "cross-site")
    both = [("authorization", "Basic eA=="), ("authorization", "Bearer xxxxxxxxxxxxxxxxxxxx"), foreign]
    async with client() as http:
        assert_problem(await http.post("/count", headers=both), 403, "cross-site")
        assert (await http.post("/count", headers=[both[1], foreign])).status_code == 200


def test_headers_are_found_by_any_spelling_of_their_names() -> None:
    scope = scope_of((b"x-a", b"first"), (b"x-a", b"second"), (b"cookie", b"k=v; other=\xe9"), (b"empty", b""))
    headers = HotRequest(scope, sends(), ignore).headers
    assert (headers["X-A"], headers.get("x-a"), headers.getlist("x-a")) == ("first", "first", ["first", "second"])
    assert headers.get("empty", "x") == ""
    assert headers.get("absent") is None
    assert "absent" not in headers
    with pytest.raises(KeyError):
        headers["absent"]
    assert HotRequest(scope, sends(), ignore).cookies == {"k": "v", "other": "\xe9"}


async def test_a_body_may_come_in_parts_and_is_read_once() -> None:
    part = {"type": "http.request", "more_body": True}
    whole: tuple[list[dict[str, Any]], ...] = (
        [{"type": "http.request", "body": b"abc"}],
        [part | {"body": b"a"}, part, part | {"body": b"b"}, {"type": "http.request", "body": b"c"}],
        [part | {"body": b"abc"}, {"type": "http.request"}],
    )
    cut: tuple[list[dict[str, Any]], ...] = ([], [part | {"body": b"a"}])
    for parts in whole:
        request = HotRequest(scope_of(), sends(*parts), ignore)
        assert await request.body() == b"abc"
        assert await request.body() == b"abc"
    for parts in cut:
        with pytest.raises(ClientDisconnect):
            await HotRequest(scope_of(), sends(*parts, {"type": "http.disconnect"}), ignore).body()


async def test_an_answer_brings_its_own_headers_and_gets_the_rest() -> None:
    @hot_route("GET", "/api/v1/kept", returns=(200, dict), tag="kept")
    async def kept(request: Request) -> Response:
        """What may be kept."""
        return answer({"a": 1}, headers={"Cache-Control": "public, max-age=1", "X-Frame-Options": "SAMEORIGIN"})

    app = make_app(FastAPI(openapi_url=None), small_settings(), hot=[kept])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HOST) as http:
        response = await http.get("/api/v1/kept")
    assert response.json() == {"a": 1}
    for name, value in (
        ("content-type", "application/json"), ("content-length", "7"), ("cache-control", "public, max-age=1"),
        ("x-frame-options", "SAMEORIGIN"), ("x-content-type-options", "nosniff"),
    ):  # fmt: skip
        assert response.headers.get_list(name) == [value]


class Slow:
    """An app that takes for ever, or until it is cancelled and then goes on."""

    def __init__(self, *, stubborn: bool = False, answered: bool = False) -> None:
        self.stubborn = stubborn
        self.answered = answered
        self.began = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange_of(scope).complete = self.answered
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not self.stubborn:
                raise


async def serve(app: Slow) -> None:
    bounds = Bounds(app, limits=HttpSettings(request_timeout_s=1))
    await bounds(scope_of(), sends(), ignore)


async def test_who_is_late_is_stopped_and_only_then() -> None:
    started = asyncio.get_running_loop().time()
    with pytest.raises(Overloaded):
        await serve(Slow())
    assert 1 <= asyncio.get_running_loop().time() - started < 10
    await serve(Slow(stubborn=True))
    with pytest.raises(TimeoutError):  # it has answered: nobody is there to be told
        await serve(Slow(answered=True))
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_who_is_given_up_by_others_is_not_late() -> None:
    app = Slow()
    serving = asyncio.create_task(serve(app))
    await app.began.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


async def test_many_late_ones_are_all_stopped() -> None:
    bounds = Bounds(Slow(), limits=HttpSettings(request_timeout_s=1))
    done = await asyncio.gather(*(bounds(scope_of(), sends(), ignore) for _ in range(50)), return_exceptions=True)
    assert [type(one) for one in done] == [Overloaded] * 50
