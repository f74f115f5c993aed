"""The waiting room: joins, status, the draw and people's numbers, up to a million places in one room.

    python -m benchmarks gate [--places 1000000] [--http-places 200000] [--seconds 10] [--smoke] --json

Two site processes, PostgreSQL (durable), Valkey and the load generator share the cores. Everyone who joins over HTTP is
another person with a session of their own. `joins_per_s` and `status_per_s` are what 512 connections get when each asks
again as soon as it is answered; `join_p99_ms` and `status_p99_ms` come from random arrivals at `SHARE` of these rates
and count from the moment a request was due. `status_framework_ratio` is against a bare route on as many processes that
answers the same bytes. After `--http-places` the room is filled to `--places` through the same use case, without HTTP.

`draw_s` is T0 with everybody in: the cut, the draw and its commit, while people go on to join and to ask for the
status, both at `AMID` of their rates; `draw_status_p99_ms` is that of these seconds, `status_p99_full_ms` that before.
`number_p99_ms` are look-ups of places right after it, at most `ASKS_PER_S`: people compute their numbers from the
status, and those who cannot spread themselves to that (`room.js`). `number_busy_p99_ms` is at `SHARE` of
`number_per_s`, which is what a closed loop gets; `number_late_p99_ms`, `number_busy_late_p99_ms` is how late the
generator itself was with them, which is part of their latencies.
`admit_lag_ms`: see `benchmarks.turns`; the longest of some, and `admit_lag_p50_ms`. `cpu_us` are microseconds of the
site processes for one request, which say more than rates where others use the machine; `generator_us` are those that
the load generator took of the same cores for it.
`bytes_per_place`: what the gate's tables and indexes take on disk, and what site processes, Valkey and PostgreSQL's own
grew by in memory, over all places; `table_bytes_per_place` without the processes. `growth` are rows of (places,
microseconds of PostgreSQL and Python for a join without HTTP, microseconds of a site process for one status, status a
second); what is less than `--places` without `--http-places` is measured before anybody comes over HTTP.
`polling_p99_ratio`: see `benchmarks.polling`. `lost` are joins that were answered and are not there, `doubled` places
beyond one a person.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg
import uvloop

from benchmarks import polling
from benchmarks.bare import ANSWER_VARIABLE
from benchmarks.goods import add_buyers
from benchmarks.load import Plan, Report
from benchmarks.probes import run_crowd, say
from benchmarks.servers import Fleet, Servers, fleet, machine, servers
from benchmarks.turns import Spent, admit_lags_ms, used_bytes
from benchmarks.visits import TOKEN_FORMAT, token_of
from tidegate.gate import Gate, JoinWish, RoomMode, create_room, find_room, open_gate, open_rooms_once
from tidegate.gate.places import PlaceQuestion
from tidegate.gate.rooms import open_room
from tidegate.gate.tickets import ticket_of
from tidegate.platform.database import open_database
from tidegate.platform.ids import DropId, PersonId, new_id
from tidegate.platform.settings import current_settings

SLUG = "benchmark-room"
SHARE = 0.6
AMID = 0.2
START_S = 2.0
"""A load generator takes about so long to start."""
IN_FLIGHT = 2_000
MOST_JOINS_PER_S = 12_000
ASKS_PER_S = 2_000.0
"""Look-ups a second right after the draw, in total, from pages that cannot compute a number."""
MILESTONES = (1_000, 10_000, 100_000, 1_000_000)
AT_ONCE, LONGEST_S = 50_000, 120.0
"""What is missing of `--http-places` joins so many at once, for so long at most."""
LAGS = 15
"""How often it is measured how long the next one waits."""
SAMPLED = 20_000
"""Joins whose cost is measured at each milestone."""
LOOKED_UP = 50_000
"""People whose numbers are asked for after the draw, over and over."""


@dataclass(slots=True)
class Run:
    """A run under way. `told` are the ids of places that joins were answered with."""

    these: Servers
    conn: psycopg.Connection[tuple[Any, ...]]
    site: Fleet
    seconds: float
    connections: int
    people: list[UUID] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    growth: list[tuple[int, float, float, float]] = field(default_factory=list)
    cpu_us: dict[str, float] = field(default_factory=dict)
    generator_us: dict[str, float] = field(default_factory=dict)

    def note(self, name: str, before: Spent, report: Report) -> None:
        """Keep what a request of this kind took the site, and what it took the load generator."""
        self.cpu_us[name] = self.spent().request_us(before, report)
        self.generator_us[name] = report.cpu_us_per_request

    @property
    def status_path(self) -> str:
        """Where the status is."""
        return f"/api/v1/drops/{SLUG}/status"

    def ask(
        self,
        request: str,
        *,
        rate_per_s: float = 0.0,
        most: int,
        first: int = 0,
        port: int = 0,
        fills: str = "",
        seconds: float = 0.0,
    ) -> tuple[Report, Path]:
        """Let requests come for a while: with a rate at random, else as fast as they are answered."""
        ids = self.these.home / f"ids-{new_id().hex}"
        plan = Plan(
            port=port or self.site.port,
            kind="ask",
            rate_per_s=rate_per_s,
            seconds=seconds or self.seconds,
            first_buyer=first,
            buyers=most,
            connections=self.connections,
            request=request,
            fills_file=fills,
            ids_file=str(ids),
            seed=first + 1,
        )
        report = run_crowd(plan, folder=self.these.home)
        if port == 0:
            self.site.check_alive()
        return report, ids

    def status(self, *, rate_per_s: float = 0.0) -> Report:
        """Requests for the status."""
        most = int((rate_per_s or 60_000) * self.seconds * 1.2) + 100
        before = self.spent()
        report = self.ask(_request("GET", self.status_path, self.site.port), rate_per_s=rate_per_s, most=most)[0]
        self.note("status", before, report)
        return report

    def spent(self) -> Spent:
        """CPU time so far."""
        return Spent.now(self.these, self.site)

    def join(self, *, rate_per_s: float = 0.0, most: int = 0, seconds: float = 0.0, alone: bool = True) -> Report:
        """New people who join, at most `most` of them; unless they are `alone`, what that took is not kept."""
        wanted = int((rate_per_s or MOST_JOINS_PER_S) * (seconds or self.seconds) * 1.1) + 100
        count, first = min(most or wanted, wanted), len(self.people)
        self.people += add_buyers(self.conn, first=first, count=count)
        token = TOKEN_FORMAT.replace("%010d", "%b")
        headers = f"authorization: Bearer {token}\r\ncontent-length: 0\r\n"
        request = _request("POST", f"/api/v1/drops/{SLUG}/places", self.site.port, headers)
        before = self.spent()
        report, ids = self.ask(request, rate_per_s=rate_per_s, most=count, first=first, seconds=seconds)
        if alone:
            self.note("join", before, report)
        self.told += ids.read_text().split()
        return report


def run(options: Sequence[str]) -> Mapping[str, object]:
    """Measure; see the module's docstring for what the keys mean."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks gate")
    parser.add_argument("--places", type=int, default=1_000_000, help="places in the room in the end")
    parser.add_argument("--http-places", type=int, default=200_000, help="how many of them join over HTTP")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each measurement")
    parser.add_argument("--processes", type=int, default=2, help="site processes")
    parser.add_argument("--connections", type=int, default=512, help="connections of the generator")
    parser.add_argument("--smoke", action="store_true", help="a few seconds: does it work at all?")
    asked = parser.parse_args(list(options))
    if asked.smoke:
        asked.places, asked.http_places, asked.seconds, asked.connections = 5_000, 600, 0.5, 16
    began = time.monotonic()
    with servers() as these, psycopg.connect(these.database_url, autocommit=True) as conn:
        uvloop.run(_make_room())
        with fleet(these.home, "benchmarks.site", processes=asked.processes) as site:
            going = Run(these, conn, site, asked.seconds, asked.connections)
            figures = machine(these, processes=asked.processes) | _measure(going, asked)
    figures["seconds"] = round(time.monotonic() - began, 1)
    return figures


def _measure(going: Run, asked: argparse.Namespace) -> dict[str, object]:
    site, conn = going.site, going.conn
    memory = used_bytes(going.these, site)
    uvloop.run(_fill(going, [each for each in MILESTONES if each <= asked.places - asked.http_places]))
    joins = going.join(most=asked.http_places)
    say(f"joins: {joins.per_s:,.0f}/s, {going.cpu_us['join']} us each, {joins.problems or 'no errors'}")
    paced_joins = going.join(rate_per_s=joins.per_s * SHARE)
    say(f"joins at {SHARE:.0%} of it: p99 {paced_joins.p99_ms} ms")
    while len(going.told) < asked.http_places:
        before = len(going.told)
        going.join(most=min(asked.http_places - before, AT_ONCE), seconds=LONGEST_S)
        if len(going.told) == before:
            break
    status = going.status()
    paced = going.status(rate_per_s=status.per_s * SHARE)
    bare_per_s = _bare(going, asked.processes)
    say(f"status: {status.per_s:,.0f}/s against {bare_per_s:,.0f}/s, p99 {paced.p99_ms} ms")
    rounds = 1 if asked.smoke else polling.ROUNDS
    folder, path = going.these.home, going.status_path
    pollers = polling.measure(port=site.port, path=path, folder=folder, seconds=asked.seconds, rounds=rounds)
    uvloop.run(_fill(going, [*MILESTONES, asked.places]))
    full = going.status(rate_per_s=status.per_s * SHARE)
    draw_s, amid = _draw_amid(going, joins_per_s=joins.per_s * AMID, status_per_s=status.per_s * AMID)
    say(f"{_count(conn):,} places drawn in {draw_s * 1000:.1f} ms, p99 of the status meanwhile {amid.p99_ms} ms")
    numbers, busy_numbers, paced_numbers = _numbers(going)
    lags = admit_lags_ms(conn, status_url=f"http://127.0.0.1:{site.port}{path}", rounds=1 if asked.smoke else LAGS)
    say(f"the next one is let in within {lags[-1]:.0f} ms")
    rates = {
        "joins_per_s": joins.per_s,
        "join_p99_ms": paced_joins.p99_ms,
        "join_p50_ms": paced_joins.p50_ms,
        "status_per_s": status.per_s,
        "status_p99_ms": paced.p99_ms,
        "status_p99_full_ms": full.p99_ms,
        "status_framework_ratio": round(status.per_s / bare_per_s, 3),
        "bare_per_s": bare_per_s,
        "draw_s": round(draw_s, 4),
        "draw_status_p99_ms": amid.p99_ms,
        "number_per_s": numbers.per_s,
        "number_p99_ms": paced_numbers.p99_ms,
        "number_p50_ms": paced_numbers.p50_ms,
        "number_late_p99_ms": paced_numbers.late_p99_ms,
        "number_busy_p99_ms": busy_numbers.p99_ms,
        "number_busy_late_p99_ms": busy_numbers.late_p99_ms,
        "admit_lag_ms": lags[-1],
        "admit_lag_p50_ms": lags[len(lags) // 2],
        "errors": {
            problem: count
            for report in (joins, paced_joins, status, amid, numbers, busy_numbers, paced_numbers)
            for problem, count in report.problems.items()
        },
        "generator_share": joins.cpu_share,
    }
    grown = max(used_bytes(going.these, site) - memory, 0)
    return rates | pollers | _sizes(going, grown) | _books(going)


def _sizes(going: Run, grown: int) -> dict[str, object]:
    """How many places there are and what they cost; `grown` bytes of memory came with them."""
    tables, places = _table_bytes(going.conn), _count(going.conn)
    return {
        "places": places,
        "http_places": len(going.told),
        "bytes_per_place": round((tables + grown) / places),
        "table_bytes_per_place": round(tables / places),
        "growth": going.growth,
        "cpu_us": going.cpu_us,
        "generator_us": going.generator_us,
    }


def _request(method: str, path: str, port: int, headers: str = "") -> str:
    return f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{headers}\r\n"


def _bare(going: Run, processes: int) -> float:
    """Requests a second of a bare route that answers the status's bytes."""
    body = httpx.get(f"http://127.0.0.1:{going.site.port}{going.status_path}").text
    with fleet(going.these.home, "benchmarks.bare", processes=processes, environment={ANSWER_VARIABLE: body}) as bare:
        request = _request("GET", "/look", bare.port)
        return going.ask(request, most=int(120_000 * going.seconds), port=bare.port)[0].per_s


async def _make_room() -> None:
    settings = current_settings()
    now = datetime.now(UTC)
    async with open_database(settings) as database:
        async with database.transaction() as conn:
            await create_room(
                conn,
                drop_id=DropId(new_id()),
                slug=SLUG,
                mode=RoomMode.DRAW,
                opens_at=now + timedelta(days=1),
                lobby_opens_at=now - timedelta(minutes=1),
            )
        await open_rooms_once(database)


async def _fill(going: Run, milestones: Sequence[int]) -> None:
    """Fill the room through the use case of joining, and measure at each milestone what its last joins cost."""
    settings = current_settings()
    async with open_database(settings) as database, open_gate(database, settings) as gate:
        size = gate.kept(SLUG).room.size
        for milestone in sorted(each for each in set(milestones) if size < each <= max(milestones[-1], size)):
            sampled = min((milestone - size + 1) // 2, SAMPLED)
            await _join_many(gate, milestone - size - sampled)
            before = going.spent()
            await _join_many(gate, sampled)
            join_us = going.spent().join_us(before, sampled)
            size = milestone
            await asyncio.sleep(settings.gate.status_refresh_ms / 500)
            status = await asyncio.to_thread(going.status)
            going.growth.append((size, join_us, going.cpu_us["status"], status.per_s))
            say(f"{size:,} places: {join_us} us a join, {going.cpu_us['status']} us a status, {status.per_s:,.0f}/s")


async def _join_many(gate: Gate, count: int) -> None:
    for start in range(0, count, IN_FLIGHT):
        await asyncio.gather(*(_join_once(gate) for _ in range(min(IN_FLIGHT, count - start))))


async def _join_once(gate: Gate) -> None:
    await gate.join(JoinWish(SLUG, PersonId(new_id())))


def _draw_amid(going: Run, *, joins_per_s: float, status_per_s: float) -> tuple[float, Report]:
    """Seconds of T0 while people join and ask for the status, and what these were answered."""
    request, most = _request("GET", going.status_path, going.site.port), int(status_per_s * going.seconds * 1.2) + 100
    with ThreadPoolExecutor(2) as pool:
        asking = pool.submit(going.ask, request, rate_per_s=status_per_s, most=most)
        joining = pool.submit(going.join, rate_per_s=joins_per_s, alone=False)
        time.sleep(START_S + going.seconds / 2)
        draw_s = uvloop.run(_draw(going))
        joining.result()
        return draw_s, asking.result()[0]


async def _draw(going: Run) -> float:
    """Seconds of T0, its commit included."""
    settings = current_settings()
    going.conn.execute("UPDATE gate.rooms SET opens_at = clock_timestamp()")
    async with open_database(settings) as database:
        async with database.connection() as conn:
            room = await find_room(conn, slug=SLUG)
        assert room is not None
        began = time.perf_counter()
        async with database.transaction() as conn:
            done = await open_room(conn, room_id=room.id)
        took_s = time.perf_counter() - began
    assert done, "somebody else has opened the room"
    return took_s


def _numbers(going: Run) -> tuple[Report, Report, Report]:
    """Look-ups of places over HTTP: as fast as they are answered, and at random at `SHARE` of that and `ASKS_PER_S`."""
    fills = going.these.home / "tickets"
    fills.write_text("\n".join(uvloop.run(_tickets(going))))
    headers = "authorization: Bearer %b\r\ntidegate-ticket: %b\r\n"
    request = _request("GET", f"/api/v1/drops/{SLUG}/places/%b", going.site.port, headers)

    def at(rate: float) -> Report:
        most = int(rate * going.seconds * 1.2) + 100
        return going.ask(request, rate_per_s=rate, most=most, fills=str(fills))[0]

    paced = at(ASKS_PER_S)
    before = going.spent()
    fast, _ = going.ask(request, most=int(60_000 * going.seconds), fills=str(fills))
    going.note("number", before, fast)
    return fast, at(fast.per_s * SHARE), paced


async def _tickets(going: Run) -> list[str]:
    """Id, token and ticket of some who joined over HTTP, parted by tabs."""
    settings = current_settings()
    lines = []
    async with open_database(settings) as database, open_gate(database, settings) as gate:
        room = gate.kept(SLUG).room
        people = going.people[:LOOKED_UP]
        for start in range(0, len(people), IN_FLIGHT):
            questions = [PlaceQuestion(room.id, PersonId(each)) for each in people[start : start + IN_FLIGHT]]
            answers = await asyncio.gather(*(gate.find(question) for question in questions))
            for number, found in enumerate(answers, start=start):
                if found is not None:
                    ticket = ticket_of(gate.ring, found.place)
                    lines.append(f"{found.place.id}\t{token_of(number)}\t{ticket}")
    return lines


def _count(conn: psycopg.Connection[tuple[Any, ...]]) -> int:
    row = conn.execute("SELECT count(*) FROM gate.places").fetchone()
    assert row is not None
    return int(row[0])


def _table_bytes(conn: psycopg.Connection[tuple[Any, ...]]) -> int:
    row = conn.execute(
        "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'gate' AND c.relkind = 'r'"
    ).fetchone()
    assert row is not None
    return int(row[0])


def _books(going: Run) -> dict[str, object]:
    """What the database says of what was promised."""
    row = going.conn.execute(
        "SELECT (SELECT size FROM gate.rooms), count(*), count(DISTINCT buyer_id), count(DISTINCT index)"
        " FROM gate.places"
    ).fetchone()
    kept = going.conn.execute("SELECT count(*) FROM gate.places WHERE id = ANY(%s::uuid[])", (going.told,)).fetchone()
    assert row is not None
    assert kept is not None
    size, places, buyers, indices = row
    return {"lost": len(set(going.told)) - kept[0], "doubled": places - buyers, "log_off": size - indices}
