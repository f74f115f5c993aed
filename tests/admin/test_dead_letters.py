"""The staff's room for dead letters: all that a page shows is sent again or dropped, and a question comes first."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import psycopg
import pytest

from benchmarks.followers import add_followers
from tests.admin.test_pages import sign_in
from tests.admin.test_webhooks import post
from tests.storefront.conftest import app, reading, text_of
from tidegate import notify
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, new_id
from tidegate.platform.settings import Settings

__all__ = ["app"]

pytestmark = pytest.mark.anyio

ROOM = "/admin/dead-letters"


@pytest.fixture
async def client(app: Any, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(app) as client:
        await sign_in(client, database)
        yield client


async def fail(database: Database, template: str, count: int, *, channel: str = "email") -> None:
    """As many messages that failed for good."""
    async with database.connection() as conn:
        await conn.execute(
            """
            INSERT INTO notify.deliveries (event_id, recipient_id, channel, template, variables, state, last_error,
                address_sealed)
            SELECT uuidv7(), uuidv7(), %s, %s, '{"number": "K7P2"}', 'failed', 'the server was away', ''
            FROM generate_series(1, %s)
            """,
            (channel, template, count),
        )


async def states(database: Database) -> dict[tuple[str, str], int]:
    async with database.connection() as conn:
        found = await conn.execute("SELECT template, state, count(*) FROM notify.deliveries GROUP BY 1, 2")
        return {(row[0], row[1]): row[2] for row in await found.fetchall()}


async def test_the_receipts_of_an_outage_are_sent_again_at_once(client: httpx.AsyncClient, database: Database) -> None:
    await fail(database, "order_paid", 60)
    await fail(database, "product_back", 2)
    await fail(database, "order_paid", 1, channel="inbox")
    assert "63 dead letters." in text_of(await client.get(ROOM))
    receipts = f"{ROOM}?channel=email&kind=order_paid"
    shown = await client.get(receipts)
    assert "60 dead letters." in text_of(shown)
    assert "Send all 60 again" in text_of(shown)
    older = re.search(rf'rel="next" href="({ROOM}[^"]+)"', shown.text)
    assert older is not None
    page = text_of(await client.get(older[1].replace("&amp;", "&")))
    assert (page.count("Send again"), "60 dead letters." in page) == (10, True)
    answer = await post(client, receipts, f"{ROOM}/replay", channel="email", kind="order_paid")
    assert "60 messages are on their way again." in text_of(await client.get(answer.headers["location"]))
    left = {("order_paid", "pending"): 60, ("order_paid", "failed"): 1, ("product_back", "failed"): 2}
    assert await states(database) == left


async def test_what_is_dropped_is_asked_about_first(client: httpx.AsyncClient, database: Database) -> None:
    await fail(database, "product_back", 2)
    await fail(database, "order_paid", 1)
    listed = await client.get(f"{ROOM}?kind=product_back")
    assert f'href="{ROOM}?kind=product_back&amp;drop=1"' in listed.text
    asked = text_of(await client.get(f"{ROOM}?kind=product_back&drop=1"))
    assert "Drop 2 dead letters?" in asked
    assert "This cannot be undone." in asked
    assert 'name="most" value="2"' in (await client.get(f"{ROOM}?kind=product_back&drop=1")).text
    await fail(database, "product_back", 1)  # while somebody is asked about two
    answer = await post(client, ROOM, f"{ROOM}/drop", kind="product_back", most="2")
    assert "2 messages were dropped." in text_of(await client.get(answer.headers["location"]))
    left = {("product_back", "suppressed"): 2, ("product_back", "failed"): 1, ("order_paid", "failed"): 1}
    assert await states(database) == left
    await post(client, ROOM, f"{ROOM}/drop", kind="product_back")
    assert await states(database) == left, "nobody was asked about any"
    one = re.search(rf'<a href="({ROOM}/[^"]+/email)"', (await client.get(ROOM)).text)
    assert one is not None
    assert "Drop this message?" not in text_of(await client.get(one[1]))
    assert "Drop this message?" in text_of(await client.get(f"{one[1]}?drop=1"))
    assert (await post(client, ROOM, f"{ROOM}/whatever")).status_code == 404


async def test_a_letter_leads_to_the_send_that_it_was_part_of_and_back(
    client: httpx.AsyncClient, database: Database, settings: Settings
) -> None:
    with psycopg.connect(settings.require_database_url(), autocommit=True) as conn:
        topic_id = add_followers(conn, kind="collection", key="lamps", count=1)
    event_id = EventId(new_id())
    async with database.transaction() as own:
        (topic,) = await notify.find_followed(own, topics={notify.TopicKind.COLLECTION: ["lamps"]})
        await notify.begin_send(own, event_id=event_id, topic=topic, template="post", variables={"title": "Lamps"})
        await own.execute(
            "INSERT INTO notify.send_shards (event_id, topic_id, shard_no, followers, messages, failed, after_id,"
            " upto_id) VALUES (%s, %s, 1, 1, 1, 1, %s, %s)",
            (event_id, topic_id, topic_id, topic_id),
        )
    await fail(database, "post", 1)
    async with database.connection() as own:
        await own.execute("UPDATE notify.deliveries SET event_id = %s, shard_no = 1", (event_id,))
    letter = re.search(rf'<a href="({ROOM}/[^"]+/email)"', (await client.get(ROOM)).text)
    assert letter is not None
    send = f"/admin/sends/{event_id}/{topic_id}"
    assert f'href="{send}"' in (await client.get(letter[1])).text
    failed = f"{ROOM}?event={event_id}"
    assert f'href="{failed}"' in (await client.get(send)).text
    answer = await post(client, failed, f"{ROOM}/replay", event=str(event_id))
    assert "1 message is on its way again." in text_of(await client.get(answer.headers["location"]))
