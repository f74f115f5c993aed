"""Sends are fair to people: nobody is told what they do not want, in their quiet hours, too late, or twice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from benchmarks.followers import add_followers, email_of
from tests.notify.postbox import Postbox
from tests.notify.telling import tell
from tidegate import notify
from tidegate.notify import Channel, Preferences, Progress, QuietHours, Topic, TopicKind
from tidegate.notify.deliveries import deliver_due, deliver_shard
from tidegate.notify.shards import finish_send
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, PersonId, new_id
from tidegate.platform.problems import InvalidRequest
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

LAMPS = Topic(TopicKind.COLLECTION, "lamps", "Lamps", "/lamps")


@pytest.fixture
def people(settings: Settings) -> Sequence[UUID]:
    """Six followers of a collection, each with an inbox and an address."""
    with psycopg.connect(settings.require_database_url(), autocommit=True) as conn:
        topic_id = add_followers(conn, kind="collection", key="lamps", count=6)
        rows = conn.execute("SELECT recipient_id FROM notify.follows WHERE topic_id = %s ORDER BY 1", (topic_id,))
        return [row[0] for row in rows.fetchall()]


async def begin(
    database: Database, topic: Topic = LAMPS, *, event_id: EventId | None = None, expires_at: datetime | None = None
) -> EventId:
    """A send to all that follow a topic."""
    event_id = event_id or EventId(new_id())
    async with database.transaction() as conn:
        (found,) = await notify.find_followed(conn, topics={topic.kind: [topic.key]})
        variables = {"title": topic.title, "url": "http://127.0.0.1:8000/"}
        assert await notify.begin_send(
            conn, event_id=event_id, topic=found, template="drop_open", variables=variables, expires_at=expires_at
        )
    return event_id


async def choose(database: Database, person: UUID, preferences: Preferences) -> None:
    async with database.transaction() as conn:
        await notify.set_preferences(conn, recipient_id=person, preferences=preferences)


async def progress_of(database: Database, event_id: EventId) -> Progress:
    await finish_send(database, event_id=event_id)
    async with database.connection() as conn:
        (send,) = await notify.list_sends(conn, limit=1, event_id=event_id)
    return send.progress


async def deliveries_of(database: Database, event_id: EventId) -> list[tuple[UUID, str, str]]:
    async with database.connection() as conn:
        rows = await conn.execute(
            "SELECT recipient_id, channel, state FROM notify.deliveries WHERE event_id = %s ORDER BY 1, 2", (event_id,)
        )
        return [(row[0], row[1], row[2]) for row in await rows.fetchall()]


def quiet_now() -> Preferences:
    """Quiet for hours around this moment, in UTC."""
    now = datetime.now(UTC)
    hours = QuietHours((now - timedelta(hours=2)).time(), (now + timedelta(hours=2)).time())
    return Preferences(time_zone="UTC", quiet=hours)


async def test_what_is_not_wanted_is_not_sent_and_is_counted(
    people: Sequence[UUID], database: Database, mailing: Settings, postbox: Postbox
) -> None:
    collections = {channel: frozenset({(TopicKind.COLLECTION, channel)}) for channel in Channel}
    await choose(database, people[0], Preferences(collections[Channel.EMAIL]))
    await choose(database, people[1], Preferences(collections[Channel.INBOX]))
    await choose(database, people[2], Preferences(collections[Channel.EMAIL] | collections[Channel.INBOX]))
    await choose(database, people[3], Preferences(frozenset({(TopicKind.DROP, Channel.EMAIL)})))
    await choose(database, people[4], Preferences(collections[Channel.EMAIL]))
    async with database.transaction() as conn:
        (topic,) = await notify.find_followed(conn, topics={TopicKind.COLLECTION: ["lamps"]})
        for person, channels in ((people[4], [Channel.EMAIL]), (people[5], [Channel.INBOX])):
            await notify.set_follow_channels(conn, recipient_id=person, topic_id=topic.topic_id, channels=channels)
    event_id = await begin(database)
    assert await tell(database, mailing, event_id) == [6]
    await deliver_shard(database, mailing, event_id=event_id, shard_no=1)
    expected = {
        (people[0], "inbox"),
        (people[1], "email"),
        (people[3], "email"),
        (people[3], "inbox"),
        (people[4], "email"),
        (people[5], "inbox"),
    }
    assert {(person, channel) for person, channel, _state in await deliveries_of(database, event_id)} == expected
    progress = await progress_of(database, event_id)
    assert (progress.messages, progress.delivered, progress.failed, progress.suppressed) == (12, 6, 0, 6)
    assert (progress.unwanted, progress.late, progress.over) == (6, 0, True)
    assert len(postbox.taken) == 3
    async with database.connection() as conn:
        shown = [len(await notify.list_inbox(conn, recipient_id=each, limit=5)) for each in people]  # type: ignore[arg-type]
    assert shown == [1, 0, 0, 1, 0, 1]


async def test_mails_wait_until_quiet_hours_end_and_nothing_else_does(
    people: Sequence[UUID], database: Database, mailing: Settings, postbox: Postbox
) -> None:
    await choose(database, people[0], quiet_now())
    event_id = await begin(database)
    await tell(database, mailing, event_id)
    await deliver_shard(database, mailing, event_id=event_id, shard_no=1, draw=lambda: 0.0)
    assert len(postbox.taken) == 5
    async with database.connection() as conn:
        assert len(await notify.list_inbox(conn, recipient_id=people[0], limit=5)) == 1  # type: ignore[arg-type]
        row = await (
            await conn.execute(
                """
                SELECT d.last_error, d.attempts, d.next_attempt_at - clock_timestamp(), h.due_at = d.next_attempt_at
                FROM notify.deliveries AS d JOIN notify.send_shards AS h USING (event_id, shard_no)
                WHERE d.state = 'pending'
                """
            )
        ).fetchone()
    assert row is not None
    assert row[:2] == ("quiet hours", 0)
    assert timedelta(minutes=119) < row[2] <= timedelta(hours=2)
    assert row[3], "somebody looks after it when it is due"
    assert not (await progress_of(database, event_id)).over
    await choose(database, people[0], Preferences())
    async with database.connection() as conn:
        await conn.execute("UPDATE notify.deliveries SET next_attempt_at = clock_timestamp() WHERE state = 'pending'")
    await deliver_shard(database, mailing, event_id=event_id, shard_no=1)
    assert len(postbox.taken) == 6
    progress = await progress_of(database, event_id)
    assert (progress.delivered, progress.suppressed, progress.over) == (12, 0, True)


async def test_what_somebody_waits_for_knows_no_quiet_hours(
    people: Sequence[UUID], database: Database, mailing: Settings, postbox: Postbox
) -> None:
    everything = frozenset((kind, channel) for kind in TopicKind for channel in Channel)
    quiet = quiet_now()
    await choose(database, people[0], Preferences(everything, quiet.time_zone, quiet.quiet))
    async with database.transaction() as conn:
        await conn.execute(
            """
            INSERT INTO notify.deliveries (event_id, recipient_id, channel, template, variables, address_sealed)
            SELECT %s, recipient_id, 'email', 'follow_confirm',
                '{"kind": "drop", "title": "Lamps", "hours": 1, "link": "http://127.0.0.1:8000/x"}', address_sealed
            FROM notify.recipients WHERE recipient_id = %s
            """,
            (new_id(), people[0]),
        )
    await deliver_due(database, mailing, limit=5)
    assert len(postbox.taken) == 1


async def test_what_does_not_matter_any_more_is_not_sent_and_is_counted(
    people: Sequence[UUID], database: Database, mailing: Settings, postbox: Postbox
) -> None:
    await choose(database, people[0], quiet_now())
    begun = datetime.now(UTC)
    event_id = await begin(database, expires_at=begun + timedelta(hours=1))
    await tell(database, mailing, event_id)
    await deliver_shard(database, mailing, event_id=event_id, shard_no=1)
    async with database.connection() as conn:
        (due,) = await (
            await conn.execute("SELECT due_at FROM notify.send_shards WHERE event_id = %s", (event_id,))
        ).fetchone() or (None,)
        assert due is not None
        assert due <= begun + timedelta(hours=1, seconds=5), "it is counted when it is too late, not in the morning"
        assert await notify.expire_sends(conn, event_ids=[event_id]) == 1
        assert await notify.expire_sends(conn, event_ids=[event_id]) == 0
    await deliver_shard(database, mailing, event_id=event_id, shard_no=1)
    progress = await progress_of(database, event_id)
    assert (progress.delivered, progress.suppressed, progress.late, progress.over) == (11, 1, 1, True)
    assert len(postbox.taken) == 5


async def test_whom_nobody_told_in_time_is_not_told_and_stays_a_follower(
    people: Sequence[UUID], database: Database, mailing: Settings
) -> None:
    event_id = await begin(database, expires_at=datetime.now(UTC) + timedelta(hours=1))
    async with database.connection() as conn:
        await notify.expire_sends(conn, event_ids=[event_id])
    assert await tell(database, mailing, event_id) == [0]
    assert await deliveries_of(database, event_id) == []
    progress = await progress_of(database, event_id)
    assert (progress.messages, progress.delivered, progress.suppressed, progress.late) == (12, 0, 12, 12)
    assert progress.over
    async with database.transaction() as conn:
        (topic,) = await notify.find_followed(conn, topics={TopicKind.COLLECTION: ["lamps"]})
        assert not await notify.begin_send(
            conn,
            event_id=EventId(new_id()),
            topic=topic,
            template="drop_open",
            variables={"title": "Lamps", "url": "/"},
            expires_at=datetime.now(UTC) - timedelta(seconds=1),
        )


async def test_who_follows_several_topics_of_an_event_is_told_once_by_each_way_they_want(
    people: Sequence[UUID], database: Database, mailing: Settings, postbox: Postbox
) -> None:
    shop = Topic(TopicKind.SHOP, "shop", "Tidegate", "/")
    async with database.transaction() as conn:
        for number in range(3):
            await notify.follow(conn, topic=shop, email=email_of("lamps", number), locale="en", most=9)
    # The first does not want mails of collections: then the shop's mail is theirs.
    async with database.connection() as conn:
        row = await (
            await conn.execute(
                "SELECT recipient_id FROM notify.follows JOIN notify.topics USING (topic_id)"
                " WHERE kind = 'shop' ORDER BY 1 LIMIT 1"
            )
        ).fetchone()
    assert row is not None
    await choose(database, row[0], Preferences(frozenset({(TopicKind.COLLECTION, Channel.EMAIL)})))
    event_id = await begin(database)
    assert await begin(database, shop, event_id=event_id) == event_id
    await tell(database, mailing, event_id)
    for shard_no in (1, 2):
        await deliver_shard(database, mailing, event_id=event_id, shard_no=shard_no)
    told = await deliveries_of(database, event_id)
    assert len(told) == len({(person, channel) for person, channel, _ in told}) == 12
    assert {state for _, _, state in told} == {"sent"}
    assert sorted(address for address, _ in postbox.taken) == sorted(email_of("lamps", n) for n in range(6))
    async with database.connection() as conn:
        sends = await notify.list_sends(conn, limit=5, event_id=event_id)
    assert sum(send.progress.delivered for send in sends) == 12
    assert sum(send.progress.unwanted for send in sends) == 1
    for send in sends:
        assert send.progress.done == send.progress.messages


async def test_a_post_may_matter_for_some_time_only(
    people: Sequence[UUID], database: Database, mailing: Settings
) -> None:
    async def write(request: str, expires_at: datetime) -> notify.Post:
        async with database.transaction() as conn:
            return await notify.write_post(
                conn,
                kind=TopicKind.COLLECTION,
                key="lamps",
                title="Open until six",
                body="Come and see.",
                channels=[Channel.INBOX],
                author_id=PersonId(people[0]),
                request_key=request,
                base_url=mailing.base_url,
                expires_at=expires_at,
            )

    with pytest.raises(InvalidRequest):
        await write("past", datetime.now(UTC) - timedelta(seconds=1))
    post = await write("soon", datetime.now(UTC) + timedelta(hours=1))
    async with database.connection() as conn:
        await notify.expire_sends(conn, event_ids=[post.post_id])
    await tell(database, mailing, post.post_id)
    progress = await progress_of(database, post.post_id)
    assert (progress.messages, progress.late, progress.over) == (6, 6, True)
