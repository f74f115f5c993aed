"""Load on a static page, from one process: by the rehearsal's crowd, its wire client alone, aiohttp or httpx.

`python -m benchmarks.static_load KIND PORT CONNECTIONS` asks for `/page.txt` until it is stopped.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import NoReturn

import aiohttp
import httpx
import uvloop

from tidegate.rehearse.contracts import Arrivals, Habits, Kind, Sale, Scenario
from tidegate.rehearse.crowd import Crowd
from tidegate.rehearse.shopper import Shopper
from tidegate.rehearse.wire import Answer, Connection, Ways
from tidegate.rehearse.wording import Goods, Wording

PAGE = "/page.txt"
HOST = "127.0.0.1"
FOREVER_S = 3_600.0
SHOPPERS = 1_000
"""So many look at one page after the other: always some of them are due."""

THINK_S = (0.001, 0.002)


class StaticWording(Wording):
    """The crowd's requests, all for the one page."""

    def __init__(self, host: str) -> None:
        super().__init__(Goods(host=host, slug="x", sku="x"))
        self._page = self._get(PAGE, "accept: text/html\r\n")

    def request(self, shopper: Shopper, *, guests: bool) -> bytes:
        """The page."""
        return self._page


async def by_crowd(port: int, connections: int) -> None:
    """Shoppers as in a rehearsal, each of whom looks at page after page."""
    scenario = Scenario(
        title="Static",
        says="One page.",
        lasts_s=FOREVER_S,
        sale=Sale(units=1, opens_after_s=1.0, room="none"),
        arrivals=Arrivals(shoppers=SHOPPERS, within_s=0.2),
        mix={Kind.BROWSER: 1.0},
        habits=Habits(think_s=THINK_S, patience_s=FOREVER_S, pages=1_000_000_000),
    )
    ways = Ways(HOST, port, connections)
    await Crowd(scenario, wording=StaticWording(HOST), ways=ways, tokens=[b"-"], seed=1).run()


class _Again:
    """Asks again as soon as it is answered."""

    def __init__(self) -> None:
        self._request = f"GET {PAGE} HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode()

    def opened(self, connection: Connection[int]) -> None:
        """The first request."""
        connection.send(0, self._request)

    def answered(self, connection: Connection[int], asker: int, answer: Answer) -> None:
        """The next one."""
        if answer.status != 200:
            raise RuntimeError(f"the static page answers {answer.status}")
        connection.send(asker, self._request)

    def lost(self, connection: Connection[int], asker: int | None) -> None:
        """The target has stopped."""


async def by_wire(port: int, connections: int) -> None:
    """The crowd's connections with nobody behind them."""
    again = _Again()
    for _ in range(connections):
        await asyncio.get_running_loop().create_connection(lambda: Connection(again), HOST, port)
    await asyncio.sleep(FOREVER_S)


async def by_aiohttp(port: int, connections: int) -> None:
    """As many tasks with aiohttp's client."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections)) as session:

        async def ask() -> NoReturn:
            while True:
                async with session.get(f"http://{HOST}:{port}{PAGE}") as answer:
                    await answer.read()

        await asyncio.gather(*(ask() for _ in range(connections)))


async def by_httpx(port: int, connections: int) -> None:
    """As many tasks with httpx."""
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    async with httpx.AsyncClient(limits=limits, trust_env=False) as client:

        async def ask() -> NoReturn:
            while True:
                await client.get(f"http://{HOST}:{port}{PAGE}")

        await asyncio.gather(*(ask() for _ in range(connections)))


KINDS = {"crowd": by_crowd, "wire": by_wire, "aiohttp": by_aiohttp, "httpx": by_httpx}


def main(kind: str, port: str, connections: str) -> None:
    """Ask until somebody stops this process."""
    gc.freeze()
    uvloop.run(KINDS[kind](int(port), int(connections)))


if __name__ == "__main__":
    main(*sys.argv[1:])
