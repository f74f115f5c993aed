"""Bulk sends yield to the shop: what is measured, decided and kept to, through a real Valkey and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import msgspec
import psycopg
import pytest
import redis
from redis.asyncio import Redis

from benchmarks.followers import add_followers
from tests.notify.telling import in_shards_of, tell
from tests.waiting import eventually
from tidegate import notify
from tidegate.notify.pace_rules import START, Memory
from tidegate.notify.pacing import Breather, decide_once, read_pace, task_with_rests
from tidegate.notify.shards import expand_shard, finish_send, plan_send
from tidegate.notify.tasks import pace
from tidegate.platform.access_log import note_request
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, new_id
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

    async def nap(self) -> None:
        self.naps += 1
        await super().nap()


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
        once_slow = Memory(recent_ms=(300.0,))  # a single slow reading is not judged
        await valkey.set("tidegate:pace:memory", msgspec.json.encode(once_slow))
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
        async def nap(self) -> None:
            await super().nap()
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
