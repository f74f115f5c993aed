"""Holds on one hot product: batches against one transaction per request, rows of the same shape, in one run.

    python -m benchmarks holds [--seconds 5] [--smoke] --json

No HTTP: `holds_per_s` is the engine itself, 512 wishes in flight, each with its claimed key, its decision and its
stored answer. `row_lock_per_s` is the usual way: a transaction per request that inserts the same rows (key with its
answer, limit, hold, hold line) and then takes the piece with `UPDATE ... WHERE on_hand - held - sold >= 1`, last, so
that the hot row is locked for as short as it can be; the best of pools of 4, 16 and 64 connections, statement after
statement (`row_lock_pipelined_per_s`: the same in one round trip). `sql_limit_per_s` is the same rows in bare
batches of 256 without keys claimed or decisions made: what PostgreSQL could do.

Everyone is another buyer. Afterwards the database is asked: `oversold`, `lost` (holds that were promised and are not
there), `duplicated`. The last 2,000 wishes of the engine meet a stock of 500.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
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
from tidegate.platform.idempotency import RequestKey
from tidegate.platform.ids import PersonId, new_id
from tidegate.platform.settings import Settings, current_settings

IN_FLIGHT = 512
POOLS = (4, 16, 64)
BATCH = 256
BATCH_CONNECTIONS = (1, 2)
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
    " SELECT b, k, f, 'final', 201, j FROM unnest(%s::uuid[], %s::text[], %s::bytea[], %s::json[]) AS r (b, k, f, j)"
)
BATCH_LIMITS = (
    "INSERT INTO inventory.buyer_limits (rule_id, buyer_id, quota, used, live_hold_id)"
    " SELECT %s, b, 1, 1, h FROM unnest(%s::uuid[], %s::uuid[]) AS r (b, h)"
)
BATCH_HOLDS = (
    "INSERT INTO inventory.holds (id, buyer_id, drop_id, state, expires_at)"
    " SELECT h, b, %s, 'held', clock_timestamp() + interval '5 minutes'"
    " FROM unnest(%s::uuid[], %s::uuid[]) AS r (h, b)"
)
BATCH_LINES = (
    "INSERT INTO inventory.hold_lines (hold_id, variant_id, quantity, unit_amount, currency)"
    " SELECT h, %s, 1, %s, %s FROM unnest(%s::uuid[]) AS r (h)"
)
BATCH_TAKE = (
    "UPDATE inventory.stock SET held = held + %s, updated_at = clock_timestamp()"
    " WHERE variant_id = %s AND on_hand - held - sold >= %s"
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
    parser.add_argument("--smoke", action="store_true", help="a few seconds: does it work at all?")
    asked = parser.parse_args(list(options))
    seconds = 0.4 if asked.smoke else asked.seconds
    with servers() as these, psycopg.connect(these.database_url, autocommit=True) as conn:
        drop, variants = sell(conn, variants=4)
        scarce = SMOKE_SCARCE if asked.smoke else SCARCE
        conn.execute("UPDATE inventory.stock SET on_hand = %s WHERE variant_id = %s", (scarce, variants[3]))
        goods = Goods(drop, variants[0], variants[1], variants[2], variants[3], scarce_on_hand=scarce)
        before_s, began = _others_s(these), time.monotonic()
        figures, told = uvloop.run(_measure(current_settings(), goods, seconds, POOLS[:1] if asked.smoke else POOLS))
        figures["others_cores"] = round((_others_s(these) - before_s) / (time.monotonic() - began), 2)
        return machine(these, processes=1) | figures | _books(conn, goods, told)


def _others_s(these: Servers) -> float:
    """CPU seconds that the machine has worked for others than this process and its PostgreSQL."""
    return busy_s() - time.process_time() - these.cpu_s()["postgres"]


async def _measure(
    settings: Settings, goods: Goods, seconds: float, pools: Sequence[int]
) -> tuple[dict[str, object], list[UUID]]:
    told: list[UUID] = []
    url = settings.require_database_url()
    async with (
        open_database(settings) as database,
        open_shop(database, settings, make_providers(database, settings)) as shop,
    ):
        engine = await _rate(lambda: _hold_once(shop, 0), seconds, told, workers=IN_FLIGHT)
        say(f"engine: {engine:,.0f}/s")
        granted = await asyncio.gather(*(_hold_once(shop, 3) for _ in range(4 * goods.scarce_on_hand)))
        told += [hold for each in granted for hold in each]
    plain = {size: await _row_lock(url, goods, size, seconds, told, pipelined=False) for size in pools}
    say(f"one transaction per request, by pool: {plain}")
    pipelined = {size: await _row_lock(url, goods, size, seconds, told, pipelined=True) for size in pools}
    say(f"the same in one round trip: {pipelined}")
    limit = max([await _batches(url, goods, count, seconds, told) for count in BATCH_CONNECTIONS])
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


async def _rate(step: Step, seconds: float, told: list[UUID], *, workers: int) -> float:
    """Holds a second of `workers` tasks that repeat `step`, after a warm-up."""
    loop = asyncio.get_running_loop()
    begin = loop.time() + seconds * WARM_UP_SHARE
    end = begin + seconds
    counted = 0

    async def work() -> None:
        nonlocal counted
        while loop.time() < end:
            got = await step()
            told.extend(got)
            if begin <= loop.time() < end:
                counted += len(got)

    await asyncio.gather(*(work() for _ in range(workers)))
    return round(counted / seconds, 1)


# --- the engine


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


async def _row_lock(url: str, goods: Goods, size: int, seconds: float, told: list[UUID], *, pipelined: bool) -> float:
    pool = AsyncConnectionPool[Connection](
        url, min_size=size, max_size=size, kwargs={"autocommit": True, "prepare_threshold": 0}, open=False
    )
    async with pool:
        await pool.wait()

        async def step() -> list[UUID]:
            async with pool.connection() as conn, conn.transaction():
                if not pipelined:
                    return await _take_one(conn, goods)
                async with conn.pipeline():
                    return await _take_one(conn, goods)

        return await _rate(step, seconds, told, workers=size)


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


async def _batches(url: str, goods: Goods, count: int, seconds: float, told: list[UUID]) -> float:
    pool = AsyncConnectionPool[Connection](
        url, min_size=count, max_size=count, kwargs={"autocommit": True, "prepare_threshold": 0}, open=False
    )
    async with pool:
        await pool.wait()

        async def step() -> list[UUID]:
            async with pool.connection() as conn:
                return await _take_batch(conn, goods)

        return await _rate(step, seconds, told, workers=count)


async def _take_batch(conn: Connection, goods: Goods) -> list[UUID]:
    buyers, holds = [new_id() for _ in range(BATCH)], [new_id() for _ in range(BATCH)]
    fingerprints = [hashlib.sha256(buyer.bytes).digest() for buyer in buyers]
    async with conn.transaction(), conn.pipeline():
        await conn.execute(BATCH_KEYS, (buyers, ["hold"] * BATCH, fingerprints, [_body(hold) for hold in holds]))
        await conn.execute(BATCH_LIMITS, (goods.drop, buyers, holds))
        await conn.execute(BATCH_TAKE, (BATCH, goods.batches, BATCH))
        await conn.execute(BATCH_HOLDS, (goods.drop, holds, buyers))
        await conn.execute(BATCH_LINES, (goods.batches, PRICE, CURRENCY, holds))
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
