"""Failed deliveries are tried again, and the counts of their shards and sends stay right."""

from __future__ import annotations

import psycopg
import pytest

from benchmarks.followers import add_followers, email_of
from tests.notify.postbox import Postbox
from tests.notify.telling import tell
from tidegate import notify
from tidegate.notify.deliveries import deliver_shard
from tidegate.notify.replays import replay_deliveries, replay_event
from tidegate.notify.shards import finish_send
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, PersonId, new_id
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio


async def counts(database: Database, event_id: EventId) -> tuple[str, int, int, int]:
    """State, messages delivered, failed and not done of a send."""
    await finish_send(database, event_id=event_id)
    async with database.connection() as conn:
        (send,) = await notify.list_sends(conn, limit=1, event_id=event_id)
    progress = send.progress
    return send.state.value, progress.delivered, progress.failed, progress.expected - progress.done


@pytest.fixture
async def event_id(database: Database, mailing: Settings, postbox: Postbox) -> EventId:
    """A post to five followers, of whom the mail server refused all."""
    with psycopg.connect(mailing.require_database_url(), autocommit=True) as conn:
        add_followers(conn, kind="collection", key="lamps", count=5)
    async with database.transaction() as conn:
        post = await notify.write_post(
            conn,
            kind=notify.TopicKind.COLLECTION,
            key="lamps",
            title="New lamps",
            body="Come and see.",
            channels=[notify.Channel.EMAIL],
            author_id=PersonId(new_id()),
            request_key="one",
            base_url=mailing.base_url,
        )
    await tell(database, mailing, post.post_id)
    postbox.refusals.update((email_of("lamps", number), "550 no such mailbox") for number in range(5))
    await deliver_shard(database, mailing, event_id=post.post_id, shard_no=1)
    return post.post_id


async def test_what_failed_is_replayed_once_and_counted_by_what_becomes_of_it_last(
    event_id: EventId, database: Database, mailing: Settings, postbox: Postbox
) -> None:
    assert await counts(database, event_id) == ("finished", 0, 5, 0)
    async with database.transaction() as conn:
        assert await replay_event(conn, event_id=event_id, limit=2) == 2
    assert await counts(database, event_id) == ("running", 0, 3, 2)
    async with database.transaction() as conn:
        assert await replay_event(conn, event_id=event_id) == 3, "those that wait again are not replayed twice"
    postbox.refusals.clear()
    await deliver_shard(database, mailing, event_id=event_id, shard_no=1)
    assert await counts(database, event_id) == ("finished", 5, 0, 0)
    assert len(postbox.taken) == 5
    async with database.transaction() as conn:
        assert await replay_event(conn, event_id=event_id) == 0


async def test_a_send_that_staff_ended_is_not_replayed(
    event_id: EventId, database: Database, mailing: Settings
) -> None:
    async with database.transaction() as conn:
        await conn.execute("UPDATE notify.sends SET cancelled_at = now() WHERE event_id = %s", (event_id,))
        assert await replay_event(conn, event_id=event_id) == 0


async def test_a_message_to_one_person_is_handed_out_again(database: Database) -> None:
    event_id, person = EventId(new_id()), new_id()
    async with database.transaction() as conn:
        await conn.execute(
            """
            INSERT INTO notify.deliveries (event_id, recipient_id, channel, template, variables, state, attempts)
            VALUES (%s, %s, 'inbox', 'order_paid', '{}', 'failed', 10)
            """,
            (event_id, person),
        )
        assert await replay_deliveries(conn, keys=[(event_id, person, "inbox"), (event_id, person, "email")]) == 1
        found = await conn.execute("SELECT state, attempts FROM notify.deliveries")
        assert await found.fetchall() == [("pending", 0)]
        told = await conn.execute("SELECT topic, payload FROM platform.outbox")
        assert await told.fetchall() == [("notify.deliver", {"event_id": str(event_id)})]
