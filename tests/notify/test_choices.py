"""What people want of classes and of topics, by channel: said by API, kept, and followed by what is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.admin.test_pages import sign_in
from tests.notify.applications import Application, client_of, deliver, make_application
from tests.notify.postbox import Postbox
from tests.notify.telling import tell
from tests.storefront.conftest import app, reading
from tidegate import notify
from tidegate.accounts import ADMIN_EMAIL
from tidegate.entrypoints.notify import create_app
from tidegate.notify import Topic, TopicKind
from tidegate.notify.applications import KeyRole
from tidegate.notify.deliveries import deliver_shard
from tidegate.notify.shards import finish_send
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, PersonId, new_id
from tidegate.platform.settings import Settings

__all__ = ["app"]

pytestmark = pytest.mark.anyio

OWN = "/api/v1/me/preferences"


@pytest.fixture
async def crm(database: Database, mailing: Settings) -> AsyncIterator[Application]:
    async with client_of(create_app(mailing, moving=False)) as web:
        made = await make_application(database, web, "crm")
        await made.add("ann", "ben", has_inbox=True)
        await made.follow("news", "ann", "ben")
        yield made


@pytest.fixture
async def client(app: Any, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(app) as client:
        await sign_in(client, database)
        yield client


async def told(crm: Application, database: Database, settings: Settings, **changes: Any) -> dict[str, int]:
    """What becomes of news, by the states of its messages."""
    words = {"title": "News", "body": "There is some."}
    answer = await crm.tell(**{"urgency": "bulk", "to": {"topic": "news"}, "variables": words} | changes)
    assert answer.status_code == 202, answer.text
    event_id = EventId(UUID(answer.json()["id"]))
    if await tell(database, settings, event_id):
        await deliver_shard(database, settings, event_id=event_id, shard_no=1)
        await finish_send(database, event_id=event_id)
    else:
        await deliver(database, settings, str(event_id))
    found = (await crm.ask("GET", f"/events/{event_id}")).json()
    assert found["over"]
    return {state: found[state] for state in ("sent", "suppressed", "failed")}


async def test_who_wants_a_topic_in_the_inbox_only_gets_no_mail_of_it(
    crm: Application, database: Database, mailing: Settings, postbox: Postbox
) -> None:
    topics = "/recipients/ann/preferences/topics"
    page = (await crm.ask("GET", topics)).json()
    assert page == {"items": [{"key": "news", "title": "News", "channels": None}], "next": None}
    answer = await crm.ask("PUT", f"{topics}/news", channels=["inbox"])
    assert answer.json() == {"key": "news", "title": "News", "channels": ["inbox"]}, answer.text
    assert (await crm.ask("GET", topics)).json()["items"] == [answer.json()]

    assert await told(crm, database, mailing) == {"sent": 3, "suppressed": 1, "failed": 0}
    assert [address for address, _ in postbox.taken] == ["ben@post.example"]
    assert (await crm.ask("GET", "/recipients/ann/inbox")).json()["unread"] == 1
    named = {"to": {"topic": "news", "recipients": ["ann"]}}
    assert await told(crm, database, mailing, **named) == {"sent": 1, "suppressed": 0, "failed": 0}
    assert len(postbox.taken) == 1

    answer = await crm.ask("PUT", f"{topics}/news", channels=None)
    assert answer.json()["channels"] is None
    assert await told(crm, database, mailing) == {"sent": 4, "suppressed": 0, "failed": 0}


async def test_a_topic_that_is_not_followed_or_not_theirs_has_no_choice(crm: Application, database: Database) -> None:
    assert (await crm.ask("PUT", "/topics/rest", title="Rest")).status_code == 200
    for path in ("ann/preferences/topics/rest", "ann/preferences/topics/none", "eve/preferences/topics/news"):
        assert (await crm.ask("PUT", f"/recipients/{path}", channels=["inbox"])).status_code == 404, path
    empty = await crm.ask("PUT", "/recipients/ann/preferences/topics/news", channels=[])
    assert (empty.status_code, empty.json()["type"]) == (422, "/problems/invalid-request")
    other = await make_application(database, crm.web, "other")
    await other.add("ann")
    assert (await other.ask("PUT", "/recipients/ann/preferences/topics/news", channels=["inbox"])).status_code == 404
    reader = await make_application(database, crm.web, "crm", KeyRole.READER)
    assert (await reader.ask("GET", "/recipients/ann/preferences/topics")).status_code == 200
    assert (await reader.ask("PUT", "/recipients/ann/preferences/topics/news", channels=["inbox"])).status_code == 403
    await crm.follow("alpha", "ann")
    page = (await crm.ask("GET", "/recipients/ann/preferences/topics?limit=1")).json()
    assert [each["key"] for each in page["items"]] == ["alpha"]
    rest = (await crm.ask("GET", page["next"].removeprefix("/api/v1/notify"))).json()
    assert ([each["key"] for each in rest["items"]], rest["next"]) == (["news"], None)


async def test_bulk_can_be_switched_off_by_channel_and_what_somebody_waits_for_cannot(
    crm: Application, database: Database, mailing: Settings, postbox: Postbox
) -> None:
    classes = "/recipients/ann/preferences/classes"
    assert (await crm.ask("GET", classes)).json()["items"] == [
        {"name": "transactional", "mandatory": True, "unwanted": []},
        {"name": "bulk", "mandatory": False, "unwanted": []},
    ]
    answer = await crm.ask("PUT", f"{classes}/bulk", unwanted=["email"])
    assert answer.json() == {"name": "bulk", "mandatory": False, "unwanted": ["email"]}, answer.text
    assert (await crm.ask("GET", "/recipients/ann/preferences")).json()["unwanted"] == ["email"]
    refused = await crm.ask("PUT", f"{classes}/transactional", unwanted=["email"])
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/class-mandatory")
    assert "always sent" in refused.json()["detail"]
    assert (await crm.ask("PUT", f"{classes}/transactional", unwanted=[])).status_code == 200
    assert (await crm.ask("PUT", f"{classes}/marketing", unwanted=[])).status_code == 422

    assert await told(crm, database, mailing) == {"sent": 3, "suppressed": 1, "failed": 0}
    code = await crm.tell("ann")
    await deliver(database, mailing, code.json()["id"])
    assert [address for address, _ in postbox.taken] == ["ben@post.example", "ann@post.example"]
    await crm.ask("PUT", f"{classes}/bulk", unwanted=[])
    assert (await crm.ask("GET", "/recipients/ann/preferences")).json()["unwanted"] == []


async def test_a_shopper_chooses_by_class_and_by_what_they_follow(
    client: httpx.AsyncClient, database: Database, mailing: Settings, postbox: Postbox
) -> None:
    first = (await client.get(OWN)).json()
    names = [each["name"] for each in first["classes"]]
    assert names == ["transactional", "drop", "product", "collection", "shop"]
    assert [each["name"] for each in first["classes"] if each["mandatory"]] == ["transactional"]
    assert (await client.get(f"{OWN}/topics")).json() == {"items": [], "next_after": None}
    choice = {"unwanted": ["email"]}
    refused = await client.put(f"{OWN}/classes/transactional", json=choice)
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/class-mandatory")
    for name in ("custom", "none"):
        assert (await client.put(f"{OWN}/classes/{name}", json=choice)).status_code == 404
    answer = await client.put(f"{OWN}/classes/drop", json=choice)
    assert answer.json() == {"name": "drop", "mandatory": False, "unwanted": ["email"]}, answer.text
    quiet = {"time_zone": "Europe/Berlin", "quiet_from": "22:00", "quiet_until": "07:00"}
    kept = (await client.put(f"{OWN}/quiet", json=quiet)).json()
    assert {name: kept[name] for name in quiet} == quiet
    assert kept["classes"][1]["unwanted"] == ["email"], "each is said without the other"
    assert (await client.put(f"{OWN}/quiet", json=quiet | {"quiet_until": None})).status_code == 422
    await client.put(f"{OWN}/quiet", json={})

    person = PersonId(UUID((await client.get("/api/v1/me")).json()["id"]))
    async with database.transaction() as conn:
        for key in ("lamps", "bowls"):
            topic = Topic(TopicKind.COLLECTION, key, key.title(), f"/collections/{key}")
            await notify.follow(conn, topic=topic, email=ADMIN_EMAIL, locale="en", most=9, person_id=person)
    missing = await client.put(f"{OWN}/topics/drop/lamps", json={"channels": ["inbox"]})
    assert missing.status_code == 404
    answer = await client.put(f"{OWN}/topics/collection/lamps", json={"channels": ["inbox"]})
    assert (answer.json()["slug"], answer.json()["channels"]) == ("lamps", ["inbox"]), answer.text
    page = (await client.get(f"{OWN}/topics?limit=1")).json()
    rest = (await client.get(f"{OWN}/topics?after={page['next_after']}")).json()
    assert [(each["slug"], each["channels"]) for each in page["items"] + rest["items"]] == [
        ("bowls", None),
        ("lamps", ["inbox"]),
    ]

    event_id = EventId(new_id())
    async with database.transaction() as conn:
        (found,) = await notify.find_followed(conn, topics={TopicKind.COLLECTION: ["lamps"]})
        said = {"title": "Lamps", "url": "http://127.0.0.1:8000/"}
        await notify.begin_send(conn, event_id=event_id, topic=found, template="drop_open", variables=said)
    await tell(database, mailing, event_id)
    await finish_send(database, event_id=event_id)
    async with database.connection() as conn:
        (send,) = await notify.list_sends(conn, limit=1, event_id=event_id)
    assert (send.progress.delivered, send.progress.suppressed, send.progress.unwanted) == (1, 1, 1)
    assert not postbox.taken
