"""Notify as any application uses it: its address book, topics and events, apart from those of others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.notify.applications import Application, client_of, deliver, make_application
from tests.notify.postbox import Postbox
from tests.notify.telling import tell
from tidegate.entrypoints.notify import create_app
from tidegate.notify.applications import KeyRole, create_key, list_keys, revoke_key
from tidegate.notify.deliveries import deliver_shard
from tidegate.notify.own_events import delete_old_events
from tidegate.notify.sends import delete_spent
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, new_id
from tidegate.platform.problems import InvalidRequest
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
async def web(mailing: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(create_app(mailing, moving=False)) as client:
        yield client


@pytest.fixture
async def crm(database: Database, web: httpx.AsyncClient) -> Application:
    return await make_application(database, web, "crm")


def wrong(answer: httpx.Response) -> dict[str, str]:
    """Which fields a problem names, and how they are wrong."""
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-request"), answer.text
    return {each["field"]: each["message"] for each in answer.json()["errors"]}


async def test_a_thousand_recipients_are_written_at_once_or_not_at_all(crm: Application, database: Database) -> None:
    rows: list[dict[str, Any]] = [
        {"external_id": f"p{n:03}", "email": f"p{n}@post.example", "locale": "pt-BR", "time_zone": "Europe/Berlin"}
        for n in range(1_000)
    ]
    bad = [dict(row) for row in rows]
    bad[3] |= {"email": "no address"}
    bad[17] |= {"external_id": "p016"}
    bad[400] |= {"email": "P5@POST.example", "time_zone": "Mars/Base"}
    bad[999] |= {"external_id": "", "locale": "deutsch, bitte"}
    answer = await crm.ask("PUT", "/recipients", recipients=bad)
    assert sorted(wrong(answer)) == [
        "recipients[17].external_id", "recipients[3].email", "recipients[400].email", "recipients[400].time_zone",
        "recipients[999].external_id", "recipients[999].locale",
    ]  # fmt: skip
    assert "row 5" in wrong(answer)["recipients[400].email"].lower()
    async with database.connection() as conn:
        assert await (await conn.execute("SELECT count(*) FROM notify.recipients")).fetchone() == (0,)

    answer = await crm.ask("PUT", "/recipients", recipients=rows)
    assert (answer.json()["created"], answer.json()["updated"]) == (1_000, 0)
    first = answer.json()["recipients"][0]
    answer = await crm.ask("PUT", "/recipients", recipients=[rows[0] | {"email": "new@post.example", "name": "Ann"}])
    assert answer.json() == {"created": 0, "updated": 1, "recipients": [first | {"created": False}]}
    known = (await crm.ask("GET", "/recipients/p000")).json()
    assert known == {
        "id": first["id"], "external_id": "p000", "email": "new@post.example", "name": "Ann", "locale": "pt_BR",
        "time_zone": "Europe/Berlin", "has_inbox": False,
    }  # fmt: skip
    assert (await crm.ask("POST", "/recipients/find", email="NEW@post.example")).json() == known
    assert (await crm.ask("POST", "/recipients/find", email="p0@post.example")).status_code == 404
    taken = await crm.ask("PUT", "/recipients", recipients=[rows[1] | {"email": "new@post.example"}])
    assert "p000" in wrong(taken)["recipients[0].email"]
    page = (await crm.ask("GET", "/recipients?limit=2&after=p997")).json()
    assert [each["external_id"] for each in page["items"]] == ["p998", "p999"] and page["next"] is None
    page = (await crm.ask("GET", "/recipients?limit=2")).json()
    assert page["next"] == "/api/v1/notify/recipients?limit=2&after=p001"
    async with database.transaction() as conn:
        await conn.execute("UPDATE notify.recipients SET created_at = '2020-01-01'")
        await delete_spent(conn, keep_days=30, limit=2_000)
        assert await (await conn.execute("SELECT count(*) FROM notify.recipients")).fetchone() == (1_000,)


async def test_two_at_once_write_the_same_people_once(crm: Application) -> None:
    rows = [{"external_id": f"p{n}", "email": f"p{n}@post.example"} for n in range(50)]
    answers = await asyncio.gather(*(crm.ask("PUT", "/recipients", recipients=rows) for _ in range(6)))
    assert [answer.status_code for answer in answers] == [200] * 6
    assert sum(answer.json()["created"] for answer in answers) == 50
    assert len({str([row["id"] for row in answer.json()["recipients"]]) for answer in answers}) == 1


async def test_an_event_to_named_recipients_is_mailed_and_in_the_inbox_and_told_once(
    crm: Application, database: Database, mailing: Settings, postbox: Postbox
) -> None:
    await crm.add("ann", has_inbox=True, name="Ann")
    await crm.add("ben")
    body = {"variables": {"title": "Your code", "body": "It is 42.\nBye.", "url": "https://crm.example/c"}}
    answers = await asyncio.gather(*(crm.tell("ann", "ben", "nobody", key="k1", **body) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    taken = answers[0].json()
    assert (taken["recipients"], taken["unknown"]) == (2, ["nobody"])
    other = await crm.tell("ann", key="k1", **body)
    assert (other.status_code, other.json()["type"]) == (422, "/problems/key-reused")
    assert (await crm.ask("GET", taken["progress"].removeprefix("/api/v1/notify"))).json()["pending"] == 3
    await deliver(database, mailing, taken["id"])
    seen = (await crm.ask("GET", f"/events/{taken['id']}")).json()
    assert (seen["sent"], seen["pending"], seen["over"]) == (3, 0, True)
    (mail,) = postbox.mails_to("ann@post.example")
    assert (mail["subject"], mail["to"], mail["list-unsubscribe"]) == ("Your code", "Ann <ann@post.example>", None)
    text = mail.get_body(("plain",))
    assert text is not None
    assert text.get_content().split() == "Your code It is 42. Bye. https://crm.example/c Tidegate".split()
    (note,) = (await crm.ask("GET", "/recipients/ann/inbox")).json()["items"]
    assert (note["subject"], note["body"], note["link"]) == ("Your code", "It is 42.\nBye.", "https://crm.example/c")
    async with database.connection() as conn:
        rows = await conn.execute("SELECT payload FROM platform.outbox WHERE topic = 'notify.deliver'")
        assert await rows.fetchall() == [({"event_id": taken["id"]},)]


async def test_an_event_to_a_topic_reaches_its_followers_who_can_stop_it_by_one_click(
    crm: Application, web: httpx.AsyncClient, database: Database, mailing: Settings, postbox: Postbox
) -> None:
    await crm.add("ann", "ben", "cem", "dot", has_inbox=True)
    await crm.follow("news", "ann", "ben", "cem")
    again = await crm.ask("PUT", "/topics/news/followers", add=["ann", "who"], remove=["cem", "dot"])
    assert again.json() == {"added": 0, "removed": 1, "unknown": ["who"]}
    assert (await crm.ask("GET", "/topics/news/followers")).json()["items"] == ["ann", "ben"]
    bulk: dict[str, Any] = {
        "urgency": "bulk",
        "to": {"topic": "news"},
        "variables": {"title": "News", "body": "Hello."},
    }
    taken = (await crm.tell(**bulk)).json()
    where = taken["progress"].removeprefix("/api/v1/notify")
    assert where.startswith("/sends/") and taken["recipients"] is None
    event_id = EventId(UUID(taken["id"]))
    assert await tell(database, mailing, event_id) == [2]
    await deliver_shard(database, mailing, event_id=event_id, shard_no=1)
    seen = (await crm.ask("GET", where)).json()
    assert (seen["delivered"], seen["expected"], seen["topic"]) == (4, 4, "News")
    assert (await crm.ask("GET", f"/events/{taken['id']}")).json()["sent"] == 4
    (mail,) = postbox.mails_to("ann@post.example")
    link = mail["list-unsubscribe"].strip("<>")
    page = (await web.get(link.removeprefix(mailing.base_url).replace("/unsubscribe", "/preferences"))).text
    assert "custom.email" in page and "drop.email" not in page, "she chooses of what the application tells only"
    done = await web.post(link.removeprefix(mailing.base_url), data={"List-Unsubscribe": "One-Click"})
    assert done.status_code == 200
    assert (await crm.ask("GET", "/topics/news/followers")).json()["items"] == ["ben"]
    assert (await crm.ask("GET", "/recipients/ann")).status_code == 200, "who stops a topic is still a recipient"

    some = await crm.tell(**bulk | {"to": {"topic": "news", "recipients": ["ann", "ben"]}, "channels": ["email"]})
    assert (some.json()["recipients"], some.json()["unknown"]) == (1, [])
    await deliver(database, mailing, some.json()["id"])
    assert len(postbox.mails_to("ben@post.example")) == 2 and len(postbox.mails_to("ann@post.example")) == 1
    assert postbox.mails_to("ben@post.example")[1]["list-unsubscribe"]


async def test_who_stops_a_topic_is_sent_nothing_of_it_that_waits_though_an_event_named_them(
    crm: Application, web: httpx.AsyncClient, database: Database, mailing: Settings, postbox: Postbox
) -> None:
    await crm.add("ann", "ben")
    await crm.follow("news", "ann", "ben")
    to = {"topic": "news", "recipients": ["ann", "ben"]}
    bulk: dict[str, Any] = {"urgency": "bulk", "to": to, "channels": ["email"]}
    await deliver(database, mailing, (await crm.tell(**bulk)).json()["id"])
    (mail,) = postbox.mails_to("ann@post.example")
    waiting = (await crm.tell(**bulk)).json()["id"]
    link = mail["list-unsubscribe"].strip("<>").removeprefix(mailing.base_url)
    assert (await web.post(link, data={"List-Unsubscribe": "One-Click"})).status_code == 200
    await deliver(database, mailing, waiting)
    assert (len(postbox.mails_to("ann@post.example")), len(postbox.mails_to("ben@post.example"))) == (1, 2)
    seen = (await crm.ask("GET", f"/events/{waiting}")).json()
    assert (seen["sent"], seen["suppressed"], seen["over"]) == (1, 1, True)

    last = (await crm.tell(**bulk)).json()["id"]
    assert (await crm.ask("DELETE", "/topics/news")).status_code == 204
    await deliver(database, mailing, last)
    assert len(postbox.mails_to("ben@post.example")) == 2, "nor is what waits of a topic that was deleted"


async def test_what_cannot_be_told_is_refused_with_what_to_do(crm: Application) -> None:
    await crm.add("ann")
    await crm.follow("news", "ann")
    said = {"title": "T", "body": "B"}
    for changes, field in (
        ({"to": {}}, "to"),
        ({"to": {"topic": "news"}}, "to.topic"),
        ({"urgency": "bulk"}, "to.topic"),
        ({"urgency": "bulk", "to": {"topic": "olds"}}, "to.topic"),
        ({"to": {"recipients": ["who"]}}, "to.recipients"),
        ({"template": "order_paid"}, "template"),
        ({"template": "product_back"}, "template"),
        ({"variables": said | {"colour": "red"}}, "variables.colour"),
        ({"variables": {"title": "T"}}, "variables.body"),
        ({"variables": said | {"title": "two\nlines"}}, "variables.title"),
        ({"variables": said | {"title": 5}}, "variables.title"),
        ({"variables": said | {"url": "javascript:alert(1)"}}, "variables.url"),
        ({"variables": said | {"body": "nul \0"}}, "variables.body"),
        ({"channels": ["pigeon"]}, "channels[0]"),
    ):
        answer = await crm.tell("ann", **changes)
        assert [*wrong(answer)] == [field], changes
    answer = await crm.ask("POST", "/events", urgency="transactional", to={"recipients": ["ann"]}, variables=said)
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/key-missing")
    assert [*wrong(await crm.ask("PUT", "/topics/Big%20News", title=""))] == ["key", "title"]


async def test_applications_see_nothing_of_one_another(
    crm: Application, database: Database, web: httpx.AsyncClient, mailing: Settings
) -> None:
    await crm.add("ann")
    await crm.follow("news", "ann")
    ours = (await crm.ask("GET", "/recipients/ann")).json()["id"]
    event = (await crm.tell(ours)).json()["id"]
    send = (await crm.tell(urgency="bulk", to={"topic": "news"})).json()
    other = await make_application(database, web, "shop")
    await other.add("ben")
    for method, path in (
        ("GET", "/recipients/ann"),
        ("DELETE", "/recipients/ann"),
        ("GET", "/topics/news"),
        ("DELETE", "/topics/news"),
        ("GET", "/topics/news/followers"),
        ("GET", f"/events/{event}"),
        ("GET", send["progress"].removeprefix("/api/v1/notify")),
        ("GET", f"/deliveries?recipient={'ann'}"),
        ("POST", f"/deliveries/{event}/replay"),
        ("POST", f"/deliveries/{event}/{ours}/email/replay"),
    ):
        assert (await other.ask(method, path)).status_code == 404, path
    steered = await other.ask("PATCH", send["progress"].removeprefix("/api/v1/notify"), state="cancelled")
    assert steered.status_code == 404
    changed = await other.ask("PUT", "/topics/news/followers", add=["ben"])
    assert changed.status_code == 404
    assert [*wrong(await other.tell("ann"))] == ["to.recipients"]
    assert [*wrong(await other.tell(ours))] == ["to.recipients"]
    assert (await other.ask("GET", "/deliveries")).json()["items"] == []
    assert (await other.ask("GET", "/sends")).json()["items"] == []
    await other.add("ann")
    theirs = (await other.ask("GET", "/recipients/ann")).json()["id"]
    assert theirs != ours, "one address in two applications is two recipients"
    assert (await other.ask("DELETE", "/recipients/ann")).status_code == 204
    assert (await crm.ask("GET", "/recipients/ann")).json()["id"] == ours
    assert (await crm.ask("GET", f"/events/{event}")).json()["pending"] == 1
    assert (await crm.ask("PATCH", send["progress"].removeprefix("/api/v1/notify"), state="paused")).json()[
        "state"
    ] == "paused"
    assert len((await crm.ask("GET", "/sends")).json()["items"]) == 1


async def test_keys_do_what_their_role_says_until_they_are_revoked(
    crm: Application, database: Database, web: httpx.AsyncClient
) -> None:
    reader = await make_application(database, web, "crm", KeyRole.READER)
    async with database.transaction() as conn:
        made = await create_key(conn, role=KeyRole.RECEIPTS, label="the provider")
        with pytest.raises(InvalidRequest, match="roles `receipts` and `operator`"):
            await create_key(conn, role=KeyRole.SENDER)
        with pytest.raises(InvalidRequest, match="1 to 40"):
            await create_key(conn, application="Big App", role=KeyRole.SENDER)
    provider = Application(web, made.token)
    await crm.add("ann")
    assert (await reader.ask("GET", "/recipients/ann")).status_code == 200
    for asking, method, path, body in (
        (reader, "PUT", "/topics/news", {"title": "News"}),
        (reader, "DELETE", "/recipients/ann", {}),
        (provider, "GET", "/recipients", {}),
        (provider, "GET", "/sends", {}),
        (crm, "POST", "/receipts", {"receipts": [{"kind": "complaint", "email": "ann@post.example"}]}),
    ):
        answer = await asking.ask(method, path, **body)
        assert (answer.status_code, answer.json()["type"]) == (403, "/problems/not-allowed"), path
    async with database.transaction() as conn:
        keys = await list_keys(conn, limit=10)
        assert [(key.application, key.role, key.revoked_at) for key in keys] == [
            ("", "receipts", None), ("crm", "reader", None), ("crm", "sender", None),
        ]  # fmt: skip
        await revoke_key(conn, key_id=keys[1].key_id)
        found = await conn.execute("SELECT count(*) FROM notify.keys WHERE encode(token_hash, 'escape') LIKE 'tgn%'")
        assert await found.fetchone() == (0,), "only hashes are kept"
    assert (await reader.ask("GET", "/recipients/ann")).status_code == 401
    assert (await Application(web, "tgn_" + "x" * 43).ask("GET", "/recipients")).status_code == 401
    assert (await web.get("/api/v1/notify/recipients")).status_code == 401


async def test_erasing_a_recipient_leaves_nothing_and_sends_nothing(
    crm: Application, database: Database, mailing: Settings, postbox: Postbox
) -> None:
    await crm.add("ann", "ben", has_inbox=True)
    await crm.follow("news", "ann", "ben")
    first = (await crm.tell("ann")).json()["id"]
    await deliver(database, mailing, first)
    second = (await crm.tell("ann", "ben")).json()["id"]
    third = EventId(UUID((await crm.tell(urgency="bulk", to={"topic": "news"})).json()["id"]))
    await tell(database, mailing, third)
    ann = (await crm.ask("GET", "/recipients/ann")).json()["id"]
    assert (await crm.ask("DELETE", "/recipients/ann")).status_code == 204
    await deliver(database, mailing, second)
    await deliver_shard(database, mailing, event_id=third, shard_no=1)
    assert len(postbox.mails_to("ann@post.example")) == 1 and len(postbox.mails_to("ben@post.example")) == 2
    async with database.connection() as conn:
        for table in ("deliveries", "inbox_messages", "recipients", "follows", "application_recipients", "receipts"):
            found = await conn.execute(f"SELECT count(*) FROM notify.{table} WHERE recipient_id = %s", (ann,))
            assert await found.fetchone() == (0,), table
        found = await conn.execute("SELECT messages, delivered, suppressed, done_at IS NULL FROM notify.send_shards")
        assert await found.fetchall() == [(4, 3, 1, False)]


async def test_erasing_a_recipient_reaches_months_that_wait_for_their_archive(
    crm: Application, database: Database, mailing: Settings, postbox: Postbox
) -> None:
    await crm.add("ann", has_inbox=True)
    await deliver(database, mailing, (await crm.tell("ann")).json()["id"])
    months = {"deliveries": 1, "inbox_messages": 0}
    async with database.connection() as conn:
        try:
            for table in months:
                await conn.execute(f"CREATE TABLE notify.{table}_2020_03 AS SELECT * FROM notify.{table}")
            assert (await crm.ask("DELETE", "/recipients/ann")).status_code == 204
            for table, left in months.items():
                found = await conn.execute(f"SELECT count(*) FROM notify.{table}_2020_03")
                assert await found.fetchone() == (left,), "only that there was something in an inbox"
        finally:
            for table in months:
                await conn.execute(f"DROP TABLE IF EXISTS notify.{table}_2020_03")


async def test_deliveries_are_found_by_what_is_asked_and_failed_ones_tried_again(
    crm: Application, database: Database, mailing: Settings, postbox: Postbox
) -> None:
    await crm.add("ann", "ben", has_inbox=True)
    postbox.refusals["ben@post.example"] = "550 no such mailbox"
    old = (await crm.tell("ann")).json()["id"]
    new = (await crm.tell("ann", "ben")).json()["id"]
    await deliver(database, mailing, old)
    await deliver(database, mailing, new)

    async def found(query: str) -> list[tuple[str, str, str]]:
        seen, path = [], f"/deliveries?limit=2&{query}"
        while path:
            page = (await crm.ask("GET", path)).json()
            seen += [(each["event_id"], each["external_id"], each["channel"]) for each in page["items"]]
            path = (page["next"] or "").removeprefix("/api/v1/notify")
        return seen

    everything = await found("")
    assert len(everything) == 6 and everything == sorted(everything, key=lambda each: each[0], reverse=True)
    assert await found("recipient=ann&channel=inbox") == [(new, "ann", "inbox"), (old, "ann", "inbox")]
    assert len(await found(f"event={old}")) == 2
    assert await found("state=failed") == [(new, "ben", "email")]
    assert (await crm.ask("GET", "/deliveries?before=nonsense")).status_code == 422
    assert (await crm.ask("POST", f"/deliveries/{old}/replay")).json() == {"replayed": 0}
    postbox.refusals.clear()
    ben = (await crm.ask("GET", "/recipients/ben")).json()["id"]
    assert [(await crm.ask("POST", f"/deliveries/{new}/{ben}/email/replay")).json() for _ in range(2)] == [
        {"replayed": 1},
        {"replayed": 0},
    ]
    async with database.connection() as conn:
        told = await conn.execute("SELECT count(*) FROM platform.outbox WHERE topic = 'notify.deliver'")
        assert await told.fetchone() == (3,), "handed out again at once"
    await deliver(database, mailing, new)
    assert await found("state=failed") == [] and len(postbox.mails_to("ben@post.example")) == 1


async def test_deliveries_are_found_by_an_own_id_that_looks_like_ours(crm: Application) -> None:
    own = str(new_id())
    await crm.add(own)
    await crm.tell(own)
    ours = (await crm.ask("GET", f"/recipients/{own}")).json()["id"]
    for named in (own, ours):
        (found,) = (await crm.ask("GET", f"/deliveries?recipient={named}")).json()["items"]
        assert (found["external_id"], found["recipient_id"]) == (own, ours)
    assert (await crm.ask("GET", f"/deliveries?recipient={new_id()}")).json()["items"] == []


async def test_old_events_are_forgotten(crm: Application, database: Database) -> None:
    await crm.add("ann")
    await crm.tell("ann", key="k1")
    async with database.transaction() as conn:
        assert await delete_old_events(conn, keep_days=30, limit=10) == 0
        await conn.execute("UPDATE notify.events SET created_at = '2020-01-01'")
        assert await delete_old_events(conn, keep_days=30, limit=10) == 1


async def test_what_somebody_wants_holds_for_bulk_and_their_inbox_is_the_applications_to_show(
    crm: Application, database: Database, mailing: Settings, postbox: Postbox
) -> None:
    await crm.add("ann", has_inbox=True)
    await crm.follow("news", "ann")
    wanted: dict[str, Any] = {
        "unwanted": ["email"],
        "time_zone": "Europe/Berlin",
        "quiet_from": "22:00",
        "quiet_until": "07:00",
    }
    assert (await crm.ask("PUT", "/recipients/ann/preferences", **wanted)).json() == wanted
    assert (await crm.ask("GET", "/recipients/ann/preferences")).json() == wanted
    changes: dict[str, Any]
    for changes, field in (
        ({"quiet_until": None}, "quiet_until"),
        ({"quiet_from": "25:00"}, "quiet_from"),
        ({"unwanted": ["pigeon"]}, "unwanted[0]"),
    ):
        assert [*wrong(await crm.ask("PUT", "/recipients/ann/preferences", **wanted | changes))] == [field]
    answer = await crm.ask("PUT", "/recipients/ann/preferences", **wanted | {"time_zone": "Mars/Base"})
    assert answer.status_code == 422
    bulk: dict[str, Any] = {"urgency": "bulk", "to": {"topic": "news", "recipients": ["ann"]}}
    for asked in (await crm.tell(**bulk), await crm.tell("ann")):
        await deliver(database, mailing, asked.json()["id"])
    assert len(postbox.mails_to("ann@post.example")) == 1, "what she waits for comes by mail, too"
    inbox = (await crm.ask("GET", "/recipients/ann/inbox?limit=1")).json()
    assert (inbox["unread"], len(inbox["items"]), inbox["items"][0]["subject"]) == (2, 1, "Your code")
    assert len((await crm.ask("GET", inbox["next"].removeprefix("/api/v1/notify"))).json()["items"]) == 1
    done = await crm.ask("POST", "/recipients/ann/inbox/read", shown_at=inbox["shown_at"])
    assert done.json() == {"unread": 0}
    assert (await crm.ask("GET", "/recipients/who/inbox")).status_code == 404
