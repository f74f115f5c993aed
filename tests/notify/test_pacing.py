"""Bulk sends yield to the shop: what is measured, decided and kept to, through a real Valkey and PostgreSQL."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import msgspec
import psycopg
import pytest
import redis
from redis.asyncio import Redis

from benchmarks.followers import add_followers
from tests.notify.applications import client_of, make_application
from tests.notify.hooking import call, endpoint, orders, with_hooks
from tests.notify.postbox import Postbox
from tests.notify.receiver import open_receiver
from tests.notify.telling import in_shards_of, tell
from tests.waiting import eventually
from tidegate import notify
from tidegate.entrypoints.notify import create_app
from tidegate.notify import pacing, tasks
from tidegate.notify.pace_rules import START, Memory
from tidegate.notify.pacing import SENDING, Breather, decide_once, read_pace, task_with_rests
from tidegate.notify.shards import expand_shard, finish_send, plan_send
from tidegate.notify.tasks import deliver_in_turns, pace
from tidegate.platform.access_log import note_request
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, new_id
from tidegate.platform.jobs import BULK, WITHIN_1M, make_app
from tidegate.platform.latency import LEAST_S, STEP, STEPS_MOST, Waits, quantile_s, step_of, take_counted, together
from tidegate.platform.latency_sharing import read_latency, sharing_latency
from tidegate.platform.settings import Settings
from tidegate.platform.valkey_client import valkey_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def valkey(settings: Settings) -> AsyncIterator[Redis]:
    client = Redis.from_url(settings.require_valkey_url())
    try:
        yield client
    finally:
        await client.aclose()


class Counting(Breather):
    """Rests as it should, and counts how often."""

    def __init__(self, share: float) -> None:
        super().__init__(share)
        self.naps = 0

    async def nap(self, *, until: float = math.inf) -> None:
        self.naps += 1
        await super().nap(until=until)


async def share_of_a_task(valkey: Redis, settings: Settings) -> float:
    async with task_with_rests(valkey, settings) as breather:
        return breather.share


async def begin(database: Database, settings: Settings, *, count: int) -> tuple[EventId, notify.WaitingTopic]:
    """A send to so many followers, cut into shards of ten."""
    with psycopg.connect(settings.require_database_url(), autocommit=True) as conn:
        add_followers(conn, kind="drop", key="lamps", count=count)
    event_id = EventId(new_id())
    async with database.transaction() as conn:
        (topic,) = await notify.find_followed(conn, topics={notify.TopicKind.DROP: ["lamps"]})
        await notify.begin_send(conn, event_id=event_id, topic=topic, template="drop_open", variables=VARIABLES)
    await plan_send(database, in_shards_of(settings, 10), event_id=event_id)
    return event_id, topic


VARIABLES = {"title": "Lamps", "url": "http://127.0.0.1:8000/drops/lamps"}


async def progress(database: Database, event_id: EventId) -> notify.Progress:
    await finish_send(database, event_id=event_id)
    async with database.connection() as conn:
        (send,) = await notify.list_sends(conn, limit=1, event_id=event_id)
    return send.progress


def test_a_quantile_of_several_processes_is_at_most_a_step_too_much() -> None:
    one = Waits({step_of(0.002): 98}, {step_of(0.001): 10})
    other = Waits({step_of(0.002): 1, step_of(0.3): 2}, {})
    both = together([one, other])
    assert both.count == 101
    assert both.p99_ms is not None
    assert 301.0 <= both.p99_ms <= 301.0 * STEP
    assert Waits().p99_ms is None
    assert (step_of(0.0), step_of(1e9)) == (0, STEPS_MOST)
    assert quantile_s({0: 5}, 0.5) == LEAST_S


async def test_what_a_site_process_measures_is_decided_upon_and_kept_to(settings: Settings, valkey: Redis) -> None:
    assert await share_of_a_task(valkey, settings) == settings.pacing.unknown_share, "nobody has decided yet"
    await decide_once(valkey, settings)
    pace = await read_pace(valkey)
    assert pace is not None
    assert (pace.sending, pace.told, pace.share) == (True, True, 1.0), "where no site process is, nobody feels it"
    async with sharing_latency(valkey):
        take_counted()  # what other tests of this process left
        for _ in range(50):
            note_request(("GET", "/products/{slug}", 200, 0.25, "id", 1.0))
            note_request(("GET", "/livez", 200, 9.0, "id", 1.0))

        async def told() -> bool:
            waits = await read_latency(valkey)
            return waits is not None and waits.count > 0

        await eventually(told)
        waits = await read_latency(valkey)
        assert waits is not None
        assert (waits.count, sum(waits.lags.values()) > 0) == (50, True)
        twice_slow = Memory(recent_ms=(300.0, 300.0))  # fewer than three readings are not judged
        await valkey.set("tidegate:pace:memory", msgspec.json.encode(twice_slow))
        await decide_once(valkey, settings)
    pace = await read_pace(valkey)
    assert pace is not None
    assert pace.told
    assert pace.p99_ms is not None
    assert 250.0 <= pace.p99_ms <= 400.0
    assert settings.pacing.floor_share < pace.share < START, "shoppers wait too long"
    assert await share_of_a_task(valkey, settings) == pace.share

    for key in await valkey.smembers("tidegate:latency"):
        await valkey.delete(key)
    await valkey.delete("tidegate:pace:memory")
    await decide_once(valkey, settings)
    pace = await read_pace(valkey)
    assert pace is not None
    assert (pace.told, pace.share) == (False, settings.pacing.unknown_share), "they were there and tell nothing"
    assert [await valkey.ttl(key) > 0 for key in ("tidegate:pace", "tidegate:pace:memory", "tidegate:latency:seen")]


async def test_two_schedulers_decide_in_turns_and_workers_go_on_slowly_without_valkey(
    settings: Settings, valkey: Redis
) -> None:
    await decide_once(valkey, settings)
    before = await valkey.get("tidegate:pace:memory")
    await decide_once(valkey, settings)
    assert await valkey.get("tidegate:pace:memory") == before
    async with Redis.from_url("redis://127.0.0.1:1/0") as nowhere:
        assert await share_of_a_task(nowhere, settings) == settings.pacing.unknown_share


async def test_a_process_asks_valkey_by_one_connection_whatever_it_does(
    database: Database, settings: Settings, valkey: Redis
) -> None:
    before = len(await valkey.client_list())
    for _ in range(3):
        await pace(database, settings)
        async with task_with_rests(valkey_of(database, settings), settings):
            assert len(await valkey.client_list()) == before + 1
    await database.close()

    async def is_closed() -> bool:
        return len(await valkey.client_list()) == before

    await eventually(is_closed)


async def test_a_shard_that_yields_is_told_in_steps_with_rests_and_each_once(
    database: Database, mailing: Settings
) -> None:
    event_id, _ = await begin(database, mailing, count=10)
    small = mailing.model_copy(update={"pacing": mailing.pacing.model_copy(update={"step": 3})})
    breather = Counting(0.5)
    expanded = await expand_shard(database, small, event_id=event_id, shard_no=1, breather=breather)
    assert expanded is not None
    assert (expanded.followers, expanded.inbox, expanded.mails, breather.naps) == (10, 10, 10, 3)
    async with database.connection() as conn:
        found = await conn.execute("SELECT count(*) FROM notify.inbox_messages WHERE event_id = %s", (event_id,))
        assert await found.fetchone() == (10,)


async def test_ending_a_send_waits_for_no_worker_that_rests_and_the_counts_close(
    database: Database, mailing: Settings
) -> None:
    event_id, topic = await begin(database, mailing, count=20)
    small = mailing.model_copy(update={"pacing": mailing.pacing.model_copy(update={"step": 5})})

    class Ending(Counting):
        async def nap(self, *, until: float = math.inf) -> None:
            await super().nap(until=until)
            async with asyncio.timeout(20), database.transaction() as conn:
                await notify.cancel_send(conn, event_id=event_id, topic_id=topic.topic_id)

    breather = Ending(0.5)
    expanded = await expand_shard(database, small, event_id=event_id, shard_no=1, breather=breather)
    assert expanded is not None
    assert (expanded.followers, breather.naps) == (10, 1)
    assert await expand_shard(database, small, event_id=event_id, shard_no=2) is None
    found = await progress(database, event_id)
    assert (found.expected, found.delivered, found.suppressed) == (40, 10, 20), "ten mails wait to be suppressed"


async def test_a_shard_whose_send_was_ended_while_it_was_locked_is_suppressed_by_its_worker(
    database: Database, mailing: Settings
) -> None:
    event_id, topic = await begin(database, mailing, count=10)
    async with database.transaction() as lock:
        await lock.execute("SELECT FROM notify.send_shards WHERE event_id = %s FOR UPDATE", (event_id,))
        async with asyncio.timeout(20), database.transaction() as conn:
            await notify.cancel_send(conn, event_id=event_id, topic_id=topic.topic_id)
    assert not (await progress(database, event_id)).over
    assert await tell(database, mailing, event_id) == []
    found = await progress(database, event_id)
    assert (found.expected, found.suppressed, found.over) == (20, 20, True)


class Stubborn:
    """A Valkey whose client tells of a cancellation as of an outage."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    def pipeline(self, *, transaction: bool) -> Stubborn:
        return self

    def set(self, *_: object, **__: object) -> None:
        """Is noted nowhere."""

    sadd = expire = set

    async def execute(self) -> None:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise redis.exceptions.TimeoutError from None


async def test_telling_ends_though_a_cancellation_comes_out_as_an_outage() -> None:
    valkey = Stubborn()
    async with asyncio.timeout(20), sharing_latency(cast("Redis", valkey)):
        await valkey.asked.wait()


async def test_whoever_works_beside_others_begins_nothing_while_a_rest_is_owed(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0

    async def sleep(seconds: float) -> None:
        nonlocal now_s
        await asyncio.sleep(0)
        now_s += seconds

    monkeypatch.setattr(pacing, "time", SimpleNamespace(monotonic=lambda: now_s))
    monkeypatch.setattr(pacing, "asyncio", SimpleNamespace(sleep=sleep, Lock=asyncio.Lock))
    monkeypatch.setattr(pacing, "waited_for_cpu_s", lambda _pid=None: 0.0)
    breather = Breather(0.2)
    now_s += 0.1
    await asyncio.gather(*(breather.nap() for _ in range(10)))
    assert now_s == pytest.approx(100.5), "a tenth of a second of work is a fifth of the time"
    now_s += 5.0
    until = now_s + 0.15
    await asyncio.gather(*(breather.nap(until=until) for _ in range(10)))
    assert now_s == pytest.approx(until, abs=0.002), "none goes on beyond its time"


async def test_the_share_is_not_asked_for_at_each_nap(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, asked = 100.0, 0

    async def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    async def ask() -> float:
        nonlocal asked
        asked += 1
        return 0.5

    monkeypatch.setattr(pacing, "time", SimpleNamespace(monotonic=lambda: now_s))
    monkeypatch.setattr(pacing, "asyncio", SimpleNamespace(sleep=sleep, Lock=asyncio.Lock))
    monkeypatch.setattr(pacing, "waited_for_cpu_s", lambda _pid=None: 0.0)
    breather = Breather(0.5, ask)
    for _ in range(50):
        now_s += 0.01
        await breather.nap()
    assert now_s == pytest.approx(101.0)
    assert 4 <= asked <= 6, "five times in a second"


async def test_time_without_a_cpu_costs_no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, own_s, behind_s = 100.0, 3.0, 7.0

    async def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    monkeypatch.setattr(pacing, "time", SimpleNamespace(monotonic=lambda: now_s))
    monkeypatch.setattr(pacing, "asyncio", SimpleNamespace(sleep=sleep, Lock=asyncio.Lock))
    monkeypatch.setattr(pacing, "waited_for_cpu_s", lambda pid=None: own_s if pid is None else behind_s)
    monkeypatch.setattr(pacing, "backend_beside", lambda _conn: 4711)
    breather = Breather(0.5)
    now_s, own_s = now_s + 0.05, own_s + 0.03
    breather.beside(cast("Any", None))
    now_s, behind_s = now_s + 0.08, behind_s + 0.06
    await breather.rest()
    assert now_s == pytest.approx(100.17), "of 0.13 s it worked 0.04, and has half of the time"
    now_s, own_s = now_s + 0.05, own_s + 0.05
    await breather.rest()
    assert now_s == pytest.approx(100.22), "it did nothing"
    now_s, behind_s = now_s + 0.02, 0.0
    await breather.rest()
    assert now_s == pytest.approx(100.26), "the process behind it has ended, which tells nothing"


@pytest.mark.parametrize("lane", [BULK, WITHIN_1M])
@pytest.mark.parametrize(
    ("task", "arguments"),
    [(tasks.deliver, [str(new_id())]), (tasks.shard, [str(new_id()), "1"]), (tasks.webhooks, [str(new_id())])],
)
async def test_all_that_is_bulk_yields_whatever_the_channel(
    task: Any, arguments: list[str], lane: str, database: Database, mailing: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_app(mailing)
    work: list[Any] = []
    monkeypatch.setattr(tasks, "run_async", work.append)
    task.apply(args=arguments, routing_key=lane)
    valkey = valkey_of(database, mailing)
    await valkey.delete(SENDING)
    await work[0](database, mailing)
    assert bool(await valkey.exists(SENDING)) == (lane == BULK)


async def test_webhooks_of_bulk_rest_between_calls_and_are_all_made(database: Database, mailing: Settings) -> None:
    async with open_receiver() as receiver:
        hooking = with_hooks(mailing, allow_hosts=["127.0.0.1"], connections=4)
        made = (await endpoint(database, hooking, receiver.url)).endpoint
        await orders(database, hooking, 20)
        breather = Counting(0.5)
        assert await call(database, hooking, made.endpoint_id, breather=breather) == 20
        assert (len(receiver.ids), breather.naps >= 20) == (20, True)


async def test_mails_of_bulk_to_people_who_are_named_rest_too(
    database: Database, mailing: Settings, postbox: Postbox
) -> None:
    async with client_of(create_app(mailing, moving=False)) as web:
        crm = await make_application(database, web, "crm")
        people = [f"p{n}" for n in range(8)]
        await crm.add(*people)
        await crm.follow("news", *people)
        to = {"topic": "news", "recipients": people}
        told = await crm.tell(urgency="bulk", to=to, channels=["email"])
        breather = Counting(0.5)
        event_id = EventId(UUID(told.json()["id"]))
        done = await deliver_in_turns(database, mailing, event_ids=[event_id], lane=BULK, breather=breather)
    assert (done, len(postbox.taken), breather.naps > 0) == (8, 8, True)
