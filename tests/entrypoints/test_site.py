"""The whole site: its document, its probes, hostile requests, and its life as a process."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from tests.logs import CaughtLogs, caught_logs
from tests.sizes import sized
from tidegate.entrypoints.site import HOT_ROUTES, create_app, end_streams
from tidegate.platform.database import Database
from tidegate.platform.edge.server import listen
from tidegate.platform.edge.stack import OnlyHttp
from tidegate.platform.ids import PersonId, new_id
from tidegate.platform.problems import Overloaded, StartupError
from tidegate.platform.settings import SecuritySettings, Settings

SAME_ORIGIN = {"sec-fetch-site": "same-origin"}
HOSTILE = (
    "%00", "%ff", "%c3%28", "%ed%a0%80", "..%2f..%2fetc%2fpasswd", "%F0%9F%92%A9", "'%20OR%201=1--", "9" * 40, "-1",
    "null", "a" * 3_000, "%0d%0aSet-Cookie:%20x=y", "{}", "<script>", "%25%30%30",
    "00000000-0000-0000-0000-000000000000",
)  # fmt: skip


@pytest.fixture
def logs(settings: Settings) -> Iterator[CaughtLogs]:
    with caught_logs(settings) as caught:
        yield caught


@pytest.fixture
async def site(settings: Settings, logs: CaughtLogs) -> AsyncIterator[FastAPI]:
    """The site of a demo shop, started."""
    edge = create_app(settings.model_copy(update={"demo": True}))
    assert isinstance(edge, OnlyHttp)
    async with edge.app.router.lifespan_context(edge.app):
        edge.app.state.edge = edge
        yield edge.app


@pytest.fixture
async def http(site: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(site.state.edge, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        yield client


def addresses(site: FastAPI) -> set[tuple[str, str]]:
    """Every method and template that the site serves."""
    cold = {
        (method, context.path_format)
        for context in iter_route_contexts(site.routes)
        for method in context.methods or ()
        if context.path_format
    }
    return cold | {(route.method, route.path) for route in HOT_ROUTES}


async def test_a_stop_lets_go_whoever_listens(site: FastAPI) -> None:
    person = PersonId(new_id())
    async with site.state.listeners.listening(person_id=person, token="a", position=None) as stream:
        news = await stream.next(within_s=20)
        assert news is not None
        assert news.unread == 0
        end_streams(site.state.edge)
        assert await stream.next(within_s=20) is None
        assert stream.end == "closing"
    with pytest.raises(Overloaded):
        async with site.state.listeners.listening(person_id=person, token="b", position=None):
            pass


async def test_it_is_ready_when_its_servers_are(http: httpx.AsyncClient, database: Database) -> None:
    assert (await http.get("/readyz")).json() == {
        "status": "ok",
        "parts": {"database": "ok", "migrations": "ok", "valkey": "ok"},
    }
    async with database.transaction() as conn:
        await conn.execute("UPDATE public.alembic_version SET version_num = '9999'")
    assert (await http.get("/readyz")).status_code == 200, "a newer program's migrations came first, as they must"
    async with database.transaction() as conn:
        await conn.execute("UPDATE public.alembic_version SET version_num = '0001'")
    response = await http.get("/readyz")
    assert response.status_code == 503
    assert response.json()["parts"]["migrations"] == "failed"
    assert (await http.get("/livez")).status_code == 200


async def test_the_document_names_every_route_of_the_api(site: FastAPI, http: httpx.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    served = {(method, path) for method, path in addresses(site) if path.startswith("/api/")}
    assert described == served
    text = json.dumps(document)
    assert {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]} <= set(
        document["components"]["schemas"]
    )
    for methods in document["paths"].values():
        for operation in methods.values():
            assert operation["summary"]
            for status, response in operation["responses"].items():
                if status == "default" or int(status) >= 400:
                    assert list(response["content"]) == ["application/problem+json"]


def example(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """The least that a schema asks for."""
    if "$ref" in schema:
        return example(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return example(schema[choice][0], schemas)
    match schema.get("type"):
        case "object":
            return {name: example(part, schemas) for name, part in schema.get("properties", {}).items()}
        case "array":
            return [example(schema.get("items", {}), schemas)] * max(1, schema.get("minItems", 1))
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "string":
            return "x" * schema.get("minLength", 3)
    return None


def spoiled(value: Any) -> Iterator[Any]:
    """The value with one part of it replaced by something that it should not be."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield {key: item for key, item in value.items() if key != name}
            for worse in spoiled(part):
                yield value | {name: worse}
    elif isinstance(value, list):
        yield []
        yield value * 1_000
        for worse in spoiled(value[0]):
            yield [worse]
    yield from (
        "\0",
        "\ud800",
        "é" * 5_000,
        10**30,
        -1,
        1.5,
        None,
        True,
        [],
        {},
        [[]],
        "' OR 1=1 --",
        "a@b\r\nBcc: c@d",
    )


async def test_no_nonsense_breaks_it(site: FastAPI, http: httpx.AsyncClient, logs: CaughtLogs) -> None:
    """Every parameter of every address in turn gets what it should never get; nothing of it is the shop's fault."""
    token = (await http.post("/api/v1/guests")).json()["token"]
    callers = itertools.cycle([{"authorization": f"Bearer {token}"}, SAME_ORIGIN | {"accept": "text/html"}])
    asked = 0
    for method, path in sorted(addresses(site)):
        for word, headers in zip(HOSTILE[:: sized(full=1, brief=2)], callers, strict=False):
            address = "/".join(word if part.startswith("{") else part for part in path.split("/"))
            response = await http.request(method, f"{address}?after={word}&limit={word}&query={word}", headers=headers)
            assert response.status_code < 500, (method, address, response.text[:200])
            asked += 1
    assert asked > 300
    assert logs.events("unhandled_error") == []


async def test_no_form_breaks_it(site: FastAPI, http: httpx.AsyncClient, logs: CaughtLogs) -> None:
    """Every form with its right token and wrong fields."""
    names = (
        "sku", "quantity", "drop", "hold_id", "email", "password", "name", "line1", "city", "postal_code", "country",
        "method", "provider", "token", "choice", "next",
    )  # fmt: skip
    page = (await http.get("/login")).text
    token = re.search(r'name="form_token" value="([^"]+)"', page)
    assert token is not None
    paths = [path for method, path in sorted(addresses(site)) if method == "POST" and not path.startswith("/api/")]
    assert len(paths) >= 5
    for path in paths:
        address = re.sub(r"{\w+}", str(new_id()), path)
        for word in ("", "-1", "9" * 40, "1.5", "é" * 3_000, "\u0085", "<b>", "a@b\r\nBcc: c@d", "\N{PILE OF POO}"):
            data = dict.fromkeys(names, word) | {"form_token": token[1]}
            response = await http.post(address, data=data, headers=SAME_ORIGIN | {"accept": "text/html"})
            assert response.status_code < 500, (path, word[:20], response.text[:300])
            assert response.status_code != 403 or path == "/admin", (path, "the token was right")
    assert logs.events("unhandled_error") == []


async def test_no_body_breaks_it(http: httpx.AsyncClient, logs: CaughtLogs) -> None:
    """Bodies after the document's own schemas, each spoiled in one place."""
    token = (await http.post("/api/v1/guests")).json()["token"]
    document = (await http.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    asked = 0
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if "requestBody" not in operation or path.endswith("/sessions"):  # signing in is slow on purpose
                continue
            good = example(operation["requestBody"]["content"]["application/json"]["schema"], schemas)
            for body in (good, *spoiled(good)):
                headers = {
                    "authorization": f"Bearer {token}", "idempotency-key": f"key-{asked}",
                    "content-type": "application/json",
                }  # fmt: skip
                response = await http.request(method, path, content=json.dumps(body).encode("ascii"), headers=headers)
                assert response.status_code < 500, (method, path, str(body)[:200], response.text[:300])
                if response.status_code >= 400:
                    assert response.headers["content-type"] == "application/problem+json"
                asked += 1
    assert asked > 50
    assert logs.events("unhandled_error") == []


async def test_an_outage_of_the_database_is_told_so(
    site: FastAPI, http: httpx.AsyncClient, settings: Settings, logs: CaughtLogs
) -> None:
    await site.state.database.close()
    api = await http.get("/api/v1/products")
    assert api.status_code == 503
    assert api.json()["type"] == "/problems/overloaded"
    assert api.headers["retry-after"]
    page = await http.get("/", headers={"accept": "text/html"})
    assert page.status_code == 503
    assert "The shop is full right now" in page.text or "try again" in page.text.lower()
    assert logs.events("unhandled_error") == []


def test_it_does_not_start_without_its_keys(settings: Settings) -> None:
    with pytest.raises(StartupError, match="FORM_KEY"):
        create_app(settings.model_copy(update={"security": SecuritySettings()}))


def test_a_process_serves_the_inherited_socket_and_ends_in_order(settings: Settings) -> None:
    program = (
        "from tidegate.platform.settings import load_settings\n"
        "from tidegate.entrypoints.site import serve\n"
        "serve(load_settings())"
    )
    with listen("127.0.0.1", 0) as sock:
        sock.listen()
        port = sock.getsockname()[1]
        environment = os.environ | {
            "TIDEGATE_LISTEN_FD": str(sock.fileno()), "TIDEGATE_PROCESS_NAME": "site-7", "TIDEGATE_METRICS_PORT": "0",
        }  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            env=environment,
            pass_fds=[sock.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{port}/readyz", timeout=30
            ) as response:  # waits in the queue
                assert json.load(response)["status"] == "ok"
            process.send_signal(signal.SIGTERM)
            _, text = process.communicate(timeout=20)
        finally:
            process.kill()
        assert process.returncode == 0, text
        lines = [json.loads(line) for line in text.splitlines()]
        assert {line["process"] for line in lines} == {"site-7"}
        assert "metrics_served" in {line["event"] for line in lines}
