"""A new channel is an adapter, put in one place: all that is promised of messages holds for it as well."""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Any, cast

import httpx
import pytest
from redis.asyncio import Redis

from tests.notify.applications import Application, client_of, make_application
from tests.notify.hooking import let_time_pass
from tests.notify.postbox import Postbox
from tests.notify.telling import tell
from tests.notify.texting import Operator, SmsAdapter, open_operator
from tidegate import notify
from tidegate.entrypoints.notify import create_app
from tidegate.notify.adapters import ADAPTERS
from tidegate.notify.contracts import Channel, Progress
from tidegate.notify.deliveries import deliver_due, deliver_shard
from tidegate.notify.own_topics import find_own_topic, waiting
from tidegate.notify.sends import begin_send
from tidegate.notify.shards import finish_send
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, new_id
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

WAYS = ("sms", "email", "inbox")


class Way(StrEnum):
    """What `Channel` would be with it."""

    SMS = "sms"
    EMAIL = "email"
    INBOX = "inbox"


@pytest.fixture
async def operator() -> AsyncIterator[Operator]:
    async with open_operator() as operator:
        yield operator


@pytest.fixture
def texting(mailing: Settings, operator: Operator, monkeypatch: pytest.MonkeyPatch) -> SmsAdapter:
    """Text messages, put where channels are put."""
    adapter = SmsAdapter(operator.port, mailing.mail.model_copy(update={"connections": 2}))
    monkeypatch.setitem(ADAPTERS, "sms", adapter)
    return adapter


@pytest.fixture
async def crm(mailing: Settings, database: Database) -> AsyncIterator[Application]:
    async with client_of(create_app(mailing, moving=False)) as web:
        made = await make_application(database, web, "crm")
        await made.add(*(f"p{n}" for n in range(6)), "mute", has_inbox=True)
        await made.follow("news", *(f"p{n}" for n in range(6)), "mute")
        yield made


async def begin(crm: Application, database: Database, *ways: Way) -> EventId:
    """A message to the followers by these ways."""
    application = (await crm.ask("GET", "/topics/news")).json()
    event_id = EventId(new_id())
    async with database.transaction() as conn:
        found = await conn.execute("SELECT application_id FROM notify.applications WHERE slug = 'crm'")
        (application_id,) = cast("tuple[Any]", await found.fetchone())
        topic = await find_own_topic(conn, application_id=application_id, key=application["key"])
        await begin_send(
            conn,
            event_id=event_id,
            topic=waiting(topic, application_id),
            template="message",
            variables={"application": str(application_id)},
            words={"title": "News", "body": "There is some."},
            channels=cast("tuple[Channel, ...]", ways),
            once=False,
        )
    return event_id


async def go_on(database: Database, settings: Settings, event_id: EventId) -> Progress:
    """What a worker does next with its only shard."""
    await deliver_shard(database, settings, event_id=event_id, shard_no=1)
    await finish_send(database, event_id=event_id)
    async with database.connection() as conn:
        (send,) = await notify.list_sends(conn, limit=1, event_id=event_id)
    return send.progress


async def outcomes(database: Database, event_id: EventId) -> dict[str, list[str]]:
    """The states of an event's deliveries, by channel."""
    async with database.connection() as conn:
        rows = await conn.execute(
            "SELECT channel, array_agg(state ORDER BY state) FROM notify.deliveries WHERE event_id = %s GROUP BY 1",
            (event_id,),
        )
        return dict(await rows.fetchall())


async def test_a_send_goes_by_a_channel_that_is_new_with_retries_and_final_failures(
    crm: Application, database: Database, mailing: Settings, texting: SmsAdapter, operator: Operator, postbox: Postbox
) -> None:
    operator.answers = {"+441": 404, "+442": 500, "+443": 429}
    event_id = await begin(crm, database, Way.SMS, Way.EMAIL, Way.INBOX)
    await tell(database, mailing, event_id)
    progress = await go_on(database, mailing, event_id)
    assert (progress.expected, progress.delivered, progress.failed) == (21, 17, 2), "no such number, and none at all"
    assert sorted(operator.taken) == [(f"+44{n}", "News: There is some.") for n in (0, 4, 5)]
    assert len(postbox.taken) == 7
    operator.answers = {"+441": 404}
    await let_time_pass(database)
    progress = await go_on(database, mailing, event_id)
    assert (progress.delivered, progress.failed, progress.over) == (19, 2, True)
    assert (operator.asked["+442"], operator.asked["+440"]) == (2, 1), "each once, and again what was refused"
    assert (await outcomes(database, event_id))["sms"] == ["failed", "failed", *["sent"] * 5]
    async with database.connection() as conn:
        rows = await conn.execute(
            """
            SELECT provider_id, attempts FROM notify.deliveries
            WHERE event_id = %s AND channel = 'sms' AND state = 'sent'
            """,
            (event_id,),
        )
        found = await rows.fetchall()
    assert all(each[0].startswith("sms-") for each in found) and sorted(each[1] for each in found) == [1, 1, 1, 2, 2]


async def test_who_does_not_want_it_that_way_is_not_told_that_way(
    crm: Application, database: Database, mailing: Settings, texting: SmsAdapter, operator: Operator
) -> None:
    async with database.connection() as conn:
        await conn.execute(
            """
            UPDATE notify.recipients AS r SET unwanted = '{custom.sms}' FROM notify.application_recipients AS a
            WHERE a.recipient_id = r.recipient_id AND a.external_id = 'p0'
            """
        )
    assert (await crm.ask("PUT", "/recipients/p1/preferences/topics/news", channels=["email"])).status_code == 200
    event_id = await begin(crm, database, Way.SMS)
    await tell(database, mailing, event_id)
    progress = await go_on(database, mailing, event_id)
    assert (progress.delivered, progress.failed, progress.unwanted, progress.over) == (4, 1, 2, True)
    assert sorted(number for number, _ in operator.taken) == ["+442", "+443", "+444", "+445"]


async def test_a_provider_that_is_away_costs_no_attempt_and_holds_up_no_other_channel(
    crm: Application, database: Database, mailing: Settings, monkeypatch: pytest.MonkeyPatch, postbox: Postbox
) -> None:
    monkeypatch.setitem(ADAPTERS, "sms", SmsAdapter(1, mailing.mail.model_copy(update={"breaker_failures": 2})))
    event_id = await begin(crm, database, Way.SMS, Way.EMAIL)
    await tell(database, mailing, event_id)
    progress = await go_on(database, mailing, event_id)
    assert (progress.delivered, progress.over, len(postbox.taken)) == (7, False, 7)
    async with database.connection() as conn:
        rows = await conn.execute(
            "SELECT DISTINCT attempts FROM notify.deliveries WHERE channel = 'sms' AND state = 'pending'"
        )
        assert await rows.fetchall() == [(0,)]


async def test_it_keeps_to_a_quota_of_its_own(
    crm: Application, database: Database, mailing: Settings, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = mailing.mail.model_copy(update={"per_s": 0.001, "burst": 10})
    adapter = SmsAdapter(operator.port, own)
    monkeypatch.setitem(ADAPTERS, "sms", adapter)
    async with Redis.from_url(mailing.require_valkey_url()) as valkey:
        now_s = (await valkey.time())[0]
        await valkey.hset(adapter.quota_key(mailing), mapping={"tokens": 5, "at": now_s})
        event_id = await begin(crm, database, Way.SMS, Way.EMAIL)
        await tell(database, mailing, event_id)
        progress = await go_on(database, mailing, event_id)
        await valkey.delete(adapter.quota_key(mailing))
    assert sum(operator.asked.values()) <= 3, "a fifth of the bucket is kept for what people wait for"
    assert (progress.delivered + progress.failed >= 8, progress.over) == (True, False), "mails have no quota"


async def test_people_who_are_named_are_told_by_it_too(
    crm: Application, database: Database, mailing: Settings, texting: SmsAdapter, operator: Operator
) -> None:
    """As an application would name it, once `Channel` knows it."""
    told = await crm.tell("p0", "p1", channels=["email"])
    event_id = told.json()["id"]
    async with database.connection() as conn:
        await conn.execute("UPDATE notify.deliveries SET channel = 'sms' WHERE event_id = %s", (event_id,))
    await deliver_due(database, mailing, limit=10, event_ids=[EventId(event_id)])
    assert sorted(operator.taken) == [("+440", "Your code: It is 42."), ("+441", "Your code: It is 42.")]
    answer: httpx.Response = await crm.ask("GET", f"/events/{event_id}")
    assert (answer.json()["sent"], answer.json()["over"]) == (2, True)
