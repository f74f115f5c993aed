"""The staff's room for messages: what is to be sent is told before, and each send has a page of its own."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import psycopg
import pytest
from redis.asyncio import Redis

from benchmarks.followers import add_followers
from tests.admin.test_pages import sign_in
from tests.admin.test_webhooks import post
from tests.storefront.conftest import reading, text_of
from tidegate import notify
from tidegate.entrypoints.site import create_app
from tidegate.notify.pacing import PACE
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, new_id
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[Any]:
    """A site whose mail provider takes ten mails a second."""
    quota = settings.mail.model_copy(update={"per_s": 10.0, "burst": 10})
    app: Any = create_app(settings.model_copy(update={"demo": True, "mail": quota}))
    async with app.app.router.lifespan_context(app.app):
        yield app


@pytest.fixture
async def client(app: Any, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(app) as client:
        await sign_in(client, database)
        yield client


async def test_a_running_send_says_how_much_of_the_workers_time_it_may_take(
    client: httpx.AsyncClient, database: Database, settings: Settings
) -> None:
    async def shown(pace: notify.Pace) -> str:
        async with Redis.from_url(settings.require_valkey_url()) as valkey:
            await valkey.set(PACE, msgspec.json.encode(pace), ex=5)
        return text_of(await client.get("/admin/sends"))

    running = notify.Pace(0.23, objective_ms=14.2, p99_ms=8.1, idle_ms=9.2, sending=True, told=True)
    assert "so that shoppers do not feel them" not in await shown(running), "nothing is being sent"
    with psycopg.connect(settings.require_database_url(), autocommit=True) as conn:
        add_followers(conn, kind="collection", key="lamps", count=3)
    async with database.transaction() as own:
        (topic,) = await notify.find_followed(own, topics={notify.TopicKind.COLLECTION: ["lamps"]})
        await notify.begin_send(own, event_id=EventId(new_id()), topic=topic, template="drop_open", variables={})
    page = await shown(running)
    assert "Large sends take up to 23 % of the workers’ time, so that shoppers do not feel them." in page
    assert "The slowest percent of shoppers waits 8 ms; above 14 ms sends slow down." in page
    unknown = notify.Pace(0.1, objective_ms=15.0, p99_ms=None, idle_ms=None, sending=True, told=False)
    assert "How long shoppers wait is not known: large sends go slowly." in await shown(unknown)


WRITTEN = {"topic": "collection:lamps", "title": "New lamps", "body": "At noon.", "inbox": "", "email": "1"}


async def test_nothing_is_sent_before_whom_it_reaches_and_how_long_it_takes_was_seen(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    with psycopg.connect(settings.require_database_url(), autocommit=True) as conn:
        add_followers(conn, kind="collection", key="lamps", count=1_300)
        add_followers(conn, kind="collection", key="towels", count=1)
    form = "/admin/sends/new"
    inboxes = WRITTEN | {"inbox": "1", "email": ""}
    assert 'name="seen" value="collection:lamps;1;"' in (await post(client, form, form, **inboxes)).text
    wrong = await post(client, form, form, **WRITTEN | {"email": "", "seen": "collection:lamps;;"})
    assert wrong.status_code == 422
    assert "Choose at least one way" in text_of(wrong)
    asked = await post(client, form, form, **WRITTEN)
    assert "Send it to 1,300 followers?" in text_of(asked)
    assert "the send takes about 2 minutes." in text_of(asked)
    assert "Nothing was sent to followers yet." in text_of(await client.get("/admin/sends"))
    seen = re.search('name="seen" value="([^"]*)"', asked.text)
    assert seen is not None
    other = await post(client, form, form, **WRITTEN | {"topic": "collection:towels", "seen": seen[1]})
    assert "Send it to 1 follower?" in text_of(other), "another audience is asked about anew"
    sent = await post(client, form, form, **WRITTEN | {"seen": seen[1]})
    page = text_of(await client.get(sent.headers["location"]))
    for words in ("It is on its way.", "Being sent", "Its followers are being counted.", "At noon."):
        assert words in page


async def test_a_send_is_paused_and_ended_on_its_page_after_a_question(
    client: httpx.AsyncClient, database: Database, settings: Settings
) -> None:
    with psycopg.connect(settings.require_database_url(), autocommit=True) as conn:
        topic_id = add_followers(conn, kind="collection", key="lamps", count=3)
    event_id = EventId(new_id())
    async with database.transaction() as own:
        (topic,) = await notify.find_followed(own, topics={notify.TopicKind.COLLECTION: ["lamps"]})
        await notify.begin_send(own, event_id=event_id, topic=topic, template="drop_open", variables={})
    page = f"/admin/sends/{event_id}/{topic_id}"
    for wish, words in (("pause", "Nothing more is sent until you go on."), ("resume", "It goes on.")):
        answer = await post(client, page, f"{page}/{wish}")
        assert words in text_of(await client.get(answer.headers["location"]))
    assert "End this message?" not in text_of(await client.get(page))
    assert "Whom it has reached keeps it." in text_of(await client.get(f"{page}?end=1"))
    answer = await post(client, page, f"{page}/cancel")
    assert "Ended. What was not handed over yet is not sent." in text_of(await client.get(answer.headers["location"]))
    assert "End this message?" not in text_of(await client.get(f"{page}?end=1")), "it is over"
    for path in (f"/admin/sends/{new_id()}/{topic_id}", "/admin/sends/one/two"):
        assert (await client.get(path)).status_code == 404
