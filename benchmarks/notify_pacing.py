"""A send to many while shoppers look around: what they feel of it, and how far it gets meanwhile.

    python -m benchmarks notify_pacing [--pairs 5] [--seconds 10] [--followers 1000000] [--smoke] --json
    python -m benchmarks notify_pacing --drop      # a million followers of a drop are told while shoppers browse
    python -m benchmarks notify_pacing --growth    # 10k, 100k and 1M followers of a shop where nobody looks around

The processes of `tidegate up` (two of the site, a worker with one process for all lanes, one with one process that
leaves `bulk` alone, the scheduler), a mail sink, and the load generator share the cores. Shoppers ask for pages and the
JSON of the catalogue at a third of what a closed loop of them gets, at random moments; ten purchases a second and
their receipts go on beside it. Latency counts from the moment a request was due.

The same shoppers come on and on. Pairs alternate: some seconds without a send, and as many from the beginning of a
send, which is then ended.
`api_p99_ratio` is the median of the pairs, so is `api_p99_excess_ms`, by which the p99 is above
max(1.2 x idle, idle + 5 ms). `paced_per_hour` counts followers told in the seconds of the sends.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

import psycopg
import uvloop

from benchmarks import browse
from benchmarks.goods import sell
from benchmarks.notify import Receipts, Watch, pay, receipt_waits
from benchmarks.probes import Market, Probe, say
from benchmarks.servers import Fleet, Servers, environment, fleet, machine, servers, serving
from tidegate import notify
from tidegate.platform.database import Database, open_database
from tidegate.platform.embedded.ports import free_port
from tidegate.platform.ids import EventId
from tidegate.platform.jobs import make_app
from tidegate.platform.settings import current_settings
from tidegate.rehearse.storm import Storm

SHARE: Final = 1 / 3
PURCHASES_PER_S: Final = 10.0
CONNECTIONS: Final = 32
SITE_PROCESSES: Final = 2
SETTLE_S: Final = 3.0
START_S: Final = 4.0
"""A load generator takes so long to start, and is not to be felt as shoppers are."""
BUYERS_S: Final = 60.0
"""While a drop's followers are told, the generator of those who buy is started anew this often."""
LEARN_S: Final = 12.0
"""The pace needs some seconds without a send to know what idle is."""
CAPACITY_S: Final = 4.0
CAPACITY_ROUNDS: Final = 5
"""Machines change their speed; the median of so many stretches is what the shop can serve."""
LONGEST_S: Final = 1_200.0
POLL_S: Final = 0.2
GROWTH: Final = (10_000, 100_000, 1_000_000)
IDLE_TIMES: Final = 1.2
IDLE_PLUS_MS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Options:
    """How long and how many."""

    pairs: int
    seconds: float
    followers: int
    drop: bool
    growth: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stand:
    """A shop with its workers, and what shoppers ask it for."""

    these: Servers
    market: Market
    looks: browse.Target
    sink_port: int
    watch: Watch


@dataclass(frozen=True, slots=True)
class Felt:
    """What shoppers felt in a stretch of time, in milliseconds."""

    p50_ms: float
    p99_ms: float
    order_p99_ms: float


@dataclass(frozen=True, slots=True)
class Pair:
    """A stretch without a send and one with it."""

    idle: Felt
    sending: Felt
    told: int
    seconds: float

    @property
    def excess_ms(self) -> float:
        """How much longer shoppers waited than they may."""
        return _excess_ms(self.idle.p99_ms, self.sending.p99_ms)


def run(options: Sequence[str]) -> Mapping[str, object]:
    """Measure; see the module's docstring."""
    asked = parse(options)
    with stand() as made:
        if asked.growth:
            return uvloop.run(_grow(made, asked))
        return uvloop.run(_drop(made, asked) if asked.drop else _pairs(made, asked))


def parse(options: Sequence[str]) -> Options:
    """The options, checked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks notify_pacing")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--followers", type=int, default=1_000_000)
    parser.add_argument("--drop", action="store_true")
    parser.add_argument("--growth", type=int, nargs="*", default=())
    parser.add_argument("--smoke", action="store_true")
    found = parser.parse_args(options)
    growth = tuple(found.growth or GROWTH) if "--growth" in options else ()
    if found.smoke:
        return Options(1, 1.0, 6_000, found.drop, growth)
    return Options(found.pairs, found.seconds, found.followers, found.drop, growth)


@contextmanager
def stand() -> Iterator[Stand]:
    """The servers and processes."""
    with ExitStack() as stack:
        these = stack.enter_context(servers())
        sink_port = free_port()
        stack.enter_context(serving(these.home, "benchmarks.smtp_sink", str(sink_port), port=sink_port))
        stack.enter_context(environment({"TIDEGATE_MAIL__SMTP_URL": f"smtp://127.0.0.1:{sink_port}"}))
        make_app(current_settings())
        uvloop.run(browse.fill())
        conn = stack.enter_context(psycopg.connect(these.database_url, autocommit=True))
        sell(conn, variants=1)
        site = stack.enter_context(fleet(these.home, "benchmarks.site", processes=SITE_PROCESSES))
        processes = []
        for kind in ("single", "urgent", "scheduler"):
            port = free_port(avoid=[site.port, *site.metrics_ports])
            processes.append(
                stack.enter_context(serving(these.home, "benchmarks.notify_processes", kind, str(port), port=port))
            )
        yield Stand(these, Market(these, site, conn), _looks(these, site), sink_port, Watch(processes))


def _looks(these: Servers, site: Fleet) -> browse.Target:
    pages, api = browse.targets(these, site)
    return browse.Target("both", site.port, (*pages.paths, *api.paths))


async def _crowd(made: Stand, database: Database, *, kind: notify.TopicKind, key: str, count: int) -> Storm:
    """`count` followers of a new topic, with an inbox and no address."""
    say(f"making {count} followers")
    storm = Storm(database, kind=kind, key=key)
    await storm.make(count)
    await asyncio.to_thread(made.market.conn.execute, "VACUUM ANALYZE")
    return storm


# --- pairs


async def _pairs(made: Stand, asked: Options) -> Mapping[str, object]:
    pairs = []
    async with open_database(current_settings()) as database:
        storm = await _crowd(made, database, kind=notify.TopicKind.COLLECTION, key="crowd", count=asked.followers)
        rate = await _capacity(made, asked) * SHARE
        say(f"shoppers ask {rate:.0f} times a second")
        async with browse.crowd(made.looks, connections=CONNECTIONS, rate_per_s=rate) as crowd:
            await _feel(made, crowd, seconds=min(LEARN_S, asked.seconds * 2))
            for _ in range(asked.pairs):
                await asyncio.sleep(SETTLE_S)
                pairs.append(await _pair(made, crowd, database, storm, seconds=asked.seconds))
    return figures_of(pairs, rate) | {"peak_rss_mb": round(made.watch.rss_mb, 1)} | machine(made.these, processes=5)


async def _pair(made: Stand, crowd: browse.Crowd, database: Database, storm: Storm, *, seconds: float) -> Pair:
    idle = await _feel(made, crowd, seconds=seconds)
    async with _buying(made.market, seconds) as bought:
        event_id, topic_id = await storm.begin()
        began_s = time.monotonic()
        took = await crowd.during(seconds)
        sent_s = time.monotonic() - began_s
        told = await _told(database, event_id)
        async with database.transaction() as conn:
            await notify.cancel_send(conn, event_id=event_id, topic_id=topic_id)
    sending = _felt(took, await bought)
    made.watch.look()
    say(f"idle {idle.p99_ms} ms, with a send {sending.p99_ms} ms, {told / sent_s:.0f} told a second")
    return Pair(idle, sending, told, sent_s)


def figures_of(pairs: Sequence[Pair], rate_per_s: float) -> dict[str, object]:
    """The figures of all pairs."""
    return {
        "api_p99_ratio": round(statistics.median(pair.sending.p99_ms / pair.idle.p99_ms for pair in pairs), 2),
        "api_p99_excess_ms": round(statistics.median(pair.excess_ms for pair in pairs), 2),
        "paced_per_hour": round(sum(pair.told for pair in pairs) / sum(pair.seconds for pair in pairs) * 3_600),
        "api_p99_idle_ms": round(statistics.median(pair.idle.p99_ms for pair in pairs), 2),
        "api_p99_sending_ms": round(statistics.median(pair.sending.p99_ms for pair in pairs), 2),
        "api_p50_idle_ms": round(statistics.median(pair.idle.p50_ms for pair in pairs), 2),
        "api_p50_sending_ms": round(statistics.median(pair.sending.p50_ms for pair in pairs), 2),
        "order_p99_idle_ms": round(statistics.median(pair.idle.order_p99_ms for pair in pairs), 2),
        "order_p99_sending_ms": round(statistics.median(pair.sending.order_p99_ms for pair in pairs), 2),
        "order_p99_excess_ms": round(
            statistics.median(_excess_ms(pair.idle.order_p99_ms, pair.sending.order_p99_ms) for pair in pairs), 2
        ),
        "excess_of_pairs_ms": [round(pair.excess_ms, 2) for pair in pairs],
        "shop_per_s": round(rate_per_s),
    }


async def _capacity(made: Stand, asked: Options) -> float:
    await browse.closed(made.looks, connections=CONNECTIONS, seconds=0.5)
    rates = []
    for _ in range(CAPACITY_ROUNDS):
        began_s = time.monotonic()
        done = await browse.closed(made.looks, connections=CONNECTIONS, seconds=min(CAPACITY_S, asked.seconds))
        rates.append(done / (time.monotonic() - began_s))
    return statistics.median(rates)


async def _feel(made: Stand, crowd: browse.Crowd, *, seconds: float) -> Felt:
    """What shoppers feel for some seconds."""
    async with _buying(made.market, seconds) as bought:
        took = await crowd.during(seconds)
    return _felt(took, await bought)


@asynccontextmanager
async def _buying(market: Market, seconds: float) -> AsyncIterator[asyncio.Future[Probe]]:
    """Purchases beside what is in the block, which begins when their generator is up."""
    buying = asyncio.ensure_future(asyncio.to_thread(_buy, market, seconds + START_S))
    await asyncio.sleep(START_S)
    yield buying


def _felt(took_s: Sequence[float], bought: Probe) -> Felt:
    return Felt(_quantile_ms(took_s, 0.5), _quantile_ms(took_s, 0.99), bought.report.p99_ms)


def _quantile_ms(took_s: Sequence[float], share: float) -> float:
    return round(took_s[int(len(took_s) * share)] * 1000, 2)


def _buy(market: Market, seconds: float) -> Probe:
    bought = market.run("express", rate_per_s=PURCHASES_PER_S, seconds=seconds)
    if bought.report.errors:
        raise RuntimeError(f"{bought.report.errors} purchases failed: {bought.report.problems}")
    return bought


async def _buy_until(market: Market, over: asyncio.Event, *, stretch_s: float) -> list[Probe]:
    """Purchases on and on; at least one stretch of them."""
    stretches = []
    while not over.is_set():
        stretches.append(await asyncio.to_thread(_buy, market, stretch_s))
    return stretches


def _excess_ms(idle_ms: float, sending_ms: float) -> float:
    return max(sending_ms - max(IDLE_TIMES * idle_ms, idle_ms + IDLE_PLUS_MS), 0.0)


# --- sends


async def _told(database: Database, event_id: EventId) -> int:
    async with database.connection() as conn:
        (send,) = await notify.list_sends(conn, limit=1, event_id=event_id)
    return send.progress.delivered


async def _until_over(made: Stand, database: Database, event_id: EventId) -> float:
    """Seconds until the last follower is told."""
    began_s = time.monotonic()
    while True:
        async with database.connection() as conn:
            (send,) = await notify.list_sends(conn, limit=1, event_id=event_id)
        took_s = time.monotonic() - began_s
        if send.progress.over:
            return took_s
        if took_s > LONGEST_S:
            raise RuntimeError(f"not told within {LONGEST_S:g} s: {send.progress}")
        await asyncio.to_thread(made.watch.look)
        await asyncio.sleep(POLL_S)


async def _account(database: Database, event_id: EventId, followers: int) -> dict[str, int]:
    async with database.connection() as conn:
        found = await conn.execute(
            "SELECT count(*), count(DISTINCT recipient_id) FROM notify.inbox_messages WHERE event_id = %s", (event_id,)
        )
        row = await found.fetchone()
    assert row is not None
    return {"lost": followers - row[1], "duplicated": row[0] - row[1]}


# --- a drop opens


async def _drop(made: Stand, asked: Options) -> Mapping[str, object]:
    receipts = Receipts()
    async with open_database(current_settings()) as database:
        storm = await _crowd(made, database, kind=notify.TopicKind.DROP, key="lamps", count=asked.followers)
        rate = await _capacity(made, asked) * SHARE
        async with browse.crowd(made.looks, connections=CONNECTIONS, rate_per_s=rate) as crowd:
            idle = await _feel(made, crowd, seconds=min(LEARN_S, asked.seconds * 2))
            over = asyncio.Event()
            buying = asyncio.create_task(_buy_until(made.market, over, stretch_s=min(BUYERS_S, asked.seconds * 6)))
            paying = asyncio.create_task(pay(database, receipts))
            await asyncio.sleep(START_S)
            say(f"{rate:.0f} requests a second, p99 {idle.p99_ms} ms; the drop opens")
            event_id, _ = await storm.begin()
            telling = asyncio.create_task(_until_over(made, database, event_id))
            p99s: list[float] = []
            while not p99s or not telling.done():
                p99s.append(_quantile_ms(await crowd.during(asked.seconds), 0.99))
                say(f"told {await _told(database, event_id)}, p99 {p99s[-1]} ms")
            paying.cancel()
            over.set()
            bought = await buying
        told_s = await telling
        waits_s = await asyncio.to_thread(receipt_waits, made.sink_port, receipts)
        books = await _account(database, event_id, asked.followers)
    return {
        "told_within_s": round(told_s, 1),
        "followers": asked.followers,
        **books,
        "per_hour": round(asked.followers / told_s * 3_600),
        "receipts": len(waits_s),
        "receipt_p50_s": round(statistics.median(waits_s), 2),
        "receipt_longest_s": round(waits_s[-1], 2),
        "shop_per_s": round(rate),
        "api_p99_idle_ms": idle.p99_ms,
        "api_p99_sending_ms": round(statistics.median(p99s), 2),
        "api_p99_worst_ms": max(p99s),
        "api_p99_excess_ms": round(_excess_ms(idle.p99_ms, statistics.median(p99s)), 2),
        "order_p99_idle_ms": idle.order_p99_ms,
        "order_p99_sending_ms": round(statistics.median(each.report.p99_ms for each in bought[:-1] or bought), 2),
        "peak_rss_mb": round(made.watch.rss_mb, 1),
        "queue_peak": made.watch.queue,
        **machine(made.these, processes=5),
    }


# --- growth


async def _grow(made: Stand, asked: Options) -> Mapping[str, object]:
    rows = []
    async with open_database(current_settings()) as database:
        for count in (1_000, *asked.growth):
            storm = await _crowd(made, database, kind=notify.TopicKind.COLLECTION, key=f"crowd-{count}", count=count)
            made.watch.rss_mb, made.watch.queue = 0.0, 0
            event_id, _ = await storm.begin()
            took_s = await _until_over(made, database, event_id)
            books = await _account(database, event_id, count)
            rows.append(
                {
                    "followers": count,
                    "seconds": round(took_s, 1),
                    "per_hour": round(count / took_s * 3_600),
                    "peak_rss_mb": round(made.watch.rss_mb, 1),
                    "queue_peak": made.watch.queue,
                    **books,
                }
            )
            say(str(rows[-1]))
    return {"growth": rows[1:], **machine(made.these, processes=3)}
