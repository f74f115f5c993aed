"""Messages to single people travel in their own lane, also when they are tried again, and take no other's capacity."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
import redis.asyncio

from tests.notify.applications import Application, client_of, make_application
from tests.notify.conftest import with_mail
from tests.notify.postbox import Postbox
from tests.notify.test_deliveries import make_due, order_paid, paid
from tidegate.entrypoints.notify import create_app
from tidegate.notify import deliveries
from tidegate.notify.adapters import MAIL
from tidegate.notify.dead_letters import replay_event
from tidegate.notify.own_events import DELIVER_TOPIC, FEW, lanes_of
from tidegate.notify.providers import provider_of
from tidegate.notify.tasks import SWEPT_PART, deliver_event, deliver_in_turns, sweep
from tidegate.notify.wording import Urgency
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, new_id
from tidegate.platform.jobs import BULK, RECEIPTS, WITHIN_1M, WITHIN_10S, lane_depths, make_app
from tidegate.platform.outbox import Event
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio


@dataclass(frozen=True, slots=True)
class Lanes:
    """An application with a topic that many follow, and the broker's lanes."""

    crm: Application
    people: tuple[str, ...]

    async def bulk(self, count: int) -> EventId:
        """Have it tell so many followers by name."""
        names = self.people[:count]
        answer = await self.crm.tell(urgency="bulk", to={"topic": "news", "recipients": names})
        assert answer.status_code == 202, answer.text
        return EventId(answer.json()["id"])

    async def transactional(self, count: int) -> EventId:
        """Have it tell so many something that they wait for."""
        answer = await self.crm.tell(*self.people[:count])
        assert answer.status_code == 202, answer.text
        return EventId(answer.json()["id"])


@pytest.fixture
async def web(mailing: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(create_app(mailing, moving=False)) as client:
        yield client


@pytest.fixture
async def lanes(database: Database, web: httpx.AsyncClient, mailing: Settings) -> Lanes:
    make_app(mailing)
    crm = await make_application(database, web, "crm")
    people = tuple(f"p{number}" for number in range(FEW + 1))
    await crm.add(*people)
    await crm.follow("news", *people)
    return Lanes(crm, people)


async def swept(database: Database, settings: Settings) -> dict[str, int]:
    """Tasks that a round of the sweeper added to each lane, where it did."""
    before = lane_depths()
    await sweep(database, settings)
    return {lane: depth - before[lane] for lane, depth in lane_depths().items() if depth != before[lane]}


async def test_what_is_tried_again_goes_by_the_lane_it_came_by(
    lanes: Lanes, database: Database, mailing: Settings
) -> None:
    for begin, lane in (
        (lanes.transactional(FEW), WITHIN_10S),
        (lanes.transactional(FEW + 1), WITHIN_1M),
        (lanes.bulk(3), WITHIN_1M),
        (paid(database, mailing, order_paid()), RECEIPTS),
    ):
        await begin
        await make_due(database)
        assert await swept(database, mailing) == {lane: 1}
        async with database.connection() as conn:
            await conn.execute("DELETE FROM notify.deliveries")
        async with redis.asyncio.Redis.from_url(mailing.require_broker_url()) as broker:
            await broker.flushdb()


async def test_dead_letters_are_sent_again_by_the_lane_they_came_by(
    lanes: Lanes, database: Database, mailing: Settings
) -> None:
    event_id = await lanes.bulk(3)
    async with database.transaction() as conn:
        await conn.execute("UPDATE notify.deliveries SET state = 'failed'")
        assert (await replay_event(conn, event_id=event_id)).count == 3
    asked = Event(EventId(new_id()), DELIVER_TOPIC, {"event_id": str(event_id)})
    await deliver_event(database, mailing, asked)
    assert {lane: depth for lane, depth in lane_depths().items() if depth} == {WITHIN_1M: 1}


async def test_many_who_are_named_go_by_the_bulk_lane_each_time(
    database: Database, mailing: Settings, postbox: Postbox
) -> None:
    few = mailing.model_copy(update={"follows": mailing.follows.model_copy(update={"bulk_from": 3})})
    make_app(few)
    async with client_of(create_app(few, moving=False)) as web:
        crm = await make_application(database, web, "crm")
        await crm.add("ann", "ben", "cid")
        await crm.follow("news", "ann", "ben", "cid")
        await Lanes(crm, ("ann", "ben", "cid")).bulk(3)
    await make_due(database)
    assert await swept(database, few) == {BULK: 1}


async def test_a_lane_whose_tasks_nobody_takes_does_not_fill_the_broker(
    lanes: Lanes, database: Database, mailing: Settings
) -> None:
    few = mailing.model_copy(update={"jobs": mailing.jobs.model_copy(update={"queue_max": 3 * SWEPT_PART})})
    await lanes.transactional(1)
    async with database.connection() as conn:
        await conn.execute("UPDATE notify.deliveries SET next_attempt_at = clock_timestamp() - interval '1 day'")
    for _ in range(6):
        await sweep(database, few)
    assert lane_depths()[WITHIN_10S] == 3
    await paid(database, few, order_paid())
    await make_due(database)
    assert await swept(database, few) == {RECEIPTS: 1}, "others have room"


@pytest.mark.parametrize(("lane", "mails"), [(WITHIN_10S, 1), (RECEIPTS, 3)])
async def test_a_task_takes_its_turn_and_leaves_the_rest_to_another(
    lanes: Lanes,
    database: Database,
    mailing: Settings,
    postbox: Postbox,
    monkeypatch: pytest.MonkeyPatch,
    lane: str,
    mails: int,
) -> None:
    """But for receipts, which nothing else may hold up."""
    monkeypatch.setattr(deliveries, "TURN_S", 0.0)
    one = with_mail(mailing, connections=1)
    event_id = await lanes.transactional(3)
    assert await deliver_in_turns(database, one, event_ids=[event_id], lane=lane) == mails
    assert len(postbox.taken) == mails
    assert lane_depths()[lane] == (1 if mails < 3 else 0)
    for _ in range(2):
        await deliver_in_turns(database, one, event_ids=[event_id], lane=lane)
    assert len(postbox.taken) == 3, "each is told once"


async def test_bulk_to_people_who_are_named_leaves_the_quota_of_what_is_waited_for(
    lanes: Lanes, database: Database, mailing: Settings, postbox: Postbox
) -> None:
    limited = with_mail(mailing, per_s=0.01, burst=10)
    async with redis.asyncio.Redis.from_url(mailing.require_valkey_url()) as valkey:
        await valkey.hset(MAIL.quota_key(limited), mapping={"tokens": 10, "at": 0})
    many = await lanes.bulk(20)
    await deliver_in_turns(database, limited, event_ids=[many], lane=WITHIN_1M)
    assert len(postbox.taken) == 8, "a fifth is left"
    first = await lanes.transactional(2)
    await deliver_in_turns(database, limited, event_ids=[first], lane=WITHIN_10S)
    assert len(postbox.taken) == 10
    await provider_of(database, limited).close()


def test_lanes_follow_from_urgency_and_size() -> None:
    assert lanes_of(Urgency.TRANSACTIONAL, bulk_from=1_000) == (FEW, "within_10s", "within_1m")
    assert lanes_of(Urgency.BULK, bulk_from=1_000) == (999, "within_1m", "bulk")
