"""Holds on one hot product: batches against one transaction per request, rows of the same shape, in one run.

    python -m benchmarks holds [--seconds 5] [--smoke] --json

No HTTP: `holds_per_s` is the engine itself in two processes, as two API processes would run it, 512 wishes in flight
in each, each wish with its claimed key, its decision and its stored answer. `row_lock_per_s` is the usual way: a
transaction per request that inserts the same rows (key with its answer, limit, hold, hold line) and then takes the
piece with `UPDATE ... WHERE on_hand - held - sold >= 1`, last, so that the hot row is locked for as short as it can
be; the best of pools of 4, 16 and 64 connections, in one process or shared by two, statement after statement
(`row_lock_pipelined_per_s`: the same in one round trip). `sql_limit_per_s` is the same rows in bare batches of 256,
two at a time, without keys looked up or decisions made: what PostgreSQL could do.

Everyone is another buyer. Afterwards the database is asked: `oversold`, `lost` (holds that were promised and are not
there), `duplicated`. The last 2,000 wishes of the engine meet a stock of 500.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import multiprocessing
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Self
from uuid import UUID

import msgspec
import psycopg
import uvloop
from psycopg_pool import AsyncConnectionPool

from benchmarks.goods import CURRENCY, DROP, PRICE, SKU_FORMAT, sell
from benchmarks.probes import say
from benchmarks.servers import Servers, busy_s, machine, servers
from tidegate.checkout import Line, Shop, SoldOut, open_shop
from tidegate.checkout.holding import FreshHold, HoldWish, settle_hold
from tidegate.payments import make_providers
from tidegate.platform.database import Connection, open_database
from tidegate.platform.garbage import spare_what_is_there
from tidegate.platform.idempotency import RequestKey
from tidegate.platform.ids import PersonId, new_id
from tidegate.platform.settings import current_settings

IN_FLIGHT = 512
POOLS = (4, 16, 64)
BATCH = 256
WARM_UP_SHARE = 0.2
SCARCE = 500
"""Pieces of the scarce variant; four times as many want one."""
SMOKE_SCARCE = 20

Step = Callable[[], Awaitable[Sequence[UUID]]]
"""Does one piece of work and returns the ids of the holds that it got."""

KEY = (
    "INSERT INTO platform.idempotency_keys (buyer_id, key, fingerprint, state, status, body)"
    " VALUES (%s, %s, %s, 'final', 201, %s::json) ON CONFLICT (buyer_id, key) DO NOTHING"
)
LIMIT = (
    "INSERT INTO inventory.buyer_limits (rule_id, buyer_id, quota, used, live_hold_id) VALUES (%s, %s, 1, 1, %s)"
    " ON CONFLICT (rule_id, buyer_id) DO NOTHING"
)
HOLD = (
    "INSERT INTO inventory.holds (id, buyer_id, drop_id, state, expires_at)"
    " VALUES (%s, %s, %s, 'held', clock_timestamp() + interval '5 minutes')"
)
LINE = (
    "INSERT INTO inventory.hold_lines (hold_id, variant_id, quantity, unit_amount, currency) VALUES (%s, %s, 1, %s, %s)"
)
TAKE = (
    "UPDATE inventory.stock SET held = held + 1, updated_at = clock_timestamp()"
    " WHERE variant_id = %s AND on_hand - held - sold >= 1 RETURNING variant_id"
)

BATCH_KEYS = (
    "INSERT INTO platform.idempotency_keys (buyer_id, key, fingerprint, state, status, body)"
    " SELECT b, k, f, 'final', 201, j::json"
    " FROM unnest(%b::uuid[], %b::text[], %b::bytea[], %b::text[]) AS r (b, k, f, j)"
)
BATCH_LIMITS = (
    "INSERT INTO inventory.buyer_limits (rule_id, buyer_id, quota, used, live_hold_id)"
    " SELECT %b::uuid, b, 1, 1, h FROM unnest(%b::uuid[], %b::uuid[]) AS r (b, h)"
)
BATCH_HOLDS = (
    "INSERT INTO inventory.holds (id, buyer_id, drop_id, state, expires_at)"
    " SELECT h, b, %b::uuid, 'held', clock_timestamp() + interval '5 minutes'"
    " FROM unnest(%b::uuid[], %b::uuid[]) AS r (h, b)"
)
BATCH_LINES = (
    "INSERT INTO inventory.hold_lines (hold_id, variant_id, quantity, unit_amount, currency)"
    " SELECT h, %b::uuid, 1, %b::bigint, %b FROM unnest(%b::uuid[]) AS r (h)"
)
BATCH_TAKE = (
    "UPDATE inventory.stock SET held = held + %b, updated_at = clock_timestamp()"
    " WHERE variant_id = %b AND on_hand - held - sold >= %b"
)


@dataclass(frozen=True, slots=True)
class Goods:
    """What each way sells: its own variant of one drop, all of the same shape."""

    drop: UUID
    engine: UUID
    row_lock: UUID
    batches: UUID
    scarce: UUID
    scarce_on_hand: int

    @property
    def all(self) -> tuple[UUID, ...]:
        """Every variant."""
        return (self.engine, self.row_lock, self.batches, self.scarce)


def run(options: Sequence[str]) -> Mapping[str, object]:
    """Measure; see the module's docstring for what the keys mean."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks holds")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each measurement")
    parser.add_argument("--processes", type=int, default=2, help="API processes, and as many for the other ways")
    parser.add_argument("--smoke", action="store_true", help="a few seconds: does it work at all?")
    asked = parser.parse_args(list(options))
    seconds = 0.4 if asked.smoke else asked.seconds
    with servers() as these, psycopg.connect(these.database_url, autocommit=True) as conn:
        drop, variants = sell(conn, variants=4)
        scarce = SMOKE_SCARCE if asked.smoke else SCARCE
        conn.execute("UPDATE inventory.stock SET on_hand = %s WHERE variant_id = %s", (scarce, variants[3]))
        goods = Goods(drop, variants[0], variants[1], variants[2], variants[3], scarce_on_hand=scarce)
        before_s, began = _others_s(these), time.monotonic()
        with Crew(asked.processes) as crew:
            figures, told = _measure(crew, goods, seconds, POOLS[:1] if asked.smoke else POOLS)
        figures["others_cores"] = round((_others_s(these) - before_s) / (time.monotonic() - began), 2)
        return machine(these, processes=asked.processes) | figures | _books(conn, goods, told)


def _others_s(these: Servers) -> float:
    """CPU seconds that the machine has worked for others than this process, its children and its PostgreSQL."""
    spent = os.times()
    own_s = spent.user + spent.system + spent.children_user + spent.children_system
    return busy_s() - own_s - these.cpu_s()["postgres"]


class Crew:
    """Processes that do the same at the same time, each with its own event loop, set up as a site process is."""

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self._context = multiprocessing.get_context("spawn")
        self._barrier = self._context.Barrier(processes)

    def __enter__(self) -> Self:
        self._pool = ProcessPoolExecutor(
            self.processes, mp_context=self._context, initializer=_settle_in, initargs=(self._barrier,)
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def rate(self, way: Way, told: list[UUID], *, processes: int | None = None) -> float:
        """Holds a second of all processes together that go the same way; what they were promised is added to `told`."""
        count = self.processes if processes is None else processes
        turns = [self._pool.submit(_go, way, count) for _ in range(count)]
        rates = []
        for turn in turns:
            rate, promised = turn.result()
            rates.append(rate)
            told += promised
        return round(sum(rates), 1)


def _settle_in(barrier: Any) -> None:
    """What a process of the crew does first."""
    _BARRIERS.append(barrier)
    spare_what_is_there()


_BARRIERS: list[Any] = []
"""Where the processes of a crew wait for each other: in each of them the one that it was given."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to sell: `run` is given `share`, the size of the part that one process has of it."""

    run: Callable[[Way], Coroutine[Any, Any, tuple[float, list[UUID]]]]
    goods: Goods
    seconds: float
    share: int
    pipelined: bool = False
    alone: bool = False


def _go(way: Way, count: int) -> tuple[float, list[UUID]]:
    way = replace(way, alone=count == 1)
    return uvloop.run(way.run(way))


def _measure(crew: Crew, goods: Goods, seconds: float, pools: Sequence[int]) -> tuple[dict[str, object], list[UUID]]:
    told: list[UUID] = []
    engine = crew.rate(Way(_engine, goods, seconds, IN_FLIGHT), told)
    say(f"engine: {engine:,.0f}/s")
    crew.rate(Way(_scarce, goods, seconds, 4 * goods.scarce_on_hand // crew.processes), told)
    plain, pipelined = (_row_locks(crew, goods, seconds, pools, told, pipelined=each) for each in (False, True))
    limit = crew.rate(Way(_batches, goods, seconds, 1), told)
    say(f"bare batches of {BATCH}: {limit:,.0f}/s")
    best = max(plain.values())
    figures: dict[str, object] = {
        "holds_per_s": engine,
        "row_lock_per_s": best,
        "row_lock_by_pool": plain,
        "row_lock_pipelined_per_s": max(pipelined.values()),
        "row_lock_pipelined_by_pool": pipelined,
        "sql_limit_per_s": limit,
        "ratio_to_row_lock": round(engine / best, 2),
        "ratio_to_row_lock_pipelined": round(engine / max(pipelined.values()), 2),
        "ratio_to_limit": round(engine / limit, 3),
        "in_flight": IN_FLIGHT,
    }
    return figures, told


def _row_locks(
    crew: Crew, goods: Goods, seconds: float, pools: Sequence[int], told: list[UUID], *, pipelined: bool
) -> dict[int, float]:
    """Holds a second by size of the pool: the better of one process with all of it and of all with a share each."""
    rates = {}
    for size in pools:
        alone = crew.rate(Way(_row_lock, goods, seconds, size, pipelined), told, processes=1)
        shared = crew.rate(Way(_row_lock, goods, seconds, size // crew.processes, pipelined), told)
        rates[size] = max(alone, shared)
    say(f"one transaction per request, by pool{', in one round trip' if pipelined else ''}: {rates}")
    return rates


async def _rate(step: Step, way: Way, told: list[UUID], *, workers: int) -> float:
    """Holds a second of `workers` tasks that repeat `step`, after a warm-up."""
    if not way.alone:
        _BARRIERS[0].wait()
    begin = time.monotonic() + way.seconds * WARM_UP_SHARE
    end = begin + way.seconds
    counted = 0

    async def work() -> None:
        nonlocal counted
        while time.monotonic() < end:
            got = await step()
            told.extend(got)
            if begin <= time.monotonic() < end:
                counted += len(got)

    await asyncio.gather(*(work() for _ in range(workers)))
    return counted / way.seconds


# --- the engine


@asynccontextmanager
async def _open_shop() -> AsyncIterator[Shop]:
    settings = current_settings()
    async with (
        open_database(settings) as database,
        open_shop(database, settings, make_providers(database, settings)) as shop,
    ):
        yield shop


async def _engine(way: Way) -> tuple[float, list[UUID]]:
    """`share` wishes in flight."""
    told: list[UUID] = []
    async with _open_shop() as shop:
        return await _rate(lambda: _hold_once(shop, 0), way, told, workers=way.share), told


async def _scarce(way: Way) -> tuple[float, list[UUID]]:
    """`share` wishes at once for what is scarce."""
    async with _open_shop() as shop:
        granted = await asyncio.gather(*(_hold_once(shop, 3) for _ in range(way.share)))
    return 0.0, [hold for each in granted for hold in each]


async def _hold_once(shop: Shop, variant: int) -> list[UUID]:
    """One wish of a new buyer; sold out is an answer too."""
    buyer = PersonId(new_id())
    key = RequestKey(buyer, "hold", hashlib.sha256(buyer.bytes).digest())
    wish = HoldWish(buyer, (Line(SKU_FORMAT % variant, 1),), DROP, None, key)
    try:
        outcome, _ = await settle_hold(shop, wish)
    except SoldOut:
        return []
    assert isinstance(outcome, FreshHold), "a new key has no stored answer"
    return [outcome.id]


# --- one transaction per request


@asynccontextmanager
async def _pool(size: int) -> AsyncIterator[AsyncConnectionPool[Connection]]:
    url = current_settings().require_database_url()
    pool = AsyncConnectionPool[Connection](
        url, min_size=size, max_size=size, kwargs={"autocommit": True, "prepare_threshold": 0}, open=False
    )
    async with pool:
        await pool.wait()
        yield pool


async def _row_lock(way: Way) -> tuple[float, list[UUID]]:
    """A pool of `share` connections, each with a transaction under way all the time."""
    told: list[UUID] = []
    async with _pool(way.share) as pool:

        async def step() -> list[UUID]:
            async with pool.connection() as conn, conn.transaction():
                if not way.pipelined:
                    return await _take_one(conn, way.goods)
                async with conn.pipeline():
                    return await _take_one(conn, way.goods)

        return await _rate(step, way, told, workers=way.share), told


async def _take_one(conn: Connection, goods: Goods) -> list[UUID]:
    buyer, hold = new_id(), new_id()
    fingerprint = hashlib.sha256(buyer.bytes).digest()
    await conn.execute(KEY, (buyer, "hold", fingerprint, _body(hold)))
    await conn.execute(LIMIT, (goods.drop, buyer, hold))
    await conn.execute(HOLD, (hold, buyer, goods.drop))
    await conn.execute(LINE, (hold, goods.row_lock, PRICE, CURRENCY))
    taken = await conn.execute(TAKE, (goods.row_lock,))
    if await taken.fetchone() is None:
        raise psycopg.Rollback
    return [hold]


# --- bare batches


async def _batches(way: Way) -> tuple[float, list[UUID]]:
    """`share` connections, each with a batch under way all the time."""
    told: list[UUID] = []
    async with _pool(way.share) as pool:

        async def step() -> list[UUID]:
            async with pool.connection() as conn:
                return await _take_batch(conn, way.goods)

        return await _rate(step, way, told, workers=way.share), told


async def _take_batch(conn: Connection, goods: Goods) -> list[UUID]:
    buyers, holds = [new_id() for _ in range(BATCH)], [new_id() for _ in range(BATCH)]
    fingerprints = [hashlib.sha256(buyer.bytes).digest() for buyer in buyers]
    async with conn.transaction(), conn.pipeline():
        await conn.execute(
            BATCH_KEYS, (buyers, ["hold"] * BATCH, fingerprints, [_body(hold) for hold in holds]), binary=True
        )
        await conn.execute(BATCH_LIMITS, (goods.drop, buyers, holds), binary=True)
        await conn.execute(BATCH_TAKE, (BATCH, goods.batches, BATCH), binary=True)
        await conn.execute(BATCH_HOLDS, (goods.drop, holds, buyers), binary=True)
        await conn.execute(BATCH_LINES, (goods.batches, PRICE, CURRENCY, holds), binary=True)
    return holds


def _body(hold: UUID) -> str:
    """An answer as long as a hold's."""
    price = {"amount": PRICE, "currency": CURRENCY}
    line = {"sku": SKU_FORMAT % 0, "title": "The benchmark lamp", "quantity": 1, "unit_price": price}
    document = {"id": str(hold), "expires_at": "2026-01-01T00:00:00.000000+00:00", "total": price, "lines": [line]}
    return msgspec.json.encode(document).decode()


# --- the books


def _books(conn: psycopg.Connection[tuple[Any, ...]], goods: Goods, told: Sequence[UUID]) -> dict[str, object]:
    """What was promised against what is there."""
    began = time.monotonic()
    with conn.transaction():
        conn.execute("CREATE TEMPORARY TABLE told (id uuid NOT NULL) ON COMMIT DROP")
        with conn.cursor() as cursor, cursor.copy("COPY told (id) FROM STDIN") as copy:
            for each in told:
                copy.write_row((each,))
        variants = list(goods.all)
        stock = conn.execute(
            "SELECT sum(greatest(held + sold - on_hand, 0)), sum(held + sold) FROM inventory.stock"
            " WHERE variant_id = ANY(%s)",
            (variants,),
        ).fetchone()
        lines = conn.execute(
            "SELECT coalesce(sum(quantity), 0), count(DISTINCT hold_id),"
            " greatest(coalesce(sum(quantity) FILTER (WHERE variant_id = %s), 0) - %s, 0)"
            " FROM inventory.hold_lines WHERE variant_id = ANY(%s)",
            (goods.scarce, goods.scarce_on_hand, variants),
        ).fetchone()
        lost = conn.execute(
            "SELECT count(*) FROM told t LEFT JOIN inventory.holds h ON h.id = t.id AND h.state = 'held'"
            " WHERE h.id IS NULL"
        ).fetchone()
        doubled = conn.execute(
            "SELECT coalesce(sum(n - 1), 0) FROM"
            " (SELECT count(*) AS n FROM inventory.holds GROUP BY buyer_id HAVING count(*) > 1) AS d"
        ).fetchone()
    if stock is None or lines is None or lost is None or doubled is None:
        raise AssertionError("an aggregate has one row")
    say(f"counted {len(told):,} holds again in {time.monotonic() - began:.1f} s")
    return {
        "told": len(told),
        "oversold": int(stock[0] + lines[2]),
        "lost": int(lost[0]),
        "duplicated": int(doubled[0]) + abs(int(lines[1]) - len(told)),
        "stock_off": abs(int(stock[1]) - int(lines[0])),
    }
