"""Sends: what staff ask of them is done, each message ends once, and the counts close."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.followers import add_followers, email_of
from tests.notify.postbox import Postbox
from tests.notify.telling import in_shards_of, tell
from tidegate import notify
from tidegate.entrypoints import worker
from tidegate.notify.deliveries import deliver_shard
from tidegate.notify.rules import left_s
from tidegate.notify.shards import claim_due_shards, expand_shard, finish_send, plan_send
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, PersonId, new_id
from tidegate.platform.problems import InvalidRequest, NotFound, StartupError
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

STAFF = PersonId(new_id())
BOTH = tuple(notify.Channel)


@dataclass(frozen=True, slots=True)
class Begun:
    """A send that has begun."""

    database: Database
    event_id: EventId

    async def now(self) -> notify.Send:
        """How it stands."""
        await finish_send(self.database, event_id=self.event_id)
        async with self.database.connection() as conn:
            (send,) = await notify.list_sends(conn, limit=1, event_id=self.event_id)
        return send

    async def counts(self) -> tuple[int, int, int, int]:
        """Messages expected, delivered, failed, suppressed."""
        progress = (await self.now()).progress
        return progress.expected, progress.delivered, progress.failed, progress.suppressed


async def write(
    database: Database,
    settings: Settings,
    *,
    key: str = "lamps",
    title: str = "New lamps",
    request: str = "one",
    channels: tuple[notify.Channel, ...] = BOTH,
) -> notify.Post:
    async with database.transaction() as conn:
        return await notify.write_post(
            conn,
            kind=notify.TopicKind.COLLECTION,
            key=key,
            title=title,
            body="They are <here>.\nCome and see.",
            channels=channels,
            author_id=STAFF,
            request_key=request,
            base_url=settings.base_url,
        )


@pytest.fixture
async def begun(database: Database, mailing: Settings) -> Begun:
    """A post to ten followers, each with an inbox and an address."""
    with psycopg.connect(mailing.require_database_url(), autocommit=True) as conn:
        add_followers(conn, kind="collection", key="lamps", count=10)
    post = await write(database, mailing)
    return Begun(database, post.post_id)


async def test_a_post_is_in_every_inbox_and_mailbox_and_in_the_feed(
    begun: Begun, database: Database, mailing: Settings, postbox: Postbox
) -> None:
    small = in_shards_of(mailing, 4)
    assert await tell(database, small, begun.event_id) == [4, 4, 2]
    for shard_no in (1, 2, 3):
        await deliver_shard(database, small, event_id=begun.event_id, shard_no=shard_no)
    assert await begun.counts() == (20, 20, 0, 0)
    assert (await begun.now()).state is notify.SendState.FINISHED
    assert sorted(address for address, _ in postbox.taken) == sorted(email_of("lamps", n) for n in range(10))
    async with database.connection() as conn:
        found = await conn.execute("SELECT recipient_id FROM notify.recipients")
        for (person,) in await found.fetchall():
            (message,) = await notify.list_inbox(conn, recipient_id=person, limit=10)
            assert message.subject == "New lamps"
            assert message.body == "They are <here>.\nCome and see."
            assert message.link == f"{mailing.base_url}/posts/{begun.event_id}"
        (post,) = await notify.list_posts(conn, limit=10)
        assert (post.post_id, post.topic) == (begun.event_id, "Lamps")
        assert await notify.list_posts(conn, limit=10, before=post.post_id) == []


async def test_inboxes_show_words_though_the_shop_got_another_language_meanwhile(
    begun: Begun, database: Database, mailing: Settings
) -> None:
    """Those that there are: in the shop's own language, or if it is another one now, in any."""
    fewer = mailing.model_copy(update={"locales": ("en_GB",), "locale": "en_GB"})
    small = in_shards_of(fewer, 5)
    await plan_send(database, small, event_id=begun.event_id)
    async with database.connection() as conn:
        await conn.execute("UPDATE notify.recipients SET locale = 'de_DE'")
    for shard_no, locale in ((1, "en_GB"), (2, "de_DE")):
        now = small.model_copy(update={"locales": ("en_GB", "de_DE"), "locale": locale})
        assert await expand_shard(database, now, event_id=begun.event_id, shard_no=shard_no)
    async with database.connection() as conn:
        row = await (
            await conn.execute(
                """
                SELECT count(*) FILTER (WHERE m.recipient_id IS NOT NULL), count(*)
                FROM notify.deliveries AS d LEFT JOIN notify.inbox_messages AS m USING (event_id, recipient_id)
                WHERE d.channel = 'inbox' AND d.state = 'sent'
                """
            )
        ).fetchone()
    assert row == (10, 10)


async def test_a_request_that_comes_twice_writes_one_post(begun: Begun, database: Database, mailing: Settings) -> None:
    for same in (BOTH, BOTH[::-1]):
        assert (await write(database, mailing, channels=same)).post_id == begun.event_id
    with pytest.raises(notify.PostDiffers):
        await write(database, mailing, title="Other lamps")
    with pytest.raises(notify.PostDiffers):
        await write(database, mailing, channels=(notify.Channel.INBOX,))
    with pytest.raises(InvalidRequest):
        await write(database, mailing, title="two\nlines", request="two")
    with pytest.raises(NotFound):
        await write(database, mailing, key="nobody-follows", request="three")
    async with database.connection() as conn:
        assert len(await notify.list_sends(conn, limit=10)) == 1


async def test_a_paused_send_waits_and_goes_on_where_it_was(
    begun: Begun, database: Database, mailing: Settings, postbox: Postbox
) -> None:
    small = in_shards_of(mailing, 5)
    topic_id = (await begun.now()).topic_id
    await plan_send(database, small, event_id=begun.event_id)
    await expand_shard(database, small, event_id=begun.event_id, shard_no=1)
    async with database.transaction() as conn:
        await notify.pause_send(conn, event_id=begun.event_id, topic_id=topic_id)
        await notify.pause_send(conn, event_id=begun.event_id, topic_id=topic_id)
    assert await expand_shard(database, small, event_id=begun.event_id, shard_no=2) is None
    assert await deliver_shard(database, small, event_id=begun.event_id, shard_no=1) == 0
    async with database.connection() as conn:
        assert await claim_due_shards(conn, limit=10, lease_s=60) == []
    assert postbox.taken == []
    assert (await begun.now()).state is notify.SendState.PAUSED
    async with database.transaction() as conn:
        await notify.resume_send(conn, event_id=begun.event_id, topic_id=topic_id)
        due = await claim_due_shards(conn, limit=10, lease_s=60)
    assert [each.shard_no for each in due] == [1, 2]
    await expand_shard(database, small, event_id=begun.event_id, shard_no=2)
    for shard_no in (1, 2):
        await deliver_shard(database, small, event_id=begun.event_id, shard_no=shard_no)
    assert await begun.counts() == (20, 20, 0, 0)


async def test_of_an_ended_send_nothing_more_is_sent_and_all_is_counted(
    begun: Begun, database: Database, mailing: Settings, postbox: Postbox
) -> None:
    small = in_shards_of(mailing, 4)
    topic_id = (await begun.now()).topic_id
    await plan_send(database, small, event_id=begun.event_id)
    await expand_shard(database, small, event_id=begun.event_id, shard_no=1)
    for _ in range(2):
        async with database.transaction() as conn:
            await notify.cancel_send(conn, event_id=begun.event_id, topic_id=topic_id)
    assert await deliver_shard(database, small, event_id=begun.event_id, shard_no=1) == 0
    assert await begun.counts() == (20, 4, 0, 16)
    assert (await begun.now()).state is notify.SendState.CANCELLED
    assert (await begun.now()).progress.over
    assert postbox.taken == []
    with pytest.raises(NotFound):
        async with database.transaction() as conn:
            await notify.cancel_send(conn, event_id=EventId(new_id()), topic_id=topic_id)


async def test_whoever_is_erased_or_stops_or_cannot_be_reached_is_counted(
    begun: Begun, database: Database, mailing: Settings, postbox: Postbox
) -> None:
    postbox.refusals[email_of("lamps", 9)] = "550 no such mailbox"
    await tell(database, mailing, begun.event_id)
    async with database.transaction() as conn:
        found = await conn.execute("SELECT recipient_id FROM notify.recipients ORDER BY recipient_id LIMIT 1")
        row = await found.fetchone()
        assert row is not None
        await notify.erase_messages(conn, people=[row[0]])
    await deliver_shard(database, mailing, event_id=begun.event_id, shard_no=1)
    assert await begun.counts() == (20, 18, 1, 1)
    assert (await begun.now()).progress.over
    assert len(postbox.taken) == 8


async def test_workers_and_sweepers_who_meet_in_a_shard_tell_nobody_twice(
    begun: Begun, database: Database, mailing: Settings, postbox: Postbox
) -> None:
    small = in_shards_of(mailing, 3)
    await asyncio.gather(*(plan_send(database, small, event_id=begun.event_id) for _ in range(3)))
    shards = [1, 2, 3, 4]
    expanded = await asyncio.gather(
        *(expand_shard(database, small, event_id=begun.event_id, shard_no=no) for no in shards * 3)
    )
    assert sum(each.followers for each in expanded if each is not None) == 10

    async def sweep() -> list[int]:
        async with database.connection() as conn:
            return [each.shard_no for each in await claim_due_shards(conn, limit=10, lease_s=60)]

    swept = await asyncio.gather(sweep(), sweep())
    assert sorted(swept[0] + swept[1]) == shards
    await asyncio.gather(*(deliver_shard(database, small, event_id=begun.event_id, shard_no=no) for no in shards * 3))
    assert await begun.counts() == (20, 20, 0, 0)
    assert len(postbox.taken) == 10


async def test_a_send_whose_words_cannot_be_written_fails_at_once(
    database: Database, settings: Settings, begun: Begun
) -> None:
    async with database.connection() as conn:
        await conn.execute("UPDATE notify.sends SET template = 'nothing_of_the_kind'")
    assert await plan_send(database, settings, event_id=begun.event_id) == 0
    assert (await begun.now()).state is notify.SendState.FAILED


async def test_words_and_posts_leave_after_the_inboxes_that_show_them(
    begun: Begun, database: Database, settings: Settings
) -> None:
    await tell(database, settings, begun.event_id)
    for age_days, left in ((129, True), (132, False)):
        async with database.connection() as conn:
            for table in ("words", "posts"):
                await conn.execute(
                    f"UPDATE notify.{table} SET created_at = clock_timestamp() - make_interval(days => %s)", (age_days,)
                )
            removed = [await notify.delete_old_words(conn, inbox_days=100, limit=1) for _ in range(4)]
            rows = await conn.execute("SELECT (SELECT count(*) FROM notify.words), (SELECT count(*) FROM notify.posts)")
            assert await rows.fetchone() == ((2, 1) if left else (0, 0))
            assert sum(removed) == (0 if left else 2)


def test_a_worker_of_a_lane_that_does_not_exist_says_so(settings: Settings) -> None:
    with pytest.raises(StartupError, match="no lane called fast; there are receipts"):
        worker.serve(settings, lanes=["bulk", "fast"])


@given(done=st.integers(0, 10**8), rest=st.integers(0, 10**8), elapsed_s=st.floats(0, 10**6, allow_nan=False))
def test_an_estimate_is_the_rest_at_the_pace_so_far(done: int, rest: int, elapsed_s: float) -> None:
    left = left_s(done=done, expected=done + rest, elapsed_s=elapsed_s)
    if not rest:
        assert left == 0.0
    elif not done:
        assert left is None
    else:
        assert left is not None
        assert left * done == pytest.approx(rest * elapsed_s)
