"""Inboxes live: over several processes, through reconnects and lost hints, bounded, and never in the way of a stop."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg
import pytest
from redis.asyncio import Redis

from benchmarks.followers import add_followers
from tests.guests import make_guest
from tests.notify.listening import Process, hearing, running
from tests.notify.telling import in_shards_of, tell
from tests.notify.test_fairness import begin
from tests.waiting import eventually
from tidegate import accounts
from tidegate.accounts import SignedIn
from tidegate.notify.contracts import InboxMessage
from tidegate.notify.deliveries import deliver_due
from tidegate.notify.hints import HINTS, hint_from_worker
from tidegate.notify.inbox import Note, add_notes
from tidegate.notify.live import MOST_WAITING, End, Stream, moment_of, position_at
from tidegate.notify.messages import Words
from tidegate.platform.database import Connection, Database
from tidegate.platform.ids import EventId, PersonId, new_id
from tidegate.platform.problems import Overloaded
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio


def with_live(settings: Settings, **changes: Any) -> Settings:
    return settings.model_copy(update={"live": settings.live.model_copy(update=changes)})


@pytest.fixture
async def pair(database: Database, settings: Settings) -> AsyncIterator[tuple[Process, Process]]:
    async with running(database, settings) as first, running(database, settings) as second:
        yield first, second


async def somebody(database: Database) -> SignedIn:
    async with database.transaction() as conn:
        return await make_guest(conn)


async def note(conn: Connection, person: PersonId, subject: str) -> None:
    words = Words(subject=subject, text="text", html="", link="")
    await add_notes(conn, [Note(EventId(new_id()), person, words)])


async def write(database: Database, settings: Settings, person: PersonId, subject: str, *, hint: bool = True) -> None:
    """A message in an inbox, with the hint that follows its commit."""
    async with database.transaction() as conn:
        await note(conn, person, subject)
    if hint:
        await hint_from_worker(settings, people=[person])


async def test_each_process_tells_its_own_and_nobody_else(
    pair: tuple[Process, Process], database: Database, settings: Settings
) -> None:
    ada, eve = await somebody(database), await somebody(database)
    await write(database, settings, ada.person.id, "Before")
    async with hearing(pair[0], ada.token) as first, hearing(pair[1], eve.token) as other:
        assert (first.unread, first.subjects, other.unread) == (1, [], 0)
        await write(database, settings, ada.person.id, "For Ada")
        await write(database, settings, eve.person.id, "For Eve")
        await eventually(lambda: (first.subjects, other.subjects) == (["For Ada"], ["For Eve"]))
        assert (first.unread, other.unread) == (2, 1)


async def test_a_receipt_is_told_when_its_batch_is_committed(
    pair: tuple[Process, Process], database: Database, settings: Settings
) -> None:
    ada = await somebody(database)
    async with hearing(pair[0], ada.token) as heard:
        async with database.transaction() as conn:
            await conn.execute(
                """
                INSERT INTO notify.deliveries (event_id, recipient_id, channel, template, variables)
                VALUES (%s, %s, 'inbox', 'product_back', '{"title": "Lamp", "url": "/", "topic_title": "Lamp"}')
                """,
                (new_id(), ada.person.id),
            )
        await deliver_due(database, settings, limit=5)
        await eventually(lambda: len(heard.subjects) == 1)


async def test_a_send_gives_a_hint_per_shard_however_many_follow(
    pair: tuple[Process, Process], database: Database, settings: Settings
) -> None:
    ada = await somebody(database)
    with psycopg.connect(settings.require_database_url(), autocommit=True) as conn:
        add_followers(conn, kind="collection", key="lamps", count=40, own_addresses=False)
        conn.execute(
            "UPDATE notify.recipients SET recipient_id = %s WHERE recipient_id ="
            " (SELECT recipient_id FROM notify.recipients ORDER BY 1 OFFSET 20 LIMIT 1)",
            (ada.person.id,),
        )
    valkey = Redis.from_url(settings.require_valkey_url())
    async with valkey.pubsub() as watching, hearing(pair[1], ada.token) as heard:
        await watching.subscribe(HINTS)
        event_id = await begin(database)
        assert await tell(database, in_shards_of(settings, 20), event_id) == [20, 20]
        await eventually(lambda: len(heard.subjects) == 1)
        hints = []
        while (message := await watching.get_message(timeout=0.05)) is not None:
            hints += [message["data"]] if message["type"] == "message" else []
        assert len(hints) == 2
    await valkey.aclose()


async def test_what_came_between_two_streams_is_caught_up_with(
    pair: tuple[Process, Process], database: Database, settings: Settings
) -> None:
    ada = await somebody(database)
    async with database.transaction() as slow:
        await note(slow, ada.person.id, "Committed late")
        async with hearing(pair[0], ada.token) as heard:
            await write(database, settings, ada.person.id, "Seen")
            await eventually(lambda: heard.subjects == ["Seen"])
    await write(database, settings, ada.person.id, "Missed")
    async with hearing(pair[1], ada.token, last_id=heard.last_id) as again:
        await eventually(lambda: "Missed" in again.subjects)
        assert [subject for subject in again.subjects if subject != "Seen"] == ["Committed late", "Missed"]
        assert again.unread == 3
    async with hearing(pair[1], ada.token, last_id="ffffffff-ffff-7fff-8fff-ffffffffffff") as forged:
        await write(database, settings, ada.person.id, "After")
        await eventually(lambda: "After" in forged.subjects)


async def test_a_lost_hint_and_a_restart_of_valkey_cost_time_and_no_message(
    database: Database, settings: Settings
) -> None:
    ada = await somebody(database)
    valkey = Redis.from_url(settings.require_valkey_url())
    async with running(database, settings) as process, hearing(process, ada.token) as heard:
        await write(database, settings, ada.person.id, "While it was away", hint=False)
        assert await valkey.client_kill_filter(_type="pubsub")
        await eventually(lambda: heard.subjects == ["While it was away"])
    await valkey.aclose()
    async with running(database, with_live(settings, look_s=0.1)) as process, hearing(process, ada.token) as heard:
        await write(database, settings, ada.person.id, "Unhinted", hint=False)
        await eventually(lambda: heard.subjects == ["Unhinted"])


async def test_a_browser_has_one_stream_in_all_processes(pair: tuple[Process, Process], database: Database) -> None:
    ada = await somebody(database)
    async with hearing(pair[0], ada.token) as first, hearing(pair[1], ada.token) as second:
        await eventually(lambda: first.over)
        assert first.kinds[-1] == "replaced"
        async with hearing(pair[1], ada.token) as third:
            await eventually(lambda: second.over)
            assert second.kinds[-1] == "replaced"
            assert not third.over
    await eventually(lambda: pair[0].listeners.count == pair[1].listeners.count == 0)


async def test_streams_are_bounded_and_only_for_sessions(database: Database, settings: Settings) -> None:
    ada, eve = await somebody(database), await somebody(database)
    async with running(database, with_live(settings, max_streams=1)) as process, httpx.AsyncClient() as client:
        address = f"{process.address}/api/v1/inbox/events"
        async with hearing(process, ada.token):
            full = await client.get(address, headers={"authorization": f"Bearer {eve.token}"})
            assert (full.status_code, full.json()["type"].rsplit("/", 1)[1]) == (503, "overloaded")
            assert int(full.headers["retry-after"]) > 0
        await eventually(lambda: process.listeners.count == 0)
        async with hearing(process, eve.token):
            assert process.listeners.count == 1
        assert (await client.get(address)).status_code == 401
    async with running(database, with_live(settings, opens_per_s=1)) as process, hearing(process, ada.token):
        with pytest.raises(Overloaded):
            async with process.listeners.listening(person_id=eve.person.id, token=eve.token, position=None):
                pass


async def test_a_stream_outlives_the_bound_on_requests_and_ends_with_its_session(
    database: Database, settings: Settings
) -> None:
    ada = await somebody(database)
    quick = with_live(settings, heartbeat_s=0.1)
    quick = quick.model_copy(update={"http": quick.http.model_copy(update={"request_timeout_s": 1})})
    async with running(database, quick) as process, hearing(process, ada.token) as heard:
        begun = time.monotonic()
        await eventually(lambda: time.monotonic() - begun > 1.2)
        assert not heard.over
        async with database.transaction() as conn:
            await accounts.sign_out(conn, token=ada.token)
        await eventually(lambda: heard.over)
        assert heard.kinds[-1] == "signed-out"


async def test_a_stop_waits_for_no_stream_and_the_next_process_goes_on(
    pair: tuple[Process, Process], database: Database, settings: Settings
) -> None:
    ada = await somebody(database)
    async with hearing(pair[0], ada.token) as heard:
        begun = time.monotonic()
        await pair[0].stop()
        assert time.monotonic() - begun < settings.http.shutdown_grace_s / 2
        await eventually(lambda: heard.over)
        assert heard.kinds == ["unread"], "it comes back by itself"
    await write(database, settings, ada.person.id, "Meanwhile")
    async with hearing(pair[1], ada.token, last_id=heard.last_id) as again:
        await eventually(lambda: again.subjects == ["Meanwhile"])


async def test_who_does_not_read_is_let_go_and_holds_up_nothing() -> None:
    stream = Stream(new_id(), PersonId(new_id()), "session", since=datetime.now(UTC))
    for number in range(2 * MOST_WAITING):
        now = datetime.now(UTC)
        message = InboxMessage(EventId(new_id()), str(number), "", "", now, None)
        stream.tell([message], unread=number + 1, now=now)
    assert stream.end is End.SLOW
    told = []
    while (news := await stream.next(within_s=1)) is not None:
        told += [message.subject for message in news.messages]
    assert told == [str(number) for number in range(MOST_WAITING + 1)], "the rest is caught up with"


def test_a_position_is_a_moment() -> None:
    now = datetime(2026, 7, 1, 12, 0, 0, 123_000, tzinfo=UTC)
    assert moment_of(position_at(now)) == now
    assert position_at(now).version == 7
