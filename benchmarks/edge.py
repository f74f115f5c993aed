"""What the HTTP edge costs: a small POST through it, against the same bytes from a bare uvicorn route, in one run.

Both answer the same body with the same headers, each in a process of its own, in turns; the load comes from this
process over connections that are kept. `cpu_us` is processor time of the serving process per request, of the round that
was disturbed least. `edge_us` is what the edge adds: head checks, limits, request id, log line, metrics, routing,
decoding.

Options: `--seconds 9` in all, `--connections 32`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import os
import statistics
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import cast

import msgspec
import uvicorn
import uvloop
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tidegate.platform.edge.headers import cache_default, default_headers
from tidegate.platform.edge.hot import answer, hot_route
from tidegate.platform.edge.server import listen, make_server
from tidegate.platform.edge.stack import make_app
from tidegate.platform.observability import configure_logging
from tidegate.platform.settings import ObservabilitySettings, Settings

ROUNDS = 6
PATH = "/api/v1/holds"
BODY = b'{"lines":[{"sku":"TEE-BLACK-M","quantity":2}],"drop":"noon"}'
ANSWER = b'{"id":"0198c0de-0000-7000-8000-000000000000","quantity":2}'
START_S = 30.0


class Line(msgspec.Struct):
    """One line of the body."""

    sku: str
    quantity: int


class HoldBody(msgspec.Struct):
    """The body."""

    lines: list[Line]
    drop: str | None = None


class HoldAnswer(msgspec.Struct):
    """The answer."""

    id: str
    quantity: int


@hot_route("POST", PATH, body=HoldBody, returns=(201, HoldAnswer), tag="benchmark")
async def post_hold(request: Request, body: HoldBody) -> Response:
    """Answer what was asked for."""
    return answer(HoldAnswer("0198c0de-0000-7000-8000-000000000000", body.lines[0].quantity), status=201)


def run(options: Sequence[str]) -> Mapping[str, object]:
    """Measure; the figures of `edge` and `bare`, and their ratio."""
    parser = argparse.ArgumentParser(prog="edge")
    parser.add_argument("--seconds", type=float, default=9.0)
    parser.add_argument("--connections", type=int, default=32)
    wanted = parser.parse_args(options)
    with Served("bare") as bare, Served("edge") as edge:
        return uvloop.run(_measure(bare, edge, seconds=wanted.seconds, connections=wanted.connections))


@dataclass
class Served:
    """A server in a process of its own."""

    kind: str
    port: int = 0
    rates: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    def __enter__(self) -> Served:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(self.kind, theirs), daemon=True)
        self._process.start()
        theirs.close()
        if not self._pipe.poll(START_S):
            raise TimeoutError(f"the {self.kind} server did not start")
        self.port = self._pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()

    def cpu_s(self) -> float:
        """Processor time that the process has used."""
        self._pipe.send(None)
        return float(self._pipe.recv())


def _serve(kind: str, pipe: Connection) -> None:
    settings = Settings(observability=ObservabilitySettings(log_format="json"))
    with open(os.devnull, "w") as nowhere:
        configure_logging(settings, process_name=kind, stream=nowhere)
        sock = listen("127.0.0.1", 0)
        sock.listen()
        pipe.send(sock.getsockname()[1])
        threading.Thread(target=_tell_cpu, args=(pipe,), daemon=True).start()
        if kind == "edge":
            app = FastAPI(openapi_url=None, telemetry={"tracing": False, "metrics": False, "logs": False})
            server: uvicorn.Server = make_server(make_app(app, settings, hot=(post_hold,)), settings.http)
        else:
            config = uvicorn.Config(
                _bare(settings), loop="uvloop", http="httptools", ws="none", lifespan="off", log_config=None,
                access_log=False, server_header=False,
            )  # fmt: skip
            server = uvicorn.Server(config)
        gc.collect()
        gc.freeze()  # as the site does
        server.run(sockets=[sock])


def _tell_cpu(pipe: Connection) -> None:
    while True:
        pipe.recv()
        pipe.send(time.process_time())


def _bare(settings: Settings) -> ASGIApp:
    """The least that can answer these bytes: no check, no id of its own, no line, no count, nothing decoded."""
    headers = [
        (b"x-request-id", b"0" * 32),
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(ANSWER)),
        *default_headers(settings),
        cache_default(PATH),
    ]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": ANSWER})

    return app


async def _measure(bare: Served, edge: Served, *, seconds: float, connections: int) -> dict[str, object]:
    lengths = {await _one_answer(served.port) for served in (bare, edge)}
    assert len(lengths) == 1, f"the two do not answer the same bytes: {lengths}"
    for served in (bare, edge):
        await _load(served.port, connections=connections, seconds=seconds / ROUNDS / 8)
    for _ in range(ROUNDS):
        for served in (bare, edge):
            before, started = served.cpu_s(), time.perf_counter()
            done = await _load(served.port, connections=connections, seconds=seconds / ROUNDS / 2)
            served.cpu_us.append((served.cpu_s() - before) / done * 1e6)
            served.rates.append(done / (time.perf_counter() - started))
    figures: dict[str, object] = {}
    for served in (bare, edge):
        figures[f"{served.kind}_requests_per_s"] = round(statistics.median(served.rates))
        figures[f"{served.kind}_cpu_us"] = round(min(served.cpu_us), 1)
    figures["edge_us"] = round(min(edge.cpu_us) - min(bare.cpu_us), 1)
    figures["cpu_ratio"] = round(min(edge.cpu_us) / min(bare.cpu_us), 2)
    figures["connections"] = connections
    return figures


def _request(port: int) -> bytes:
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {'t' * 43}\r\n"
        f"content-type: application/json\r\nidempotency-key: {'k' * 32}\r\ncontent-length: {len(BODY)}\r\n\r\n"
    )
    return head.encode() + BODY


async def _one_answer(port: int) -> int:
    """Bytes of an answer, without its date."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)  # waits in the backlog until it is served
    async with asyncio.timeout(START_S):
        writer.write(_request(port))
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 201"), head
    writer.close()
    return sum(len(line) for line in head.split(b"\r\n") if not line.startswith(b"date:"))


class _Client(asyncio.Protocol):
    """A connection that asks again as soon as it is answered, until told to stop."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._got = b""
        self.done = 0
        self.stopping = False
        self.stopped = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        if not self._got.endswith(ANSWER):
            return
        assert self._got.startswith(b"HTTP/1.1 201"), self._got
        self._got = b""
        self.done += 1
        if self.stopping:
            self._transport.close()
            self.stopped.set_result(None)
        else:
            self._transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.stopped.done():
            self.stopped.set_exception(exc or ConnectionError("the server closed the connection"))


async def _load(port: int, *, connections: int, seconds: float) -> int:
    """Answered requests of a closed loop of so many connections."""
    loop = asyncio.get_running_loop()
    request = _request(port)
    clients: list[_Client] = []
    for _ in range(connections):
        _, client = await loop.create_connection(lambda: _Client(request), "127.0.0.1", port)
        clients.append(client)
    await asyncio.sleep(seconds)
    for client in clients:
        client.stopping = True
    async with asyncio.timeout(START_S):
        await asyncio.gather(*(client.stopped for client in clients))
    return sum(client.done for client in clients)
