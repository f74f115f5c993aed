"""Notify's client against the real app: what a program asks for is told once, and what went wrong has a type."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest

from tests.notify.applications import client_of, deliver
from tests.notify.conftest import mailing, postbox
from tests.notify.postbox import Postbox
from tests.notify.telling import tell
from tidegate.client import (
    ClassMandatory,
    Device,
    InvalidRequest,
    KeyReused,
    NotFound,
    Notify,
    NotSignedIn,
    Pace,
    Preferences,
    Recipient,
    ShopUnreachable,
)
from tidegate.entrypoints.notify import create_app
from tidegate.notify.applications import KeyRole, create_key
from tidegate.notify.deliveries import deliver_shard
from tidegate.notify.shards import finish_send
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId
from tidegate.platform.settings import Settings

__all__ = ["mailing", "postbox"]

pytestmark = pytest.mark.anyio

PEOPLE = [Recipient(f"p{n:04}", f"p{n}@post.example", locale="de") for n in range(1_200)]


class Cut(httpx.AsyncBaseTransport):
    """A line that breaks before every other answer comes back."""

    def __init__(self, line: httpx.AsyncBaseTransport) -> None:
        self.line = line
        self.asked = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Ask, and perhaps lose the answer."""
        self.asked += 1
        answer = await self.line.handle_async_request(request)
        if self.asked % 2:
            raise httpx.ReadError("cut")
        return answer


@pytest.fixture
async def web(mailing: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(create_app(mailing, moving=False)) as client:
        yield client


@pytest.fixture
async def key(database: Database) -> str:
    async with database.transaction() as conn:
        return (await create_key(conn, application="crm", role=KeyRole.SENDER)).token


@pytest.fixture
async def notify(web: httpx.AsyncClient, key: str) -> Notify:
    return Notify("http://127.0.0.1:8000", key=key, http=web)


async def test_a_program_writes_its_people_tells_them_and_sees_what_became_of_it(
    notify: Notify, database: Database, mailing: Settings, postbox: Postbox
) -> None:
    assert (await notify.write(PEOPLE)).created == 1_200
    assert (await notify.write(PEOPLE[:5])).updated == 5
    assert await notify.recipient("p0003") == PEOPLE[3]
    postbox.refusals["p1@post.example"] = "550 no such mailbox"
    told = await notify.tell(["p0000", "p0001", "who"], title="Your code", body="It is 42.", request_key="login 7")
    assert (told.recipients, told.unknown) == (2, ["who"])
    await deliver(database, mailing, str(told.id))
    async with asyncio.timeout(10):
        outcome = await notify.wait(told.id)
    assert (outcome.over, outcome.sent, outcome.failed) == (True, 1, 1)
    assert [each.external_id async for each in notify.deliveries(state="failed")] == ["p0001"]
    postbox.refusals.clear()
    assert await notify.replay(told.id) == 1
    await deliver(database, mailing, str(told.id))
    assert (await notify.outcome(told.id)).sent == 2

    await notify.put_topic("news", title="News")
    followers = await notify.follow("news", [each.external_id for each in PEOPLE])
    assert (followers.added, followers.unknown) == (1_200, [])
    assert (await notify.unfollow("news", [each.external_id for each in PEOPLE[2:]])).removed == 1_198
    news = await notify.tell(topic="news", title="Hello", body="News.", channels=["email"])
    assert not (await notify.outcome(news.id)).over
    await tell(database, mailing, EventId(UUID(str(news.id))))
    await deliver_shard(database, mailing, event_id=EventId(UUID(str(news.id))), shard_no=1)
    await finish_send(database, event_id=EventId(UUID(str(news.id))))
    assert (await notify.outcome(news.id)).sent == 2
    await notify.erase("p0003")
    with pytest.raises(NotFound):
        await notify.recipient("p0003")
    await notify.delete_topic("news")


async def test_an_answer_that_was_lost_tells_nothing_twice(
    web: httpx.AsyncClient, key: str, database: Database
) -> None:
    cut = Cut(web._transport)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async with httpx.AsyncClient(transport=cut) as http:
        notify = Notify("http://127.0.0.1:8000", key=key, http=http, pace=Pace(sleep=sleep))
        await notify.write(PEOPLE[:1])
        await notify.tell(["p0000"], title="Once", body="Once.")
        assert (cut.asked, len(slept)) == (4, 2)
        hasty = Notify("http://127.0.0.1:8000", key=key, http=http, patience_s=0)
        with pytest.raises(ShopUnreachable):
            await hasty.recipient("p0000")
    async with database.connection() as conn:
        assert await (await conn.execute("SELECT count(*) FROM notify.events")).fetchone() == (1,)


async def test_what_goes_wrong_has_a_type(notify: Notify, web: httpx.AsyncClient) -> None:
    with pytest.raises(InvalidRequest) as wrong:
        await notify.write([PEOPLE[0], Recipient("p1", "nowhere")])
    assert list(wrong.value.errors) == ["recipients[1].email"]
    await notify.write(PEOPLE[:1])
    await notify.tell(["p0000"], title="A", body="A", request_key="one")
    with pytest.raises(KeyReused):
        await notify.tell(["p0000"], title="B", body="B", request_key="one")
    with pytest.raises(NotSignedIn):
        await Notify("http://127.0.0.1:8000", key="tgn_" + "x" * 43, http=web).recipient("p0000")


async def test_devices_are_written_listed_and_removed(notify: Notify) -> None:
    await notify.write(PEOPLE[:2])
    phone = Device("android", "f:1", label="Phone")
    browser = Device("web_push", "https://push.example/1", keys={"auth": "YQ", "p256dh": "Yg"})
    await notify.write_devices([("p0000", phone), ("p0000", browser)])
    known = {each.kind: each for each in await notify.devices("p0000")}
    assert (known["android"].token, known["android"].label, known["web_push"].keys) == ("f:1", "Phone", browser.keys)
    gone = known["android"].id
    assert gone is not None
    await notify.remove_device("p0000", gone)
    assert [each.kind for each in await notify.devices("p0000")] == ["web_push"]
    with pytest.raises(InvalidRequest):
        await notify.write_devices([("p0001", Device("web_push", "http://push.example"))])
    with pytest.raises(NotFound):
        await notify.devices("p0002")


async def test_a_send_is_watched_paused_and_ended(notify: Notify, database: Database, mailing: Settings) -> None:
    await notify.write(PEOPLE[:3])
    await notify.put_topic("news", title="News")
    await notify.follow("news", [each.external_id for each in PEOPLE[:3]])
    soon = datetime.now(UTC) + timedelta(hours=1)
    told = await notify.tell(topic="news", title="Hello", body="News.", channels=["email"], expires_at=soon)
    await tell(database, mailing, EventId(told.id))
    send = await notify.send(told.id)
    assert (send.topic, send.state, send.followers, send.expected, send.over) == ("News", "running", 3, 3, False)
    assert (await notify.pause(told.id)).state == "paused"
    assert (await notify.resume(told.id)).state == "running"
    assert (await notify.cancel(told.id)).state == "cancelled"
    await deliver_shard(database, mailing, event_id=EventId(told.id), shard_no=1)
    await finish_send(database, event_id=EventId(told.id))
    assert [(each.event_id, each.suppressed, each.over) async for each in notify.sends()] == [(told.id, 3, True)]
    named = await notify.tell(["p0000"], title="Code", body="42")
    with pytest.raises(NotFound):
        await notify.send(named.id)
    with pytest.raises(InvalidRequest) as late:
        await notify.tell(["p0000"], title="Code", body="42", expires_at=soon - timedelta(days=1))
    assert list(late.value.errors) == ["expires_at"]


async def test_what_people_want_is_kept_and_their_inbox_shown(
    notify: Notify, database: Database, mailing: Settings
) -> None:
    await notify.write([Recipient("ann", "ann@post.example", has_inbox=True)])
    await notify.put_topic("news", title="News")
    await notify.follow("news", ["ann"])
    wanted = Preferences(["email"], "Europe/Berlin", "22:00", "07:00")
    assert await notify.set_preferences("ann", wanted) == wanted == await notify.preferences("ann")
    assert (await notify.choose_class("ann", "bulk", unwanted=[])).unwanted == []
    assert [(each.name, each.mandatory) for each in await notify.classes("ann")] == [
        ("transactional", True),
        ("bulk", False),
    ]
    with pytest.raises(ClassMandatory):
        await notify.choose_class("ann", "transactional", unwanted=["inbox"])
    assert (await notify.choose_topic("ann", "news", channels=["inbox"])).channels == ["inbox"]
    assert [(each.key, each.channels) async for each in notify.topics_of("ann")] == [("news", ["inbox"])]
    for number in range(2):
        told = await notify.tell(["ann"], title=f"Code {number}", body="It is 42.", channels=["inbox"])
        await deliver(database, mailing, str(told.id))
    inbox = await notify.inbox("ann")
    assert (inbox.unread, [each.subject for each in inbox.items]) == (2, ["Code 1", "Code 0"])
    assert [each.id async for each in notify.messages("ann")] == [each.id for each in inbox.items]
    assert await notify.mark_read("ann", shown_at=inbox.shown_at) == 0


async def test_what_failed_is_read_sent_again_and_dropped(
    notify: Notify, database: Database, mailing: Settings, postbox: Postbox
) -> None:
    await notify.write(PEOPLE[:3])
    postbox.refusals.update({each.email: "550 no such mailbox" for each in PEOPLE[:3]})
    told = await notify.tell(["p0000", "p0001", "p0002"], title="Code", body="42", channels=["email"])
    await deliver(database, mailing, str(told.id))
    postbox.refusals.clear()
    letters = [each async for each in notify.dead_letters(channel="email")]
    assert [each.event_id for each in letters] == [told.id] * 3
    opened = await notify.open_letter(letters[0])
    assert (opened.email, opened.variables["body"]) == ("p2@post.example", "42")
    await notify.drop_letter(letters[0])
    await notify.replay_letter(letters[1])
    (failed,) = [each async for each in notify.deliveries(state="failed")]
    assert [await notify.replay_delivery(failed) for _ in range(2)] == [True, False]
    await deliver(database, mailing, str(told.id))
    outcome = await notify.outcome(told.id)
    assert (outcome.sent, outcome.failed, outcome.suppressed) == (2, 0, 1)


async def test_endpoints_are_made_rotated_disabled_and_deleted(notify: Notify) -> None:
    made = await notify.make_webhook("https://93.184.216.34/hook", topics=["news"], request_key="one")
    again = await notify.make_webhook("https://93.184.216.34/hook", topics=["news"], request_key="one")
    assert (again, made.endpoint.topics) == (made, ["custom:news"])
    assert (await notify.rotate_secret(made.endpoint.id)).secret != made.secret
    assert (await notify.set_webhook(made.endpoint.id, active=False)).state == "disabled"
    assert [each.state async for each in notify.webhooks()] == ["disabled"]
    await notify.delete_webhook(made.endpoint.id)
    assert [each.id async for each in notify.webhooks()] == []
    with pytest.raises(InvalidRequest):
        await notify.make_webhook("https://93.184.216.34/hook", events=["order.paid"])
