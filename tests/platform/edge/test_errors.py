"""Every failure is a problem for programs and a page for people, and tells nothing of the inside."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.types import Message

from tests.logs import CaughtLogs
from tests.platform.edge.conftest import HOST, SECRET_WORDS, Client, small_settings, small_shop
from tidegate.platform.edge.stack import make_app
from tidegate.platform.problems import InternalError, Problem

PAGE = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def assert_problem(response: httpx.Response, status: int, slug: str) -> dict[str, object]:
    document: dict[str, object] = response.json()
    assert response.status_code == status, document
    assert response.headers["content-type"] == "application/problem+json"
    assert document["type"] == f"/problems/{slug}"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    return document


@pytest.mark.parametrize(
    ("path", "status", "slug"),
    [
        ("/nothing", 404, "not-found"),
        ("/api/v1/baskets/broken", 500, "internal-error"),
        ("/raise/bug", 500, "internal-error"),
        ("/raise/database", 503, "overloaded"),
        ("/raise/data", 422, "invalid-request"),
        ("/raise/stranger", 401, "not-signed-in"),
        ("/raise/full", 503, "overloaded"),
        ("/api/v1/things/x", 422, "invalid-request"),
    ],
)
async def test_a_failure_is_a_problem(client: Client, path: str, status: int, slug: str) -> None:
    async with client() as http:
        response = await http.get(path)
        assert_problem(response, status, slug)
        assert SECRET_WORDS not in response.text
        assert "10.0.0.1" not in response.text


async def test_a_browser_gets_a_page(client: Client) -> None:
    async with client() as http:
        for path, status in (("/nothing", 404), ("/raise/bug", 500), ("/raise/full", 503)):
            response = await http.get(path, headers=PAGE)
            assert response.status_code == status
            assert response.headers["content-type"].startswith("text/html")
            assert SECRET_WORDS not in response.text
        assert (await http.get("/raise/full", headers=PAGE)).headers["retry-after"] == "7"
        assert_problem(await http.get("/api/v1/nothing", headers=PAGE), 404, "not-found")


async def test_what_helps_the_caller_is_in_the_headers(client: Client) -> None:
    async with client() as http:
        assert (await http.get("/raise/full")).headers["retry-after"] == "7"
        assert (await http.get("/raise/database")).headers["retry-after"] == "2"
        assert (await http.get("/raise/stranger")).headers["www-authenticate"] == "Bearer"
        broken = await http.get("/raise/bug")
        assert broken.json()["request_id"] == broken.headers["x-request-id"]
        assert broken.headers["cache-control"] == "no-store"


async def test_a_wrong_method_says_which_are_right(client: Client) -> None:
    async with client() as http:
        for method, path, allowed in (
            ("DELETE", "/api/v1/things/1", "GET"),
            ("GET", "/api/v1/baskets", "POST"),
            ("DELETE", "/api/v1/baskets/7", "GET"),
        ):
            response = await http.request(method, path)
            assert_problem(response, 405, "method-not-allowed")
            assert response.headers["allow"] == allowed


async def test_wrong_fields_are_named_and_their_values_never_repeated(client: Client) -> None:
    async with client() as http:
        response = await http.post("/api/v1/colours", json={"name": ["hush-hush"], "shade": "tell-nobody"})
        document = assert_problem(response, 422, "invalid-request")
        fields = {error["field"] for error in document["errors"]}  # type: ignore[attr-defined]
        assert fields == {"name", "shade"}
        assert "hush-hush" not in response.text
        assert "tell-nobody" not in response.text
        response = await http.get("/api/v1/things/1?limit=1000")
        assert assert_problem(response, 422, "invalid-request")["errors"] == [
            {"field": "limit", "message": "Input should be less than or equal to 100."}
        ]


async def test_a_body_that_is_no_json_is_malformed(client: Client) -> None:
    headers = {"content-type": "application/json"}
    async with client() as http:
        for path in ("/api/v1/colours", "/api/v1/baskets"):
            for body in (b"{", b"\xff\xfe", b"[" * 50_000, b""):
                response = await http.post(path, content=body, headers=headers)
                assert response.status_code in (400, 422), (path, body[:5])
                assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path",
    [
        "/%ff%fe", "/api/v1/things/%00", "/api/v1/things/1?limit=%00", "/api/v1/things/1?limit=%ff", "/%00",
        "/api/v1/baskets/%ff", "/api/v1/things/99999999999999999999999999999999", "//example.org/%2f..", "/static/%00",
    ],
)  # fmt: skip
async def test_nonsense_in_an_address_is_the_callers_fault(client: Client, path: str) -> None:
    async with client() as http:
        response = await http.get(path)
        assert response.status_code < 500, response.text


async def test_an_answer_that_breaks_off_is_cut(client: Client) -> None:
    """A half answer must not look whole; the server cuts the connection when the app raises."""
    app = make_app(small_shop(), small_settings())
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "GET", "path": "/cut", "query_string": b"", "scheme": "http",
        "headers": [(b"host", b"127.0.0.1")], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    with pytest.raises(ConnectionAbortedError):
        await app(scope, receive, send)
    assert not any(message.get("more_body") is False for message in sent)


async def test_an_error_page_that_fails_does_not_hide_the_error() -> None:
    def page(*_: object) -> object:
        raise KeyError("template")

    app = make_app(small_shop(), small_settings(), error_page=page)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HOST) as http:
        response = await http.get("/nothing", headers=PAGE)
    assert response.status_code == 404
    assert "There is nothing here" in response.text


def test_every_problem_explains_itself() -> None:
    waiting = [Problem]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        assert kind.__doc__, kind
        assert 400 <= kind.status <= 599
    assert InternalError.status == 500


async def test_a_bug_is_logged_once_with_the_request_it_broke(client: Client, logs: CaughtLogs) -> None:
    async with client() as http:
        for path in ("/raise/bug", "/api/v1/baskets/broken"):
            logs.truncate(logs.seek(0))
            request_id = (await http.get(path)).headers["x-request-id"]
            (line,) = logs.events("unhandled_error")
            assert line["request_id"] == request_id
            assert SECRET_WORDS in line["exception"]
            assert [line["status"] for line in logs.events("request")] == [500]
