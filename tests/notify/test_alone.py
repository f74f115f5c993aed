"""Notify alone: applications have webhooks and dead letters of their own, and an operator's key does what staff do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest
from standardwebhooks import Webhook

from tests.notify.applications import Application, client_of, deliver, make_application
from tests.notify.hooking import call, endpoint, order_event, with_hooks
from tests.notify.postbox import Postbox
from tests.notify.receiver import Receiver, open_receiver
from tests.notify.telling import tell
from tidegate.entrypoints.notify import create_app
from tidegate.notify.applications import KeyRole, create_key
from tidegate.notify.shards import finish_send
from tidegate.notify.webhook_events import on_order_webhooks, on_send_webhooks
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, new_id
from tidegate.platform.outbox import Event
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

NEWS: dict[str, Any] = {
    "urgency": "bulk",
    "to": {"topic": "news"},
    "variables": {"title": "News", "body": "There is some."},
}


@pytest.fixture
def hooking(mailing: Settings) -> Settings:
    return with_hooks(mailing, allow_hosts=["127.0.0.1"])


@pytest.fixture
async def web(hooking: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(create_app(hooking, moving=False)) as client:
        yield client


@pytest.fixture
async def crm(database: Database, web: httpx.AsyncClient) -> Application:
    made = await make_application(database, web, "crm")
    await made.add("ann", "ben")
    await made.follow("news", "ann", "ben")
    return made


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with open_receiver() as receiver:
        yield receiver


async def operator(database: Database, web: httpx.AsyncClient) -> Application:
    async with database.transaction() as conn:
        return Application(web, (await create_key(conn, role=KeyRole.OPERATOR)).token)


async def hook(crm: Application, receiver: Receiver, **changes: Any) -> dict[str, Any]:
    """An endpoint of an application, with its secret."""
    body = {"url": receiver.url, "events": ["message.sent"]} | changes
    answer = await crm.ask("POST", "/webhooks", key=str(new_id()), **body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def told(crm: Application, database: Database, settings: Settings) -> EventId:
    """News, with its webhooks written."""
    answer = await crm.tell(**NEWS)
    assert answer.status_code == 202, answer.text
    event_id = EventId(UUID(answer.json()["id"]))
    event = Event(EventId(new_id()), "notify.send", {"event_id": str(event_id)})
    await on_send_webhooks(database, settings, event)
    return event_id


async def test_an_application_is_told_of_its_own_messages_and_of_nothing_else(
    crm: Application, database: Database, hooking: Settings, receiver: Receiver
) -> None:
    made = await hook(crm, receiver, topics=["custom:news"])
    other = await make_application(database, crm.web, "other")
    await other.add("eve")
    await other.follow("news", "eve")
    theirs = await hook(other, receiver)
    staffs = await endpoint(database, hooking, receiver.url, events=["message.sent", "order.paid"])
    event_id = await told(crm, database, hooking)
    await on_order_webhooks(database, hooking, [order_event()])
    own = UUID(made["endpoint"]["id"])
    assert await call(database, hooking, own) == 1
    (taken,) = receiver.calls
    body = Webhook(made["secret"]).verify(taken.body, taken.headers)
    assert body["type"] == "message.sent"
    assert body["data"] == {
        "event_id": str(event_id), "title": "News", "body": "There is some.",
        "topics": [{"key": "news", "title": "News"}],
    }  # fmt: skip
    assert await call(database, hooking, UUID(theirs["endpoint"]["id"])) == 0
    assert await call(database, hooking, staffs.endpoint.endpoint_id) == 2, "the order, and what was sent"
    assert "sent" in [each["state"] for each in (await crm.ask("GET", f"/webhooks/{own}/deliveries")).json()["items"]]


async def test_endpoints_of_others_are_not_there(
    crm: Application, database: Database, hooking: Settings, receiver: Receiver
) -> None:
    made = await hook(crm, receiver)
    assert made["endpoint"]["application_id"] is not None
    own = f"/webhooks/{made['endpoint']['id']}"
    other = await make_application(database, crm.web, "other")
    reader = await make_application(database, crm.web, "crm", KeyRole.READER)
    staffs = f"/webhooks/{(await endpoint(database, hooking, receiver.url)).endpoint.endpoint_id}"
    for whose, path in ((other, own), (crm, staffs)):
        for method, behind, body in (
            ("GET", "", {}), ("PATCH", "", {"description": "mine"}), ("DELETE", "", {}), ("POST", "/secret", {}),
            ("POST", "/test", {}), ("GET", "/deliveries", {}), ("POST", f"/deliveries/{new_id()}/replay", {}),
        ):  # fmt: skip
            answer = await whose.ask(method, f"{path}{behind}", key="one", **body)
            assert answer.status_code == 404, (method, path, behind)
    assert [each["id"] for each in (await crm.ask("GET", "/webhooks")).json()["items"]] == [made["endpoint"]["id"]]
    assert (await other.ask("GET", "/webhooks")).json()["items"] == []
    assert (await reader.ask("GET", own)).status_code == 200
    assert (await reader.ask("DELETE", own)).status_code == 403
    unfit: tuple[dict[str, Any], ...] = ({"events": ["order.paid"]}, {"topics": ["drop:lamps"]})
    for wrong in unfit:
        answer = await crm.ask("PATCH", own, **wrong)
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-request"), wrong
    assert (await crm.ask("PATCH", own, state="disabled")).json()["state"] == "disabled"
    assert (await crm.ask("POST", f"{own}/test", key="two")).status_code == 409
    assert (await crm.ask("DELETE", own)).status_code == 200


async def test_an_endpoint_that_is_gone_is_disabled_and_its_application_sees_it(
    crm: Application, database: Database, hooking: Settings, receiver: Receiver
) -> None:
    made = await hook(crm, receiver)
    receiver.script = lambda taken: 410
    event_id = await told(crm, database, hooking)
    await call(database, hooking, UUID(made["endpoint"]["id"]))
    found = (await crm.ask("GET", f"/webhooks/{made['endpoint']['id']}")).json()
    assert (found["state"], found["disabled_why"]) == ("disabled", "gone")
    (letter,) = (await crm.ask("GET", "/dead-letters")).json()["items"]
    assert (letter["channel"], letter["event_id"], letter["status_code"]) == ("webhook", str(event_id), 410)
    async with database.connection() as conn:
        rows = await conn.execute("SELECT channel FROM notify.deliveries WHERE template = 'webhook_disabled'")
        assert await rows.fetchall() == [], "nobody has an inbox for it"


async def test_an_application_reads_replays_and_drops_its_own_dead_letters(
    crm: Application, database: Database, hooking: Settings, postbox: Postbox
) -> None:
    postbox.refusals = {f"{name}@post.example": "550 no such mailbox" for name in ("ann", "ben", "eve")}
    other = await make_application(database, crm.web, "other")
    await other.add("eve")
    ids = []
    for whose, names in ((crm, ("ann", "ben")), (other, ("eve",))):
        ids.append((await whose.tell(*names, channels=["email"])).json()["id"])
        await deliver(database, hooking, ids[-1])
    letters = (await crm.ask("GET", "/dead-letters")).json()["items"]
    assert {each["event_id"] for each in letters} == {ids[0]}
    (theirs,) = (await other.ask("GET", "/dead-letters")).json()["items"]
    place = f"/dead-letters/{ids[0]}/{letters[0]['recipient_id']}/email"
    opened = (await crm.ask("GET", place)).json()
    assert (opened["email"], opened["variables"]["body"]) == ("ben@post.example", "It is 42.")
    for method, path in (("GET", place), ("POST", f"{place}/replay"), ("DELETE", place)):
        assert (await other.ask(method, path)).status_code == 404, path
    assert (await other.ask("POST", "/dead-letters/replay", event_id=ids[0])).json() == {"replayed": 0, "more": False}
    assert theirs["event_id"] == ids[1]
    reader = await make_application(database, crm.web, "crm", KeyRole.READER)
    assert (await reader.ask("GET", place)).status_code == 200
    assert (await reader.ask("DELETE", place)).status_code == 403

    postbox.refusals.clear()
    assert (await crm.ask("DELETE", place)).status_code == 204
    assert (await crm.ask("DELETE", place)).status_code == 204
    assert (await crm.ask("POST", "/dead-letters/replay", event_id=ids[0])).json() == {"replayed": 1, "more": False}
    await deliver(database, hooking, ids[0])
    outcome = (await crm.ask("GET", f"/events/{ids[0]}")).json()
    assert (outcome["sent"], outcome["failed"], outcome["suppressed"]) == (1, 0, 1)


async def test_an_operator_sees_all_and_writes_texts_and_an_application_does_not(
    crm: Application, database: Database, hooking: Settings, receiver: Receiver
) -> None:
    whole = await operator(database, crm.web)
    made = await hook(crm, receiver)
    own = await hook(whole, receiver)
    assert own["endpoint"]["application_id"] is None
    found = (await whole.ask("GET", "/webhooks")).json()["items"]
    assert [each["id"] for each in found] == [own["endpoint"]["id"], made["endpoint"]["id"]]
    event_id = await told(crm, database, hooking)
    await tell(database, hooking, event_id)
    (send,) = (await whole.ask("GET", "/sends")).json()["items"]
    path = f"/sends/{event_id}/{send['topic_id']}"
    assert (await whole.ask("PATCH", path, state="cancelled")).json()["state"] in ("cancelled", "finished")
    await finish_send(database, event_id=event_id)
    assert (await whole.ask("GET", "/dead-letters")).json()["items"] == []
    assert (await whole.ask("GET", "/deliveries")).status_code == 200

    text: dict[str, Any] = {
        "subject": "{{ title }}",
        "txt": "Hello! {{ body }} {{ unsubscribe_url }}",
        "html": "",
        "inbox": "",
        "revision": 0,
    }
    kept = await whole.ask("PUT", "/templates/message/en", **text)
    assert kept.status_code == 200, kept.text
    found = (await whole.ask("GET", "/templates/message/en")).json()
    assert (found["own"], found["revision"]) == (["txt"], 1)
    tried = await whole.ask("POST", "/templates/message/en/preview", **text)
    assert tried.json()["text"].startswith("Hello!")
    listed = {each["template"] for each in (await whole.ask("GET", "/templates")).json()["items"]}
    assert "message" in listed and "account_login" not in listed, "links of accounts are the administrators'"

    for asking, status in ((crm, 403), (Application(crm.web, "tgn_none"), 401)):
        for where in ("/templates", "/estimates?kind=custom&key=x"):
            assert (await asking.ask("GET", where)).status_code == status, where
        stop = await asking.ask("POST", "/suppressions", email="ann@post.example", why="asked")
        assert stop.status_code == status
    assert (await whole.ask("POST", "/suppressions", email="ann@post.example", why="asked")).status_code == 200
    for needs_application in ("/recipients", "/topics"):
        assert (await whole.ask("GET", needs_application)).status_code == 403
