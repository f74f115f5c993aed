"""Dead letters: read, sent again and dropped, and the counts of their sends close at every moment."""

from __future__ import annotations

import json

import psycopg
import pytest

from benchmarks.followers import add_followers, email_of
from tests.notify.hooking import endpoint, orders, states
from tests.notify.postbox import Postbox
from tests.notify.telling import in_shards_of, tell
from tidegate import notify
from tidegate.notify.contracts import SendState
from tidegate.notify.dead_letters import (
    NEWEST,
    NotReplayable,
    Road,
    Which,
    count_dead_letters,
    drop_dead_letter,
    drop_dead_letters,
    list_dead_letters,
    open_dead_letter,
    replay_dead_letter,
    replay_dead_letters,
    replay_endpoint,
    replay_event,
)
from tidegate.notify.deliveries import deliver_due, deliver_shard
from tidegate.notify.shards import claim_due_shards, finish_send
from tidegate.notify.webhook_endings import end_waiting
from tidegate.notify.webhooks import disable_endpoint, enable_endpoint
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, PersonId, new_id
from tidegate.platform.problems import NotFound
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

FOLLOWERS = 12


async def sent(database: Database, settings: Settings, postbox: Postbox, *, refused: int) -> EventId:
    """A post by mail to twelve followers in shards of five, of whom `refused` have no mailbox."""
    postbox.refusals.update({email_of("lamps", n): "550 no such mailbox" for n in range(refused)})
    settings = in_shards_of(settings, 5)
    with psycopg.connect(settings.require_database_url(), autocommit=True) as conn:
        add_followers(conn, kind="collection", key="lamps", count=FOLLOWERS)
    async with database.transaction() as own:
        post = await notify.write_post(
            own,
            kind=notify.TopicKind.COLLECTION,
            key="lamps",
            title="New lamps",
            body="Come and see.",
            channels=[notify.Channel.EMAIL],
            author_id=PersonId(new_id()),
            request_key="one",
            base_url=settings.base_url,
        )
    await tell(database, settings, post.post_id)
    await deliver_all(database, settings, post.post_id)
    return post.post_id


async def deliver_all(database: Database, settings: Settings, event_id: EventId) -> None:
    """What workers do with the shards that are due."""
    async with database.connection() as conn:
        due = await claim_due_shards(conn, limit=100, lease_s=60)
    for each in due:
        await deliver_shard(database, settings, event_id=each.event_id, shard_no=each.shard_no)
    await finish_send(database, event_id=event_id)


async def counts(database: Database, event_id: EventId) -> tuple[SendState, int, int, int, int]:
    """State, delivered, failed and suppressed by the shards, and what waits by the rows: these sum up to all."""
    async with database.connection() as conn:
        (send,) = await notify.list_sends(conn, limit=1, event_id=event_id)
        rows = await (
            await conn.execute(
                "SELECT count(*) FILTER (WHERE state = 'sent'), count(*) FILTER (WHERE state = 'failed'),"
                " count(*) FILTER (WHERE state = 'suppressed'), count(*) FILTER (WHERE state = 'pending')"
                " FROM notify.deliveries WHERE event_id = %s",
                (event_id,),
            )
        ).fetchone()
    assert rows is not None
    progress = send.progress
    assert (progress.delivered, progress.failed, progress.suppressed) == rows[:3], "the shards count what is there"
    assert sum(rows) == progress.messages == FOLLOWERS
    return send.state, *rows


async def test_what_is_sent_again_waits_again_and_its_send_goes_on(
    database: Database, mailing: Settings, postbox: Postbox
) -> None:
    event_id = await sent(database, mailing, postbox, refused=3)
    assert await counts(database, event_id) == (SendState.FINISHED, 9, 3, 0, 0)
    async with database.connection() as conn:
        letters = await list_dead_letters(conn, limit=10)
        assert await list_dead_letters(conn, limit=10, channel=Road.INBOX) == []
    assert [(each.about, each.channel, each.in_send) for each in letters] == [("New lamps", Road.EMAIL, True)] * 3
    assert "550" in letters[0].error
    for _ in range(2):
        async with database.transaction() as conn:
            await replay_dead_letter(conn, event_id=event_id, recipient_id=letters[0].recipient_id, channel=Road.EMAIL)
        assert await counts(database, event_id) == (SendState.RUNNING, 9, 2, 0, 1)
    await deliver_all(database, mailing, event_id)
    assert await counts(database, event_id) == (SendState.FINISHED, 9, 3, 0, 0), "its cause was not mended"
    postbox.refusals.clear()
    async with database.transaction() as conn:
        first = await replay_event(conn, event_id=event_id, limit=2)
        rest = await replay_event(conn, event_id=event_id, limit=2)
    assert (first.count, first.more, rest.count, rest.more) == (2, True, 1, False)
    assert await counts(database, event_id) == (SendState.RUNNING, 9, 0, 0, 3)
    await deliver_all(database, mailing, event_id)
    assert await counts(database, event_id) == (SendState.FINISHED, 12, 0, 0, 0)
    assert [len(postbox.mails_to(email_of("lamps", n))) for n in range(FOLLOWERS)] == [1] * FOLLOWERS


async def test_what_is_dropped_counts_as_suppressed(database: Database, mailing: Settings, postbox: Postbox) -> None:
    event_id = await sent(database, mailing, postbox, refused=2)
    async with database.connection() as conn:
        letters = await list_dead_letters(conn, limit=10)
    for _ in range(2):
        async with database.transaction() as conn:
            await drop_dead_letter(conn, event_id=event_id, recipient_id=letters[0].recipient_id, channel=Road.EMAIL)
        assert await counts(database, event_id) == (SendState.FINISHED, 10, 1, 1, 0)
    async with database.transaction() as conn:
        assert (await replay_event(conn, event_id=event_id)).count == 1
    with pytest.raises(NotFound):
        async with database.transaction() as conn:
            await drop_dead_letter(conn, event_id=event_id, recipient_id=new_id(), channel=Road.EMAIL)


async def test_all_that_is_meant_is_sent_again_or_dropped_and_nothing_else(
    database: Database, mailing: Settings, postbox: Postbox
) -> None:
    event_id = await sent(database, mailing, postbox, refused=5)
    async with database.connection() as conn:
        await conn.execute(
            """
            INSERT INTO notify.deliveries (event_id, recipient_id, channel, template, variables, state, last_error,
                address_sealed)
            SELECT uuidv7(), uuidv7(), c, 'order_paid', '{}', 'failed', 'the server was away', ''
            FROM generate_series(1, 4), unnest('{email,inbox}'::text[]) AS c
            """
        )
        receipts, posts = Which(template="order_paid", channel=Road.EMAIL), Which(template="post")
        listed = await list_dead_letters(conn, limit=20, template="order_paid", channel=Road.EMAIL)
        assert [each.template for each in listed] == ["order_paid"] * 4
        assert [await count_dead_letters(conn, which=each, most=9) for each in (Which(), receipts, posts)] == [9, 4, 5]
    async with database.transaction() as conn:
        first = await replay_dead_letters(conn, which=receipts, limit=3)
        rest = await replay_dead_letters(conn, which=receipts, limit=3)
    assert (first.count, first.more, rest.count, rest.more) == (3, True, 1, False)
    async with database.transaction() as conn:
        assert await drop_dead_letters(conn, which=posts, limit=3) == 3
    assert await counts(database, event_id) == (SendState.FINISHED, 7, 2, 3, 0)
    async with database.transaction() as conn:
        assert (await replay_dead_letters(conn, which=posts)).count == 2
    assert await counts(database, event_id) == (SendState.RUNNING, 7, 0, 3, 2)
    async with database.connection() as conn:
        left = await list_dead_letters(conn, limit=20)
    assert [(each.channel, each.template, each.topic_id) for each in left] == [(Road.INBOX, "order_paid", None)] * 4


async def test_of_an_ended_send_nothing_goes_out_again(database: Database, mailing: Settings, postbox: Postbox) -> None:
    event_id = await sent(database, mailing, postbox, refused=1)
    async with database.connection() as conn:
        await conn.execute("UPDATE notify.sends SET cancelled_at = clock_timestamp()")
    postbox.refusals.clear()
    async with database.transaction() as conn:
        assert (await replay_event(conn, event_id=event_id)).count == 1
    await deliver_all(database, mailing, event_id)
    assert (await counts(database, event_id))[1:] == (11, 0, 1, 0)


async def test_a_poisoned_message_ends_as_a_dead_letter_with_its_reason(database: Database, mailing: Settings) -> None:
    poisoned, whole = EventId(new_id()), EventId(new_id())
    total = {"amount": 100, "currency": "GBP"}
    sound = {"number": "K7P3", "total": total, "lines": [], "order_url": "http://127.0.0.1:8000/orders/1"}
    async with database.connection() as conn:
        for event_id, variables in ((poisoned, {"number": "K7P2"}), (whole, sound)):
            await conn.execute(
                "INSERT INTO notify.deliveries (event_id, recipient_id, channel, template, variables)"
                " VALUES (%s, %s, 'inbox', 'order_paid', %s)",
                (event_id, new_id(), json.dumps(variables)),
            )
    assert (await deliver_due(database, mailing, limit=10)).taken == 2
    async with database.connection() as conn:
        (letter,) = await list_dead_letters(conn, limit=10)
        opened = await open_dead_letter(
            conn, event_id=poisoned, recipient_id=letter.recipient_id, channel=letter.channel
        )
    assert (letter.event_id, letter.about, letter.in_send) == (poisoned, "K7P2", False)
    assert "order_paid" in letter.error
    assert (opened.variables, opened.email) == ({"number": "K7P2"}, "")


async def test_staff_read_to_whom_a_mail_was_and_no_secret(
    database: Database, mailing: Settings, postbox: Postbox
) -> None:
    event_id = await sent(database, mailing, postbox, refused=1)
    async with database.connection() as conn:
        (letter,) = await list_dead_letters(conn, limit=10, event_id=event_id)
        opened = await open_dead_letter(conn, event_id=event_id, recipient_id=letter.recipient_id, channel=Road.EMAIL)
        with pytest.raises(NotFound):
            await open_dead_letter(conn, event_id=event_id, recipient_id=new_id(), channel=Road.EMAIL)
        with pytest.raises(NotFound):
            await open_dead_letter(conn, event_id=event_id, recipient_id=letter.recipient_id, channel=Road.INBOX)
    assert opened.email == email_of("lamps", 0)
    assert (opened.variables["title"], opened.variables["body"]) == ("New lamps", "Come and see.")
    assert opened.email not in repr(opened)


async def test_webhooks_of_a_disabled_endpoint_wait_until_it_is_enabled(database: Database, settings: Settings) -> None:
    keys = await endpoint(database, settings, "https://hooks.example/")
    endpoint_id = keys.endpoint.endpoint_id
    first, _second = await orders(database, settings, 2)
    async with database.connection() as conn:
        await disable_endpoint(conn, endpoint_id=endpoint_id)
        assert await end_waiting(conn, limit=10) == 2
        assert len(await list_dead_letters(conn, limit=10, channel=Road.WEBHOOK)) == 2
        with pytest.raises(NotReplayable):
            await replay_dead_letter(conn, event_id=first, recipient_id=endpoint_id, channel=Road.WEBHOOK)
        assert (await replay_endpoint(conn, endpoint_id=endpoint_id)).count == 0
    async with database.transaction() as conn:
        await enable_endpoint(conn, settings.webhooks, endpoint_id=endpoint_id)
        await replay_dead_letter(conn, event_id=first, recipient_id=endpoint_id, channel=Road.WEBHOOK)
        assert (await replay_endpoint(conn, endpoint_id=endpoint_id)).count == 1
    assert [state[:2] for state in await states(database)] == [("pending", 0)] * 2


async def test_pages_of_the_list_hold_each_dead_letter_once_and_cost_the_same(
    database: Database, settings: Settings
) -> None:
    async with database.connection() as conn:
        await conn.execute(
            """
            INSERT INTO notify.deliveries (event_id, recipient_id, channel, template, variables, state, sent_at,
                address_sealed)
            SELECT uuidv7(make_interval(secs => n / 10)), md5((n % 7)::text)::uuid, c, 'post', '{}',
                CASE WHEN n % 100 = 0 THEN 'failed' ELSE 'sent' END,
                CASE WHEN n % 100 > 0 THEN clock_timestamp() END, ''
            FROM generate_series(1, 8000) AS n, unnest('{email,inbox,webhook}'::text[]) AS c
            """
        )
        await conn.execute("ANALYZE notify.deliveries")
        seen: list[notify.DeadLetter] = []
        while page := await list_dead_letters(conn, limit=33, before=seen[-1].place if seen else None):
            seen += page
        found = await conn.execute(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {NEWEST.format(which='true')}",
            {
                "channels": ["webhook"],
                "event": seen[40].event_id,
                "recipient": seen[40].recipient_id,
                "channel": "webhook",
                "limit": 50,
            },
        )
        row = await found.fetchone()
    assert len({each.place for each in seen}) == len(seen) == 240
    assert [each.event_id for each in seen] == sorted((each.event_id for each in seen), reverse=True)
    assert row is not None
    plan = row[0][0]["Plan"]
    assert plan["Actual Rows"] == 50
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 200, "it reads what it shows"
