"""What one request may cost is bounded, and said in the shop's own words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from tests.platform.edge.conftest import Client
from tests.platform.edge.test_errors import assert_problem


async def chunks(count: int, size: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * size


async def test_a_large_body_is_refused_before_it_is_read(client: Client) -> None:
    async with client(max_body_bytes=100) as http:
        assert (await http.post("/count", content=b"x" * 100)).json() == {"bytes": 100}
        response = await http.post("/count", content=b"x" * 101)
        assert_problem(response, 413, "body-too-large")
        assert response.headers["connection"] == "close"
        response = await http.post("/count", content=b"", headers={"content-length": "1" + "0" * 30})
        assert_problem(response, 413, "body-too-large")
        response = await http.post("/count", content=b"", headers={"content-length": "-1"})
        assert_problem(response, 400, "malformed-body")


async def test_a_streamed_body_is_refused_where_it_grows_too_large(client: Client) -> None:
    form = {"content-type": "application/x-www-form-urlencoded", "origin": "http://127.0.0.1:8000"}
    json = {"content-type": "application/json"}
    async with client(max_body_bytes=100) as http:
        assert (await http.post("/count", content=chunks(10, 10))).json() == {"bytes": 100}
        for path, headers in (("/count", {}), ("/form", form), ("/api/v1/colours", json), ("/api/v1/baskets", json)):
            response = await http.post(path, content=chunks(11, 10), headers=headers)
            assert_problem(response, 413, "body-too-large")


async def test_addresses_for_files_take_more_and_have_their_own_bound(client: Client) -> None:
    async with client(max_body_bytes=100) as http:
        assert (await http.post("/files/lamp", content=b"x" * 200)).json() == {"bytes": 200}
        assert (await http.post("/files/lamp", content=chunks(20, 10))).json() == {"bytes": 200}
        assert_problem(await http.post("/files/lamp", content=b"x" * 201), 413, "body-too-large")
        assert_problem(await http.post("/files/lamp", content=chunks(21, 10)), 413, "body-too-large")
        assert_problem(await http.post("/files/LAMP", content=b"x" * 101), 413, "body-too-large")


async def test_large_headers_are_refused(client: Client) -> None:
    async with client(max_header_bytes=1_000) as http:
        assert (await http.get("/", headers={"x-filler": "x" * 500})).status_code == 200
        assert_problem(await http.get("/", headers={"x-filler": "x" * 1_000}), 431, "headers-too-large")
        assert_problem(await http.get("/?" + "q" * 1_000), 431, "headers-too-large")


async def test_a_request_that_takes_too_long_is_answered(client: Client) -> None:
    async with client(request_timeout_s=1) as http:
        response = await http.get("/slow")
        assert_problem(response, 503, "overloaded")
        assert response.headers["retry-after"]


async def test_too_many_at_once_are_told_to_come_back(client: Client) -> None:
    async with client(max_connections=1, request_timeout_s=1) as http:
        first = asyncio.create_task(http.get("/slow"))
        await asyncio.sleep(0.05)
        response = await http.get("/")
        assert_problem(response, 503, "overloaded")
        assert response.headers["retry-after"] == "2"
        await first
        assert (await http.get("/")).status_code == 200
