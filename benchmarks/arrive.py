"""The pages of a sale's first minute, as browsers without scripts ask for them.

    python -m benchmarks arrive [--seconds 5] [--connections 64] [--processes 1] [--smoke] --json

Closed loops on kept connections, one kind of request after the other, in a shop of one drop with a room, whose lobby is
open, and one without: `room`, strangers look at the room; `join`, strangers take a place, each as a new guest;
`waiting`, one of them looks again; `hold`, strangers hold the hot product, each as a new guest; `checkout`, one of them
looks at the page that orders it. For each: `*_per_s`, `*_p50_ms`, and `*_cpu_ms`, the CPU time of the site processes
and of PostgreSQL for one.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg

from benchmarks.goods import DROP, SKU_FORMAT, sell
from benchmarks.load import Plan
from benchmarks.probes import run_crowd, say
from benchmarks.servers import Fleet, Servers, fleet, machine, servers
from tidegate.gate import RoomMode, create_room, open_rooms_once
from tidegate.platform.database import open_database
from tidegate.platform.ids import DropId, new_id
from tidegate.platform.settings import current_settings

ROOM = "benchmark-room"
MOST_PER_S = 20_000
"""More than a closed loop can ask for here."""
WITHIN_S = 30.0
TOKEN = re.compile(r'name="form_token" value="([^"]+)"')


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    seconds: float
    connections: int
    processes: int


def run(options: Sequence[str]) -> Mapping[str, object]:
    """Measure; see the module's docstring for what the keys mean."""
    asked = _parse(options)
    with servers() as these, psycopg.connect(these.database_url, autocommit=True) as conn:
        sell(conn, variants=1)
        asyncio.run(_make_room(_drop_with_room(conn)))
        with fleet(these.home, "benchmarks.site", processes=asked.processes) as site:
            figures: dict[str, object] = machine(these, processes=asked.processes)
            for name, request in _requests(site.port).items():
                figures |= _measured(these, site, asked, name, request)
            site.check_alive()
        row = conn.execute("SELECT (SELECT count(*) FROM gate.places), (SELECT count(*) FROM inventory.holds)")
        figures["places"], figures["holds"] = row.fetchone() or (0, 0)
    return figures


def _parse(options: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(prog="python -m benchmarks arrive")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each kind of request")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--processes", type=int, choices=(1, 2, 3, 4), default=1, help="site processes")
    parser.add_argument("--smoke", action="store_true", help="half a second of each: does it work at all?")
    found = parser.parse_args(list(options))
    return Options(0.5 if found.smoke else found.seconds, found.connections, found.processes)


def _measured(these: Servers, site: Fleet, asked: Options, name: str, request: str) -> dict[str, object]:
    """One closed loop. Raises: RuntimeError when anything but pages and redirects came back."""
    before_s = site.cpu_s() + these.cpu_s()["postgres"]
    plan = Plan(
        port=site.port,
        kind="ask",
        rate_per_s=0.0,
        seconds=asked.seconds,
        first_buyer=0,
        buyers=int(MOST_PER_S * asked.seconds),
        connections=asked.connections,
        request=request,
    )
    report = run_crowd(plan, folder=these.home)
    if report.errors or not report.paid or set(report.statuses) - {"200", "303"}:
        raise RuntimeError(f"{name}: {report.statuses}, {report.errors} errors")
    cpu_ms = (site.cpu_s() + these.cpu_s()["postgres"] - before_s) / report.paid * 1000
    say(f"{name}: {report.per_s:,.0f}/s, {cpu_ms:.3f} ms of CPU each")
    return {f"{name}_per_s": report.per_s, f"{name}_p50_ms": report.p50_ms, f"{name}_cpu_ms": round(cpu_ms, 3)}


def _requests(port: int) -> dict[str, str]:
    """The requests by name: of a browser's first visit, and of those who have come."""
    base = f"http://127.0.0.1:{port}"
    room, drop = f"/drops/{ROOM}/room", f"/drops/{DROP}"
    headers = {"accept": "text/html", "origin": base, "sec-fetch-site": "same-origin"}
    with httpx.Client(base_url=base, headers=headers, timeout=WITHIN_S) as waiter:
        deadline = time.monotonic() + WITHIN_S
        while TOKEN.search(page := waiter.get(room).text) is None:  # until the process has seen the room's lobby open
            if time.monotonic() > deadline:
                raise RuntimeError("the room has no form: its lobby did not open")
            time.sleep(0.1)
        join = _post(port, room, page, waiter, {})
        _redirected(waiter.post(room, data={"form_token": _token(page)}))
        waiting = _get(port, room, waiter)
    with httpx.Client(base_url=base, headers=headers, timeout=WITHIN_S) as holder:
        page = holder.get(drop).text
        fields = {"sku": SKU_FORMAT % 0, "quantity": "1"}
        hold = _post(port, "/holds", page, holder, fields)
        checkout = _redirected(holder.post("/holds", data={"form_token": _token(page), **fields}))
        ordering = _get(port, checkout, holder)
    return {"room": _get(port, room, None), "join": join, "waiting": waiting, "hold": hold, "checkout": ordering}


def _token(page: str) -> str:
    found = TOKEN.search(page)
    assert found is not None, "a page without a form"
    return found[1]


def _redirected(answer: httpx.Response) -> str:
    assert answer.status_code == 303, f"{answer.request.url}: {answer.status_code}"
    return answer.headers["location"]


def _get(port: int, path: str, client: httpx.Client | None) -> str:
    cookies = "" if client is None else f"cookie: {_cookies(client)}\r\n"
    return f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\naccept: text/html\r\n{cookies}\r\n"


def _post(port: int, path: str, page: str, client: httpx.Client, fields: Mapping[str, str]) -> str:
    """The form of a browser that has been on `page` and has no session yet: each time it is sent by somebody new."""
    body = urllib.parse.urlencode({"form_token": _token(page), **fields})
    return (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\naccept: text/html\r\norigin: http://127.0.0.1:{port}\r\n"
        f"sec-fetch-site: same-origin\r\ncookie: {_cookies(client)}\r\n"
        f"content-type: application/x-www-form-urlencoded\r\ncontent-length: {len(body)}\r\n\r\n{body}"
    )


def _cookies(client: httpx.Client) -> str:
    return "; ".join(f"{name}={value}" for name, value in client.cookies.items())


def _drop_with_room(conn: psycopg.Connection[tuple[Any, ...]]) -> DropId:
    drop = DropId(new_id())
    conn.execute(
        "INSERT INTO catalog.drops (id, slug, title, opens_at, per_buyer, room, guests)"
        " VALUES (%s, %s, 'The benchmark room', clock_timestamp() + interval '1 day', 1, 'draw', true)",
        (drop, ROOM),
    )
    return drop


async def _make_room(drop: DropId) -> None:
    now = datetime.now(UTC)
    async with open_database(current_settings()) as database:
        async with database.transaction() as conn:
            await create_room(
                conn,
                drop_id=drop,
                slug=ROOM,
                mode=RoomMode.DRAW,
                opens_at=now + timedelta(days=1),
                lobby_opens_at=now - timedelta(minutes=1),
                guests=True,
            )
        await open_rooms_once(database)
