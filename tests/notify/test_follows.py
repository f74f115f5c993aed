"""Followers: each is told once, in pages, by mail and in the inbox; whoever stops is told no more."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

from tests.notify.postbox import Postbox
from tests.notify.telling import in_shards_of, tell
from tidegate import notify
from tidegate.notify.deliveries import deliver_due
from tidegate.notify.follow_links import read_unsubscribe, unsubscribe_link
from tidegate.notify.follows import end_follow
from tidegate.notify.sends import delete_spent, find_stopped
from tidegate.notify.shards import Expanded, claim_due_shards, expand_shard, plan_send
from tidegate.notify.tasks import sweep, tell_followers, work_on_shard
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, PersonId, new_id
from tidegate.platform.jobs import BULK, RECEIPTS, lane_depths, make_app
from tidegate.platform.problems import NotFound
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

NIGHT = notify.Topic(notify.TopicKind.DROP, "lamp-night", "Lamp Night", "/drops/lamp-night")
LIGHTS = notify.Topic(notify.TopicKind.COLLECTION, "lights", "Lights", "/collections/lights")
ADA = "ada.lovelace@example.com"
WORDS = {"title": "Lamp Night", "url": "http://127.0.0.1:8000/drops/lamp-night"}


async def follows(database: Database, topic: notify.Topic, email: str, person: PersonId | None = None) -> None:
    async with database.transaction() as conn:
        await notify.follow(conn, topic=topic, email=email, locale="en_GB", most=100, person_id=person)


async def begin(database: Database, event_id: EventId, *topics: notify.Topic) -> int:
    """Begin to tell the followers of these topics."""
    async with database.transaction() as conn:
        keys: dict[notify.TopicKind, list[str]] = {}
        for topic in topics:
            keys.setdefault(topic.kind, []).append(topic.key)
        begun = 0
        for found in await notify.find_followed(conn, topics=keys):
            begun += await notify.begin_send(
                conn, event_id=event_id, topic=found, template="drop_open", variables=WORDS
            )
        return begun


async def told(database: Database) -> list[tuple[Any, ...]]:
    """(event, recipient, channel) of all deliveries."""
    async with database.connection() as conn:
        return list(
            await (
                await conn.execute("SELECT event_id, recipient_id, channel FROM notify.deliveries ORDER BY 1, 2, 3")
            ).fetchall()
        )


async def test_an_account_is_told_by_mail_and_in_the_inbox_and_an_address_by_mail(
    database: Database, mailing: Settings, postbox: Postbox
) -> None:
    person = PersonId(new_id())
    await follows(database, NIGHT, ADA, person)
    await follows(database, NIGHT, "guest@example.com")
    event_id = EventId(new_id())
    assert await begin(database, event_id, NIGHT) == 1
    assert await tell(database, mailing, event_id) == [2]
    assert (await deliver_due(database, mailing, limit=10)).taken == 2
    (mail,) = postbox.mails_to(ADA)
    assert mail["Subject"] == "Lamp Night is open"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    plain = mail.get_body(("plain",))
    assert plain is not None
    assert WORDS["url"] in plain.get_content()
    link = str(mail["List-Unsubscribe"]).strip("<>")
    assert link.startswith(f"{mailing.base_url}/unsubscribe?token=")
    assert link in plain.get_content()
    assert len(postbox.mails_to("guest@example.com")) == 1
    async with database.connection() as conn:
        (message,) = await notify.list_inbox(conn, recipient_id=person, limit=10)
    assert (message.subject, message.link) == ("Lamp Night is open", WORDS["url"])


@pytest.mark.parametrize("batch", [1, 3, 100])
async def test_pages_tell_everybody_once_whoever_works_on_them(
    database: Database, settings: Settings, batch: int
) -> None:
    for number in range(10):
        await follows(database, NIGHT, f"f{number}@example.com")
    event_id = EventId(new_id())
    await begin(database, event_id, NIGHT)
    paged = in_shards_of(settings, batch)
    await asyncio.gather(*(tell(database, paged, event_id) for _ in range(3)))
    await tell(database, paged, event_id)
    assert len(await told(database)) == 10
    assert await begin(database, EventId(new_id()), NIGHT) == 0
    async with database.connection() as conn:
        assert await find_stopped(conn, limit=10, overdue_s=0) == []


async def test_whoever_follows_two_topics_of_one_event_is_told_once(database: Database, settings: Settings) -> None:
    await follows(database, NIGHT, ADA)
    await follows(database, LIGHTS, ADA)
    await follows(database, LIGHTS, "other@example.com")
    event_id = EventId(new_id())
    assert await begin(database, event_id, NIGHT, LIGHTS) == 2
    await tell(database, settings, event_id)
    assert len(await told(database)) == 2
    assert await begin(database, event_id, NIGHT, LIGHTS) == 0
    later = EventId(new_id())
    assert await begin(database, later, NIGHT, LIGHTS) == 1, "a collection is followed on, a drop is not"
    await tell(database, settings, later)
    assert len(await told(database)) == 4


async def test_a_send_that_was_left_lying_is_found_and_goes_on(database: Database, settings: Settings) -> None:
    for number in range(5):
        await follows(database, NIGHT, f"f{number}@example.com")
    event_id = EventId(new_id())
    await begin(database, event_id, NIGHT)
    async with database.connection() as conn:
        assert await find_stopped(conn, limit=10, overdue_s=0) == [event_id]
    assert await plan_send(database, in_shards_of(settings, 2), event_id=event_id) == 5
    first = await expand_shard(database, settings, event_id=event_id, shard_no=1)
    assert first == Expanded(2, inbox=0, mails=2)
    async with database.connection() as conn:
        due = await claim_due_shards(conn, limit=10, lease_s=60)
        assert [(each.shard_no, each.waiting) for each in due] == [(1, 2), (2, 0), (3, 0)]
        assert await claim_due_shards(conn, limit=10, lease_s=60) == [], "leased"
    await tell(database, settings, event_id)
    assert len(await told(database)) == 5


async def test_a_drop_that_is_told_can_be_followed_again(database: Database, settings: Settings) -> None:
    await follows(database, NIGHT, ADA)
    await follows(database, NIGHT, ADA)
    first, second = EventId(new_id()), EventId(new_id())
    await begin(database, first, NIGHT)
    await tell(database, settings, first)
    await follows(database, NIGHT, ADA)
    assert await begin(database, second, NIGHT) == 1
    await tell(database, settings, second)
    assert {row[0] for row in await told(database)} == {first, second}
    assert len(await told(database)) == 2


async def test_whoever_came_after_the_event_is_told_it_by_beginning_again(
    database: Database, settings: Settings
) -> None:
    await follows(database, NIGHT, ADA)
    event_id = EventId(new_id())
    await begin(database, event_id, NIGHT)
    await tell(database, settings, event_id)
    await follows(database, NIGHT, "late@example.com")
    assert await begin(database, event_id, NIGHT) == 1
    await tell(database, settings, event_id)
    assert len(await told(database)) == 2


async def test_the_link_of_a_mail_ends_that_follow_and_forgets_the_address(
    database: Database, mailing: Settings, postbox: Postbox
) -> None:
    await follows(database, NIGHT, ADA)
    await follows(database, LIGHTS, ADA)
    event_id = EventId(new_id())
    await begin(database, event_id, LIGHTS)
    await tell(database, mailing, event_id)
    await deliver_due(database, mailing, limit=10)
    (mail,) = postbox.mails_to(ADA)
    token = parse_qs(urlsplit(str(mail["List-Unsubscribe"]).strip("<>")).query)["token"][0]
    for _ in range(2):
        topic_id, fingerprint = read_unsubscribe(token)
        async with database.transaction() as conn:
            await end_follow(conn, topic_id=topic_id, email_fingerprint=fingerprint)
    assert await begin(database, EventId(new_id()), LIGHTS) == 0
    assert await begin(database, EventId(new_id()), NIGHT) == 1
    async with database.connection() as conn:
        assert await (await conn.execute("SELECT count(*) FROM notify.recipients")).fetchone() == (1,)


@pytest.mark.parametrize("change", ["A", "?", "A" * 5_000])
async def test_a_forged_link_ends_nothing(settings: Settings, change: str) -> None:
    token = unsubscribe_link("", topic_id=new_id(), email=ADA).split("token=")[1]
    for forged in (change, change + token, token[:-2] + change, "AAAA" + token[4:]):
        with pytest.raises(NotFound):
            read_unsubscribe(forged)


async def test_an_account_takes_over_what_its_address_followed(database: Database, settings: Settings) -> None:
    await follows(database, NIGHT, ADA)
    person = PersonId(new_id())
    async with database.transaction() as conn:
        seen = await notify.list_follows(conn, person_id=person, email=ADA.upper(), limit=10)
    assert [each.topic for each in seen] == [NIGHT]
    await follows(database, LIGHTS, ADA, person)
    event_id = EventId(new_id())
    await begin(database, event_id, NIGHT, LIGHTS)
    await tell(database, settings, event_id)
    assert {(row[1], row[2]) for row in await told(database)} == {(person, "email"), (person, "inbox")}
    async with database.transaction() as conn:
        await notify.forget_follows(conn, person)
        assert await notify.list_follows(conn, person_id=person, email=ADA, limit=10) == []


async def test_follows_are_bounded_and_paged(database: Database) -> None:
    person = PersonId(new_id())
    topics = [notify.Topic(notify.TopicKind.PRODUCT, f"p{n}", f"P {n}", f"/products/p{n}") for n in range(5)]
    for topic in topics[:4]:
        await follows(database, topic, ADA, person)
    with pytest.raises(notify.FollowsFull):
        async with database.transaction() as conn:
            await notify.follow(conn, topic=topics[4], email=ADA, locale="", most=4, person_id=person)
    async with database.connection() as conn:
        first = await notify.list_follows(conn, person_id=person, email=ADA, limit=3)
        rest = await notify.list_follows(conn, person_id=person, email=ADA, limit=3, after=first[-1].topic_id)
    assert [each.topic for each in [*first, *rest]] == topics[3::-1]


async def test_two_who_follow_at_once_become_one_recipient(database: Database) -> None:
    person = PersonId(new_id())
    await asyncio.gather(
        *(follows(database, NIGHT, ADA, person) for _ in range(3)), *(follows(database, NIGHT, ADA) for _ in range(3))
    )
    async with database.connection() as conn:
        found = await conn.execute("SELECT recipient_id, has_inbox FROM notify.recipients")
        assert await found.fetchall() == [(person, True)]
        assert await (await conn.execute("SELECT count(*) FROM notify.follows")).fetchone() == (1,)


async def test_many_people_follow_at_once_from_several_tabs_each(database: Database) -> None:
    people = [(PersonId(new_id()), f"buyer{number}@example.com") for number in range(40)]
    for person, email in people:
        await asyncio.gather(*(follows(database, NIGHT, email, person) for _ in range(4)))
    async with database.connection() as conn:
        found = await conn.execute("SELECT recipient_id FROM notify.recipients")
        assert {row[0] for row in await found.fetchall()} == {person for person, _ in people}


async def test_what_is_long_told_is_removed(database: Database, settings: Settings) -> None:
    await follows(database, NIGHT, ADA)
    await follows(database, LIGHTS, "keeps@example.com")
    event_id = EventId(new_id())
    await begin(database, event_id, NIGHT)
    await tell(database, settings, event_id)
    async with database.transaction() as conn:
        assert await delete_spent(conn, keep_days=1, limit=10) == 0
        for table, column in (("follows", "told_at"), ("sends", "finished_at"), ("recipients", "created_at")):
            await conn.execute(f"UPDATE notify.{table} SET {column} = {column} - interval '2 days'")
        assert await delete_spent(conn, keep_days=1, limit=10) == 1
        found = await conn.execute("SELECT count(*) FROM notify.recipients")
        assert await found.fetchone() == (1,)


async def test_what_waits_to_be_sent_is_withdrawn_when_it_is_stopped(
    database: Database, mailing: Settings, postbox: Postbox
) -> None:
    person = PersonId(new_id())
    await follows(database, NIGHT, ADA, person)
    await follows(database, LIGHTS, ADA, person)
    await follows(database, NIGHT, "guest@example.com")
    night, lights = EventId(new_id()), EventId(new_id())
    await begin(database, night, NIGHT)
    await begin(database, lights, LIGHTS)
    for event_id in (night, lights):
        await tell(database, mailing, event_id)
    guest = unsubscribe_link("", topic_id=await topic_id_of(database, NIGHT), email="guest@example.com")
    topic_id, fingerprint = read_unsubscribe(guest.split("token=")[1])
    async with database.transaction() as conn:
        await end_follow(conn, topic_id=topic_id, email_fingerprint=fingerprint)
        assert await notify.unfollow(conn, kind=LIGHTS.kind, key=LIGHTS.key, person_id=person, email=ADA)
    assert (await deliver_due(database, mailing, limit=10)).taken == 1
    assert postbox.mails_to("guest@example.com") == []
    assert len(postbox.mails_to(ADA)) == 1


async def topic_id_of(database: Database, topic: notify.Topic) -> UUID:
    async with database.connection() as conn:
        found = await conn.execute(
            "SELECT topic_id FROM notify.topics WHERE kind = %s AND key = %s", (topic.kind, topic.key)
        )
        row = await found.fetchone()
    assert row is not None
    return UUID(str(row[0]))


async def test_sends_and_their_messages_wait_in_the_lane_for_many(database: Database, settings: Settings) -> None:
    make_app(settings)
    for number in range(3):
        await follows(database, NIGHT, f"f{number}@example.com")
    event_id = EventId(new_id())
    await begin(database, event_id, NIGHT)
    async with database.connection() as conn:
        await conn.execute("UPDATE notify.sends SET due_at = clock_timestamp() - interval '1 minute'")
    many = settings.model_copy(update={"follows": settings.follows.model_copy(update={"batch": 2, "bulk_from": 3})})
    await sweep(database, many)
    assert (lane_depths()[RECEIPTS], lane_depths()[BULK]) == (0, 1), "the send goes on"
    assert await tell_followers(database, many, event_id=event_id) == 3
    assert (lane_depths()[RECEIPTS], lane_depths()[BULK]) == (0, 3), "a task for each shard"
    assert await work_on_shard(database, many, event_id=event_id, shard_no=1) == 0, "no inboxes, two mails that wait"
    assert (lane_depths()[RECEIPTS], lane_depths()[BULK]) == (0, 4), "a task for a batch of its mails"
    async with database.connection() as conn:
        await conn.execute("UPDATE notify.send_shards SET due_at = clock_timestamp() - interval '1 hour'")
    await sweep(database, many)
    assert (lane_depths()[RECEIPTS], lane_depths()[BULK]) == (0, 6), "what was left lying is handed out again"
