"""Addresses that become accounts while a send tells its followers: each is told once by each way, none is left out."""

from __future__ import annotations

from uuid import UUID

import psycopg
import pytest

from benchmarks.followers import add_followers, email_of
from tests.notify.postbox import Postbox
from tests.notify.telling import in_shards_of
from tidegate import notify
from tidegate.notify import shards
from tidegate.notify.deliveries import deliver_due
from tidegate.notify.sends import find_stopped
from tidegate.notify.shards import expand_shard, finish_send, plan_send
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, PersonId, new_id
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

LAMPS = notify.Topic(notify.TopicKind.COLLECTION, "lamps", "Lamps", "/lamps")
FIRST, LAST = PersonId(UUID(int=1 << 80)), PersonId(UUID(int=(1 << 128) - 1))
"""Ids before and behind those of all others: in a shard, and in none."""


class Telling:
    """A send to four addresses without accounts, in two shards."""

    def __init__(self, database: Database, settings: Settings, event_id: EventId) -> None:
        self.event_id = event_id
        self._database = database
        self._settings = settings

    async def expand(self, shard_no: int) -> None:
        """Tell a shard, and close the send if nothing is left."""
        await expand_shard(self._database, self._settings, event_id=self.event_id, shard_no=shard_no)
        await finish_send(self._database, event_id=self.event_id)

    async def becomes_account(self, number: int, person: PersonId) -> None:
        """The follower of this number logs in with their address, and looks at what they follow."""
        async with self._database.transaction() as conn:
            await notify.follow(
                conn, topic=LAMPS, email=email_of("lamps", number), locale="en_GB", most=9, person_id=person
            )

    async def in_last_shard(self) -> PersonId:
        """An id that nobody has."""
        async with self._database.connection() as conn:
            found = await conn.execute("SELECT recipient_id FROM notify.follows ORDER BY recipient_id DESC LIMIT 1")
            row = await found.fetchone()
        assert row is not None
        return PersonId(UUID(int=row[0].int - 1))

    async def shards(self) -> list[int]:
        """The numbers of those that are not told yet."""
        async with self._database.connection() as conn:
            found = await conn.execute(
                "SELECT shard_no FROM notify.send_shards WHERE event_id = %s AND expanded_at IS NULL ORDER BY 1",
                (self.event_id,),
            )
            return [row[0] for row in await found.fetchall()]

    async def progress(self) -> notify.Progress:
        """How far it is."""
        async with self._database.connection() as conn:
            (send,) = await notify.list_sends(conn, limit=1, event_id=self.event_id)
        return send.progress

    async def inbox(self, person: PersonId) -> int:
        """Messages in somebody's inbox."""
        async with self._database.connection() as conn:
            return len(await notify.list_inbox(conn, recipient_id=person, limit=10))


@pytest.fixture(params=[True, False], ids=["told once", "told each time"])
async def telling(request: pytest.FixtureRequest, database: Database, mailing: Settings) -> Telling:
    in_twos = in_shards_of(mailing, 2)
    with psycopg.connect(mailing.require_database_url(), autocommit=True) as own:
        add_followers(own, kind="collection", key="lamps", count=4, inbox=False)
    event_id = EventId(new_id())
    async with database.transaction() as conn:
        (topic,) = await notify.find_followed(conn, topics={LAMPS.kind: [LAMPS.key]})
        variables = {"title": "Lamps", "url": "http://127.0.0.1:8000/drops/lamps"}
        await notify.begin_send(
            conn, event_id=event_id, topic=topic, template="drop_open", variables=variables, once=request.param
        )
    assert await plan_send(database, in_twos, event_id=event_id) == 4
    return Telling(database, in_twos, event_id)


async def mailed(database: Database, mailing: Settings, postbox: Postbox) -> list[int]:
    """Send all mails; how many each of the four got."""
    await deliver_due(database, mailing, limit=100)
    return [len(postbox.mails_to(email_of("lamps", number))) for number in range(4)]


async def test_who_was_told_and_moves_into_a_later_shard_is_not_mailed_twice(
    telling: Telling, database: Database, mailing: Settings, postbox: Postbox
) -> None:
    await telling.expand(1)
    person = await telling.in_last_shard()
    await telling.becomes_account(0, person)
    await telling.expand(2)
    for shard_no in await telling.shards():
        await telling.expand(shard_no)
    assert await mailed(database, mailing, postbox) == [1, 1, 1, 1]
    await finish_send(database, event_id=telling.event_id)
    done = await telling.progress()
    assert (done.over, done.followers, done.delivered) == (True, 4, 4 + await telling.inbox(person))


@pytest.mark.parametrize("in_last_shard", [False, True])
async def test_who_moves_out_of_a_shard_before_it_is_told_is_told_at_the_end(
    telling: Telling, database: Database, mailing: Settings, postbox: Postbox, in_last_shard: bool
) -> None:
    await telling.expand(1)
    await telling.becomes_account(3, LAST if in_last_shard else FIRST)
    person = LAST if in_last_shard else FIRST
    await telling.expand(2)
    assert not (await telling.progress()).over
    assert await telling.shards() == [3]
    await telling.expand(3)
    assert await telling.shards() == []
    assert await mailed(database, mailing, postbox) == [1, 1, 1, 1]
    assert await telling.inbox(person) == 1
    await finish_send(database, event_id=telling.event_id)
    done = await telling.progress()
    assert (done.over, done.followers, done.messages, done.delivered) == (True, 4, 5, 5)


async def test_who_moved_and_stops_is_not_mailed_what_waits(
    telling: Telling, database: Database, mailing: Settings, postbox: Postbox
) -> None:
    await telling.expand(1)
    await telling.becomes_account(0, LAST)
    async with database.transaction() as conn:
        await notify.unfollow(conn, kind=LAMPS.kind, key=LAMPS.key, person_id=LAST, email=email_of("lamps", 0))
    await telling.expand(2)
    assert await mailed(database, mailing, postbox) == [0, 1, 1, 1]


async def test_many_who_moved_are_told_in_shards_of_a_bounded_size(
    telling: Telling, database: Database, mailing: Settings, postbox: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "MOVED_AT_ONCE", 1)
    await telling.expand(1)
    await telling.becomes_account(2, FIRST)
    await telling.becomes_account(3, LAST)
    await telling.expand(2)
    assert await telling.shards() == [3, 4]
    for shard_no in (4, 3):
        await telling.expand(shard_no)
    assert await mailed(database, mailing, postbox) == [1, 1, 1, 1]
    assert [await telling.inbox(FIRST), await telling.inbox(LAST)] == [1, 1]


async def test_nobody_is_looked_for_when_a_send_was_ended(telling: Telling, database: Database) -> None:
    await telling.expand(1)
    await telling.becomes_account(0, LAST)
    before = (await telling.progress()).messages
    async with database.connection() as conn:
        await conn.execute("UPDATE notify.sends SET cancelled_at = clock_timestamp()")
        await conn.execute("UPDATE notify.send_shards SET expanded_at = clock_timestamp()")
    await finish_send(database, event_id=telling.event_id)
    assert await telling.shards() == []
    assert (await telling.progress()).messages == before


async def test_a_send_is_not_closed_before_those_who_moved_were_looked_for(
    telling: Telling, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker's last shard may be done just after this one looked whether all are expanded."""
    async with database.connection() as conn:
        await conn.execute("UPDATE notify.send_shards SET expanded_at = clock_timestamp(), done_at = clock_timestamp()")
    with monkeypatch.context() as looked_before:
        looked_before.setattr(shards, "ALL_TOLD", "false")
        await finish_send(database, event_id=telling.event_id)
        assert not (await telling.progress()).over
    await finish_send(database, event_id=telling.event_id)
    assert (await telling.progress()).over


async def test_a_send_that_nobody_closed_is_found(telling: Telling, database: Database) -> None:
    """Its worker died between the last message and that."""
    for shard_no in (1, 2):
        await telling.expand(shard_no)
    async with database.connection() as conn:
        await conn.execute("UPDATE notify.sends SET finished_at = NULL")
        assert await find_stopped(conn, limit=10, overdue_s=0) == []
        await conn.execute("UPDATE notify.deliveries SET state = 'sent', sent_at = clock_timestamp()")
        await conn.execute("UPDATE notify.send_shards SET delivered = messages, done_at = clock_timestamp()")
        assert await find_stopped(conn, limit=10, overdue_s=0) == [telling.event_id]
    await finish_send(database, event_id=telling.event_id)
    assert (await telling.progress()).over
