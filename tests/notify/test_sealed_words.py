"""What applications say is told whole, and stands nowhere in the clear."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import psycopg
import pytest

from tests.notify.applications import Application, client_of, deliver, make_application
from tests.notify.hooking import call, endpoint, with_hooks
from tests.notify.postbox import Postbox
from tests.notify.receiver import open_receiver
from tests.notify.telling import tell
from tidegate.entrypoints.notify import create_app
from tidegate.notify.dead_letters import Road, open_dead_letter
from tidegate.notify.deliveries import deliver_shard
from tidegate.notify.views import list_sends
from tidegate.notify.webhook_events import on_send_webhooks
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, new_id, parse_id
from tidegate.platform.outbox import Event
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

CANARY = "Kanarienvogel"
WORDS = {"title": f"{CANARY} at noon", "body": f"Dear Ann, the {CANARY} waits.", "url": f"https://crm.example/{CANARY}"}


@pytest.fixture
async def web(mailing: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(create_app(mailing, moving=False)) as client:
        yield client


@pytest.fixture
async def crm(database: Database, web: httpx.AsyncClient) -> Application:
    made = await make_application(database, web, "crm")
    await made.add("ann", "bob", has_inbox=True)
    return made


def leaks(database_url: str) -> list[str]:
    """Tables of which a row shows the canary to whoever reads the database."""
    with psycopg.connect(database_url) as conn:
        tables = conn.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname IN ('notify', 'platform')"
        ).fetchall()
        return [
            name
            for (name,) in tables
            if conn.execute(f"SELECT 1 FROM {name} AS t WHERE t::text LIKE %s LIMIT 1", (f"%{CANARY}%",)).fetchone()
        ]


async def test_words_to_people_by_name(
    crm: Application, database: Database, database_url: str, mailing: Settings, postbox: Postbox
) -> None:
    told = (await crm.tell("ann", variables=WORDS)).json()
    assert leaks(database_url) == []
    await deliver(database, mailing, told["id"])
    (mail,) = postbox.mails_to("ann@post.example")
    assert mail["subject"] == WORDS["title"]
    (note,) = (await crm.ask("GET", "/recipients/ann/inbox")).json()["items"]
    assert (note["subject"], note["link"]) == (WORDS["title"], WORDS["url"])
    assert CANARY in note["body"]
    assert leaks(database_url) == []

    postbox.refusals["bob@post.example"] = "550 no such mailbox"
    event_id = (await crm.tell("bob", variables=WORDS, channels=["email"])).json()["id"]
    await deliver(database, mailing, event_id)
    async with database.connection() as conn:
        row = await (
            await conn.execute("SELECT recipient_id FROM notify.deliveries WHERE event_id = %s", (event_id,))
        ).fetchone()
        assert row is not None
        known = parse_id(event_id)
        assert known is not None
        letter = await open_dead_letter(conn, event_id=EventId(known), recipient_id=row[0], channel=Road.EMAIL)
    assert letter.variables["body"] == WORDS["body"]


async def test_words_to_followers_and_to_programs(
    crm: Application, database: Database, database_url: str, mailing: Settings, postbox: Postbox
) -> None:
    await crm.follow("ann-only", "ann")
    hooked = with_hooks(mailing, allow_hosts=["127.0.0.1"])
    async with open_receiver() as receiver:
        hook = await endpoint(database, hooked, receiver.url, events=["message.sent"])
        answer = await crm.ask(
            "POST", "/events", key=str(new_id()), urgency="bulk", to={"topic": "ann-only"}, variables=WORDS
        )
        known = parse_id(answer.json()["id"])
        assert known is not None
        event_id = EventId(known)
        await on_send_webhooks(database, hooked, Event(EventId(new_id()), "notify.send", {"event_id": str(event_id)}))
        assert await tell(database, mailing, event_id) == [1]
        await deliver_shard(database, mailing, event_id=event_id, shard_no=1)
        assert await call(database, hooked, hook.endpoint.endpoint_id) == 1
        assert CANARY.encode() in receiver.calls[0].body
    assert postbox.mails_to("ann@post.example")[0]["subject"] == WORDS["title"]
    (note,) = (await crm.ask("GET", "/recipients/ann/inbox")).json()["items"]
    assert note["subject"] == WORDS["title"]
    async with database.connection() as conn:
        (send,) = await list_sends(conn, limit=2)
    assert send.about == "Ann-Only"
    assert leaks(database_url) == []
    async with database.connection() as conn:
        await conn.execute("UPDATE notify.words SET words_sealed = '\\x00'")
    (note,) = (await crm.ask("GET", "/recipients/ann/inbox")).json()["items"]
    assert note["subject"] == "This message cannot be read any more."
