"""The staff's room for messages: it says how large sends yield to the shop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import psycopg
import pytest
from redis.asyncio import Redis

from benchmarks.followers import add_followers
from tests.admin.test_pages import sign_in
from tests.storefront.conftest import app, reading, text_of
from tidegate import notify
from tidegate.notify.pacing import PACE
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, new_id
from tidegate.platform.settings import Settings

__all__ = ["app"]

pytestmark = pytest.mark.anyio


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
    assert "The slowest percent of shoppers waits 8 ms; 14 ms is the most." in page
    unknown = notify.Pace(0.1, objective_ms=15.0, p99_ms=None, idle_ms=None, sending=True, told=False)
    assert "How long shoppers wait is not known: large sends go slowly." in await shown(unknown)
