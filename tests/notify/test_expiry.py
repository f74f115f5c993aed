"""What an application says until when it matters is not told later, by whichever way it goes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.notify.applications import Application, client_of, deliver, make_application
from tests.notify.postbox import Postbox
from tests.notify.telling import tell
from tidegate.entrypoints.notify import create_app
from tidegate.notify.deliveries import deliver_shard
from tidegate.notify.shards import finish_send
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

NEWS: dict[str, Any] = {
    "urgency": "bulk",
    "to": {"topic": "news"},
    "variables": {"title": "News", "body": "There is some."},
}


@pytest.fixture
async def crm(database: Database, mailing: Settings) -> AsyncIterator[Application]:
    async with client_of(create_app(mailing, moving=False)) as web:
        made = await make_application(database, web, "crm")
        await made.add("ann", "ben", has_inbox=True)
        await made.follow("news", "ann", "ben")
        yield made


def within(**time: float) -> str:
    """So long from now on."""
    return (datetime.now(UTC) + timedelta(**time)).isoformat()


async def let_it_be_late(database: Database) -> None:
    """Whatever expires is over."""
    async with database.connection() as conn:
        past = within(hours=-1)
        await conn.execute("UPDATE notify.sends SET expires_at = %s WHERE expires_at IS NOT NULL", (past,))
        await conn.execute(
            """
            UPDATE notify.deliveries SET variables = jsonb_set(variables, '{expires_at}', to_jsonb(%s::text))
            WHERE variables ? 'expires_at'
            """,
            (past,),
        )


async def outcome(crm: Application, event_id: EventId) -> tuple[int, int, int, bool]:
    found = (await crm.ask("GET", f"/events/{event_id}")).json()
    return found["sent"], found["failed"], found["suppressed"], found["over"]


async def test_a_time_that_is_over_or_has_no_offset_is_refused_by_name(crm: Application) -> None:
    for wrong in (within(seconds=-1), "2099-01-01T00:00:00", "9999-12-31T23:59:59-01:00", "soon"):
        answer = await crm.tell("ann", expires_at=wrong)
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-request"), wrong
        assert "expires_at" in answer.text
    assert (await crm.tell("ann", expires_at=None)).status_code == 202


async def test_a_request_that_is_repeated_when_it_is_over_is_answered_the_same(
    crm: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = within(hours=1)
    first = await crm.tell("ann", key="one", expires_at=soon)
    assert first.status_code == 202, first.text
    other = await crm.tell("ann", key="one", expires_at=within(hours=2))
    assert (other.status_code, other.json()["type"]) == (422, "/problems/key-reused")

    async def late(conn: object) -> datetime:
        return datetime.now(UTC) + timedelta(days=1)

    monkeypatch.setattr("tidegate.notify.own_events.database_now", late)
    again = await crm.tell("ann", key="one", expires_at=soon)
    assert (again.status_code, again.json()) == (202, first.json())
    assert (await crm.tell("ann", key="two", expires_at=soon)).status_code == 422


async def test_people_who_are_named_are_not_told_too_late(
    crm: Application, database: Database, mailing: Settings, postbox: Postbox
) -> None:
    named = NEWS | {"to": {"topic": "news", "recipients": ["ann", "ben"]}}
    ids = [
        EventId(UUID((await crm.tell(**asked)).json()["id"]))
        for asked in (named | {"expires_at": within(hours=1)}, named)
    ]
    code = await crm.tell("ann", expires_at=within(hours=1))
    await let_it_be_late(database)
    for event_id in (*ids, EventId(UUID(code.json()["id"]))):
        await deliver(database, mailing, str(event_id))
    assert await outcome(crm, ids[0]) == (0, 0, 4, True)
    assert await outcome(crm, ids[1]) == (4, 0, 0, True)
    assert await outcome(crm, EventId(UUID(code.json()["id"]))) == (0, 0, 2, True)
    assert len(postbox.taken) == 2
    late = (await crm.ask("GET", f"/deliveries?event={ids[0]}")).json()["items"]
    assert {each["last_error"] for each in late} == {"too late to matter"}
    intime = await crm.tell("ann", expires_at=within(hours=1))
    await deliver(database, mailing, intime.json()["id"])
    assert (await outcome(crm, EventId(UUID(intime.json()["id"]))))[0] == 2


async def test_followers_are_not_told_too_late(
    crm: Application, database: Database, mailing: Settings, postbox: Postbox
) -> None:
    ids = [EventId(UUID((await crm.tell(**NEWS, expires_at=within(hours=1))).json()["id"])) for _ in range(2)]
    await tell(database, mailing, ids[0])  # its inboxes are told, its mails wait
    await let_it_be_late(database)
    await tell(database, mailing, ids[1])
    for event_id in ids:
        await deliver_shard(database, mailing, event_id=event_id, shard_no=1)
        await finish_send(database, event_id=event_id)
    assert await outcome(crm, ids[0]) == (2, 0, 2, True)
    assert await outcome(crm, ids[1]) == (0, 0, 4, True)
    assert not postbox.taken
