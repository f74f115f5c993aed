"""Looking around: pages and API answers of the catalogue when warm, against a bare route in the same run.

    python -m benchmarks browse [--seconds 30] [--connections 32] [--smoke] --json

One site process with the demo catalogue, one process with a bare Starlette route that answers the bytes of a product's
API answer, and the load generator share the cores. Strangers come on kept connections, each asking again as soon as it
is answered, for the pages, the API and the bare route in turns; figures are medians of the rounds. `p99_ms` counts from
the moment a request was due, at `SHARE` of the measured rate, with random arrivals.
`queries_per_request` is what PostgreSQL counted of transactions during all of it, with what the process asks by itself
every second (`idle_queries_per_s`). `page_bytes` is the largest page asked for, without pictures.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

import psycopg
import uvloop

from benchmarks.bare import ANSWER_VARIABLE
from benchmarks.servers import Fleet, Servers, fleet, machine, servers
from tidegate.entrypoints.demo import load
from tidegate.platform.settings import current_settings

ROUNDS = 5
SHARE = 0.6
STATISTICS_S = 1.5
"""How long PostgreSQL may keep its counts to itself."""
IDLE_S = 3.0
ANSWER_WITHIN_S = 30.0
LOOKED_AT = 6
"""Products whose pages and API answers are asked for, beside the lists."""


@dataclass(slots=True)
class Target:
    """Addresses of one server, asked for in turn."""

    name: str
    port: int
    paths: tuple[str, ...]
    rates: list[float] = field(default_factory=list)
    p99_ms: float = 0.0

    def requests(self) -> list[bytes]:
        """A request for each address."""
        head = f" HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\naccept: */*\r\n\r\n"
        return [f"GET {path}{head}".encode() for path in self.paths]


def run(options: Sequence[str]) -> Mapping[str, object]:
    """Measure; the rates, their ratios to the bare route, latencies, queries and the pages' weight."""
    parser = argparse.ArgumentParser(prog="browse")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--smoke", action="store_true")
    wanted = parser.parse_args(options)
    seconds = 1.5 if wanted.smoke else wanted.seconds
    with servers() as made:
        uvloop.run(fill())
        with fleet(made.home, "benchmarks.site", processes=1) as site:
            pages, api = targets(made, site)
            answer = _read(site.port, api.paths[-1]).decode()
            with fleet(made.home, "benchmarks.bare", processes=1, environment={ANSWER_VARIABLE: answer}) as floor:
                bare = Target("bare", floor.port, ("/look",))
                figures = uvloop.run(
                    _measure(made, (bare, pages, api), seconds=seconds, connections=wanted.connections)
                )
            weights = [len(_read(site.port, path)) for path in pages.paths]
            site.check_alive()
        return {**figures, "page_bytes": max(weights), **machine(made, processes=1)}


async def fill() -> datetime:
    """Write the demo's catalogue; when its drop opens."""
    return (await load(current_settings())).opens_at


def targets(made: Servers, site: Fleet) -> tuple[Target, Target]:
    """Pages of that catalogue, and its JSON."""
    with psycopg.connect(made.database_url, autocommit=True) as conn:
        sql = "SELECT slug FROM catalog.products WHERE status = 'active' ORDER BY popularity DESC, slug LIMIT %s"
        slugs = [str(row[0]) for row in conn.execute(sql, (LOOKED_AT,)).fetchall()]
        row = conn.execute("SELECT slug FROM catalog.collections ORDER BY slug LIMIT 1").fetchone()
    assert row is not None
    pages = ("/", f"/collections/{row[0]}", *(f"/products/{slug}" for slug in slugs))
    api = ("/api/v1/products", *(f"/api/v1/products/{slug}" for slug in slugs))
    return Target("pages", site.port, pages), Target("api", site.port, api)


async def _measure(
    made: Servers, targets: tuple[Target, Target, Target], *, seconds: float, connections: int
) -> dict[str, object]:
    bare, pages, api = targets
    for target in targets:
        await closed(target, connections=connections, seconds=seconds / 30)
    await asyncio.sleep(STATISTICS_S)
    before, began_s = _transactions(made), time.monotonic()
    await asyncio.sleep(IDLE_S + STATISTICS_S)
    idle_per_s = (_transactions(made) - before) / (time.monotonic() - began_s)
    before, asked = _transactions(made), 0
    for _ in range(ROUNDS):
        for target in targets:
            began_s = time.perf_counter()
            done = await closed(target, connections=connections, seconds=seconds * 0.6 / ROUNDS / 3)
            target.rates.append(done / (time.perf_counter() - began_s))
            asked += 0 if target is bare else done
    for target in (pages, api):
        rate = statistics.median(target.rates) * SHARE
        async with crowd(target, connections=connections, rate_per_s=rate) as visitors:
            took_s = await visitors.during(seconds * 0.2)
        asked += len(took_s)
        target.p99_ms = round(sorted(took_s)[int(len(took_s) * 0.99)] * 1000, 2)
    await asyncio.sleep(STATISTICS_S)
    queries = _transactions(made) - before
    floor = statistics.median(bare.rates)
    return {
        "pages_per_s": round(statistics.median(pages.rates)),
        "api_per_s": round(statistics.median(api.rates)),
        "bare_rps": round(floor),
        "page_ratio": round(statistics.median(pages.rates) / floor, 3),
        "api_ratio": round(statistics.median(api.rates) / floor, 3),
        "p99_ms": max(pages.p99_ms, api.p99_ms),
        "page_p99_ms": pages.p99_ms,
        "api_p99_ms": api.p99_ms,
        "requests": asked,
        "queries_per_request": round(queries / asked, 4),
        "idle_queries_per_s": round(idle_per_s, 1),
        "connections": connections,
    }


def _transactions(made: Servers) -> int:
    """Transactions of the shop's database so far; a query outside a transaction is one."""
    with psycopg.connect(made.database_url, autocommit=True) as conn:
        row = conn.execute(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
    assert row is not None
    return int(row[0])


def _read(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=ANSWER_WITHIN_S) as answer:
        return bytes(answer.read())


class _Client(asyncio.Protocol):
    """A connection that has at most one request under way."""

    def __init__(self) -> None:
        self._got = bytearray()
        self._wanted = -1
        self.answered: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def ask(self, request: bytes) -> asyncio.Future[None]:
        """Send a request; done when its answer is there."""
        self.answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self.answered

    def data_received(self, data: bytes) -> None:
        self._got += data
        if self._wanted < 0:
            end = self._got.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._got[:end]).lower()
            assert head.startswith(b"http/1.1 200"), head
            self._wanted = end + 4 + int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(self._got) >= self._wanted:
            self._got.clear()
            self._wanted = -1
            assert self.answered is not None
            self.answered.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answered is not None and not self.answered.done():
            self.answered.set_exception(exc or ConnectionError("the server closed the connection"))

    def close(self) -> None:
        """End it."""
        self._transport.close()


async def _connect(target: Target, connections: int) -> list[_Client]:
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(_Client, "127.0.0.1", target.port))[1] for _ in range(connections)]


async def closed(target: Target, *, connections: int, seconds: float) -> int:
    """Answered requests of so many connections that ask again at once."""
    clients = await _connect(target, connections)
    requests = target.requests()
    end_s = time.perf_counter() + seconds

    async def keep_asking(client: _Client, first: int) -> int:
        number = first
        while time.perf_counter() < end_s:
            await client.ask(requests[number % len(requests)])
            number += 1
        return number - first

    async with asyncio.timeout(seconds + ANSWER_WITHIN_S):
        done = await asyncio.gather(*(keep_asking(client, place) for place, client in enumerate(clients)))
    for client in clients:
        client.close()
    return sum(done)


class Crowd:
    """Visitors who come on and on, at random moments, whether or not others were served."""

    def __init__(self, clients: Sequence[_Client], requests: Sequence[bytes], rate_per_s: float) -> None:
        self._clients = clients
        self._requests = requests
        self._rate_per_s = rate_per_s
        self._draw = random.Random(1)
        self._due_s = time.perf_counter()
        self._waiting: dict[int, float] = {}
        self._answered = 0
        self._times: list[float] = []
        self._over = False

    async def during(self, seconds: float) -> list[float]:
        """Seconds from when each request of the next `seconds` was due to its answer, sorted."""
        began_s = time.perf_counter()
        first = len(self._times)
        await asyncio.sleep(seconds)
        end_s = time.perf_counter()
        async with asyncio.timeout(seconds + ANSWER_WITHIN_S):
            while self._due_s < end_s or any(due < end_s for due in self._waiting.values()):
                await asyncio.sleep(0.01)
        pairs = zip(self._times[first::2], self._times[first + 1 :: 2], strict=True)
        return sorted(took for due, took in pairs if began_s <= due < end_s)

    async def serve(self, place: int) -> None:
        """What one of the connections does."""
        client = self._clients[place]
        while not self._over:
            due = self._waiting[place] = self._due_s
            self._due_s += self._draw.expovariate(self._rate_per_s)
            if (early_s := due - time.perf_counter()) > 0:
                await asyncio.sleep(early_s)
            await client.ask(self._requests[self._answered % len(self._requests)])
            self._answered += 1
            self._times += (due, time.perf_counter() - due)

    def leave(self) -> None:
        """Nobody comes any more."""
        self._over = True


@asynccontextmanager
async def crowd(target: Target, *, connections: int, rate_per_s: float) -> AsyncIterator[Crowd]:
    """A crowd for the length of a block."""
    clients = await _connect(target, connections)
    made = Crowd(clients, target.requests(), rate_per_s)
    async with asyncio.TaskGroup() as group:
        for place in range(connections):
            group.create_task(made.serve(place))
        try:
            yield made
        finally:
            made.leave()
    for client in clients:
        client.close()
