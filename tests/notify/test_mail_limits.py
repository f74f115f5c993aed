"""What mail servers put up with: moods, quotas, and how long a send takes at them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
import pytest
import redis.asyncio
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from benchmarks.followers import add_followers, email_of
from tests.notify.conftest import with_mail
from tests.notify.moody_server import Mood, MoodyServer, open_moody_server
from tests.notify.telling import tell
from tests.waiting import eventually
from tidegate import notify
from tidegate.notify.adapters import MAIL
from tidegate.notify.deliveries import deliver_shard
from tidegate.notify.dialogue import stuffed
from tidegate.notify.outcomes import Delivery, Failure, note_failed
from tidegate.notify.providers import Grant, Provider, provider_of
from tidegate.notify.shards import finish_send
from tidegate.notify.slowing import FORGOTTEN_S, LEAST_PER_S, Bucket, Cap, complains, estimate_s
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, new_id
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

CROWD = 30


@pytest.fixture
async def moody() -> AsyncIterator[MoodyServer]:
    """A mail server with moods."""
    async with open_moody_server() as server:
        yield server


@pytest.fixture
def mailing(settings: Settings, moody: MoodyServer) -> Settings:
    """Settings of a shop that mails to it."""
    return with_mail(settings, smtp_url=moody.url, sender="shop@shop.example", timeout_s=1, lease_s=4, connections=4)


@dataclass(frozen=True, slots=True)
class Begun:
    """A send by mail whose mails wait."""

    database: Database
    event_id: EventId

    async def deliver(self, settings: Settings) -> int:
        """A task's batch."""
        return await deliver_shard(self.database, settings, event_id=self.event_id, shard_no=1)

    async def now(self, settings: Settings | None = None) -> notify.Progress:
        """How far it is."""
        await finish_send(self.database, event_id=self.event_id)
        async with self.database.connection() as conn:
            limits = None if settings is None else settings.mail
            (send,) = await notify.list_sends(conn, limit=1, event_id=self.event_id, limits=limits)
        return send.progress

    async def rows(self) -> list[tuple[str, int, str]]:
        """State, attempts and last error of each mail, sorted."""
        async with self.database.connection() as conn:
            found = await conn.execute("SELECT state, attempts, coalesce(last_error, '') FROM notify.deliveries")
            return sorted((row[0], row[1], row[2]) for row in await found.fetchall())

    async def make_due(self) -> None:
        """Let pauses and leases be over."""
        async with self.database.connection() as conn:
            await conn.execute("UPDATE notify.deliveries SET next_attempt_at = clock_timestamp() - interval '1 s'")


async def begin(database: Database, settings: Settings, *, key: str = "lamps", variables: bool = True) -> Begun:
    event_id = EventId(new_id())
    async with database.transaction() as conn:
        (topic,) = await notify.find_followed(conn, topics={notify.TopicKind.COLLECTION: [key]})
        words = {"title": "Lamps", "url": "http://127.0.0.1:8000/drops/lamps"} if variables else {"title": "Lamps"}
        channels = (notify.Channel.EMAIL,)
        await notify.begin_send(
            conn, event_id=event_id, topic=topic, template="drop_open", variables=words, channels=channels
        )
    await tell(database, settings, event_id)
    return Begun(database, event_id)


def add_crowd(settings: Settings, count: int = CROWD, *, own_addresses: bool = True) -> None:
    with psycopg.connect(settings.require_database_url(), autocommit=True) as conn:
        add_followers(conn, kind="collection", key="lamps", count=count, own_addresses=own_addresses)


@pytest.fixture
async def begun(database: Database, mailing: Settings) -> Begun:
    """A send to a crowd."""
    add_crowd(mailing)
    return await begin(database, mailing)


@pytest.mark.parametrize("pipelining", [True, False])
async def test_a_send_reaches_everybody_once_over_few_connections(
    begun: Begun, mailing: Settings, moody: MoodyServer, pipelining: bool
) -> None:
    moody.pipelining = pipelining
    assert await begun.deliver(mailing) == CROWD
    assert moody.taken == dict.fromkeys((email_of("lamps", number) for number in range(CROWD)), 1)
    assert moody.connections <= 4
    assert b"\r\nList-Unsubscribe: <http" in moody.messages[0]
    assert (await begun.now()).over


@given(st.lists(st.sampled_from((".", "..", "", "a", ".a", "QUIT")), max_size=8), st.booleans())
def test_lines_that_begin_with_dots_arrive_and_end_nothing(lines: list[str], ended: bool) -> None:
    message = "\r\n".join(lines) + ("\r\n" if ended else "")
    sent = stuffed(message.encode()).decode()
    assert sent.endswith("\r\n.\r\n") or sent == ".\r\n"
    *heard, dot, rest = sent.split("\r\n")
    assert (dot, rest) == (".", "")
    assert "." not in heard
    assert [line.removeprefix(".") for line in heard] == message.removesuffix("\r\n").split("\r\n")[: len(heard)]


async def test_a_server_that_drops_after_the_mail_leaves_doubt_which_is_counted(
    begun: Begun, mailing: Settings, moody: MoodyServer
) -> None:
    moody.mood = Mood.DROPS_AFTER_DATA
    alone_at_once = with_mail(mailing, breaker_failures=3)
    await begun.deliver(alone_at_once)
    repeated = moody.seen.total()
    assert 3 <= repeated <= 8, "then it is left alone"
    assert moody.taken.total() == 0
    moody.mood = Mood.WELL
    await begun.make_due()
    await begun.deliver(mailing)
    done = await begun.now()
    assert (done.over, done.delivered, done.doubtful) == (True, CROWD, repeated)
    assert moody.taken.total() == CROWD


async def test_a_server_that_drops_before_the_mail_leaves_no_doubt(
    begun: Begun, mailing: Settings, moody: MoodyServer
) -> None:
    moody.mood = Mood.DROPS_BEFORE_DATA
    await begun.deliver(mailing)
    moody.mood = Mood.WELL
    await begun.make_due()
    await begun.deliver(with_mail(mailing, connections=3))
    done = await begun.now()
    assert (done.over, done.delivered, done.doubtful) == (True, CROWD, 0)


async def test_a_hanging_server_is_left_in_time_and_nobody_is_forgotten(
    begun: Begun, mailing: Settings, moody: MoodyServer
) -> None:
    moody.mood = Mood.HANGS
    async with asyncio.timeout(8):
        await begun.deliver(mailing)
    hung = moody.seen.total()
    assert hung <= 8
    assert [attempts for _, attempts, _ in await begun.rows()].count(0) == CROWD - hung
    moody.mood = Mood.WELL
    await begun.make_due()
    await begun.deliver(with_mail(mailing, connections=3))
    done = await begun.now()
    assert (done.over, done.delivered, done.doubtful) == (True, CROWD, hung)


@contextmanager
def nobody_let_in(settings: Settings) -> Iterator[None]:
    """PostgreSQL sends everybody away from this database, and takes no connection, for the length of a block."""
    url = settings.require_database_url()
    name = conninfo_to_dict(url)["dbname"]
    with psycopg.connect(make_conninfo(url, dbname="postgres"), autocommit=True) as conn:
        allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        conn.execute(allow.format(sql.Identifier(str(name)), sql.SQL("false")))
        try:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = %s AND backend_type = 'client backend'",  # autovacuum's are not ours to end
                (name,),
            )
            yield
        finally:
            conn.execute(allow.format(sql.Identifier(str(name)), sql.SQL("true")))


@pytest.mark.parametrize("away_s", [0.0, 1.0])
async def test_what_was_sent_while_postgresql_was_away_is_noted_when_it_is_back(
    database: Database, mailing: Settings, moody: MoodyServer, away_s: float
) -> None:
    crowd, refused = 300, {email_of("lamps", number) for number in range(0, 300, 10)}
    moody.nobodies |= refused
    add_crowd(mailing, crowd)
    begun = await begin(database, mailing)
    patient = with_mail(mailing, lease_s=60)
    task = asyncio.create_task(begun.deliver(patient))
    await eventually(lambda: moody.taken.total() >= crowd // 4)
    with nobody_let_in(mailing):
        assert moody.taken.total() < crowd - len(refused), "in the middle"
        await asyncio.sleep(away_s)
    await task
    await begun.make_due()
    while await begun.deliver(patient):
        pass
    done = await begun.now()
    assert (done.over, done.delivered, done.failed) == (True, crowd - len(refused), len(refused))
    assert set(moody.taken.values()) == {1}, "nobody is told twice"


async def test_failures_that_are_noted_again_or_too_late_change_nothing(
    begun: Begun, database: Database, mailing: Settings
) -> None:
    put_off, refused = Failure("no time left", counts=False, pause_s=0), Failure("550", final=True)
    async with database.connection() as conn:
        await conn.execute("UPDATE notify.deliveries SET attempts = 3")
        found = await conn.execute("SELECT event_id, recipient_id, created_at FROM notify.deliveries LIMIT 2")
        one, other = [
            Delivery(event, person, "email", "drop_open", {}, b"", 3, at, 1, None)
            for event, person, at in await found.fetchall()
        ]
        for _ in range(2):
            await note_failed(conn, mailing, lambda: 0.5, [(one, put_off)])
        await conn.execute("UPDATE notify.deliveries SET attempts = 4 WHERE recipient_id = %s", (other.recipient_id,))
        await note_failed(conn, mailing, lambda: 0.5, [(other, refused)])
    assert [attempts for state, attempts, _ in await begun.rows() if state == "pending"] == [2, *[3] * (CROWD - 2), 4]


@pytest.mark.parametrize("mood", [Mood.UNWELCOMING, Mood.CLOSING])
async def test_a_server_that_is_not_there_costs_no_attempts_and_then_not_even_claims(
    begun: Begun, mailing: Settings, moody: MoodyServer, mood: Mood
) -> None:
    moody.mood = mood
    patient = with_mail(mailing, breaker_failures=2, breaker_pause_s=60, max_attempts=1)
    for _ in range(3):
        await begun.deliver(patient)
        await begun.make_due()
    assert {attempts for _, attempts, _ in await begun.rows()} == {0}
    known = moody.connections, moody.asked
    assert sum(known) <= 16
    assert await begun.deliver(patient) == 0
    assert (moody.connections, moody.asked) == known
    moody.mood = Mood.WELL
    await begun.deliver(mailing)
    assert ((await begun.now()).over, moody.taken.total()) == (True, CROWD)


async def test_a_server_that_was_left_alone_is_asked_with_one_mail(settings: Settings) -> None:
    now_s = 0.0
    worker = Provider(with_mail(settings, breaker_failures=2, breaker_pause_s=15), clock=lambda: now_s)
    worker.silent()
    assert (await worker.ask(10, urgent=False)).mails == 10
    worker.silent()
    assert await worker.ask(10, urgent=True) == Grant(0, 15)
    now_s = 15.0
    assert [(await worker.ask(10, urgent=True)).mails for _ in range(2)] == [1, 0]
    worker.answered(1, busy=0, pace=1)
    assert (await worker.ask(10, urgent=False)).mails == 10


async def test_a_storm_of_later_slows_the_sender_down_and_passes(
    database: Database, mailing: Settings, moody: MoodyServer
) -> None:
    add_crowd(mailing, 300)
    begun = await begin(database, mailing)
    moody.mood = Mood.BUSY
    await begun.deliver(mailing)
    assert 0 < moody.asked < 100, "it was asked less and less"
    assert {state for state, _, _ in await begun.rows()} == {"pending"}
    moody.mood = Mood.WELL
    await begun.make_due()
    await begun.deliver(with_mail(mailing, connections=3))
    done = await begun.now()
    assert (done.over, done.delivered, done.doubtful) == (True, 300, 0)


async def test_one_recipient_who_is_refused_holds_up_nobody_though_data_is_taken(
    begun: Begun, mailing: Settings, moody: MoodyServer
) -> None:
    moody.mood = Mood.REFUSES
    await begun.deliver(mailing)
    assert moody.seen.total() == 0
    assert await begun.rows() == [("failed", 1, "recipient refused (550)")] * CROWD
    assert moody.connections <= 4, "the dialogue went on"


@pytest.mark.parametrize("pipelining", [True, False])
async def test_a_mail_that_is_put_off_once_it_was_handed_over_is_sent_later_without_doubt(
    begun: Begun, mailing: Settings, moody: MoodyServer, pipelining: bool
) -> None:
    moody.pipelining = pipelining
    moody.mood = Mood.PUTS_OFF_MAIL
    await begun.deliver(mailing)
    put_off = moody.seen.total()
    assert put_off > 0 and moody.taken.total() == 0
    tried = [(state, error) for state, attempts, error in await begun.rows() if attempts]
    assert tried == [("pending", "mail refused (451)")] * put_off
    moody.mood = Mood.WELL
    await begun.make_due()
    await begun.deliver(with_mail(mailing, connections=3))
    done = await begun.now()
    assert (done.over, done.delivered, done.failed, done.doubtful) == (True, CROWD, 0, 0)
    assert moody.taken == dict.fromkeys((email_of("lamps", number) for number in range(CROWD)), 1)


@pytest.mark.parametrize("pipelining", [True, False])
async def test_a_mail_that_is_refused_once_it_was_handed_over_fails_for_good(
    begun: Begun, mailing: Settings, moody: MoodyServer, pipelining: bool
) -> None:
    moody.pipelining = pipelining
    moody.mood = Mood.REFUSES_MAIL
    await begun.deliver(mailing)
    assert await begun.rows() == [("failed", 1, "mail refused (554)")] * CROWD
    assert moody.connections <= 4, "the dialogue went on"
    moody.mood = Mood.WELL
    await begun.make_due()
    assert await begun.deliver(mailing) == 0
    done = await begun.now()
    assert (done.over, done.delivered, done.failed, done.doubtful) == (True, 0, CROWD, 0)
    assert moody.seen == dict.fromkeys((email_of("lamps", number) for number in range(CROWD)), 1)


async def test_recipients_without_an_address_and_words_that_cannot_be_written_fail_at_once(
    database: Database, mailing: Settings, moody: MoodyServer
) -> None:
    add_crowd(mailing, own_addresses=False)
    nobody = await begin(database, mailing)
    await nobody.deliver(mailing)
    assert await nobody.rows() == [("failed", 1, "no address")] * CROWD
    assert (await nobody.now()).over
    assert moody.asked == 0


async def test_a_poisoned_template_fails_at_once_for_each(database: Database, mailing: Settings) -> None:
    add_crowd(mailing)
    poisoned = await begin(database, mailing)
    async with database.connection() as conn:
        await conn.execute("UPDATE notify.sends SET variables = variables - 'url' - 'title'")
    await poisoned.deliver(mailing)
    assert {(state, attempts) for state, attempts, _ in await poisoned.rows()} == {("failed", 1)}
    assert (await poisoned.now()).over


def quota(settings: Settings, *, per_s: float, burst: int, **more: object) -> Settings:
    return with_mail(settings, per_s=per_s, burst=burst, smtp_url="smtp://127.0.0.1:2525", **more)


@pytest.fixture
async def valkey(settings: Settings) -> AsyncIterator[redis.asyncio.Redis]:
    """A look into Valkey, which is empty."""
    async with redis.asyncio.Redis.from_url(settings.require_valkey_url()) as client:
        await client.flushdb()
        yield client


async def test_workers_share_a_quota_and_leave_some_to_receipts(
    settings: Settings, valkey: redis.asyncio.Redis
) -> None:
    limited = quota(settings, per_s=0.01, burst=40)
    await valkey.hset(MAIL.quota_key(limited), mapping={"tokens": 40, "at": 0})
    workers = [Provider(limited) for _ in range(4)]
    grants = await asyncio.gather(*(worker.ask(15, urgent=False) for worker in workers))
    assert sum(grant.mails for grant in grants) == 32
    assert next(grant.wait_s for grant in grants if not grant.mails) > 1
    assert (await workers[0].ask(15, urgent=True)).mails == 8
    workers[1].give_back(3)
    assert (await workers[1].ask(15, urgent=True)).mails == 3, "what was not needed is not lost"
    for worker in workers:
        await worker.close()


async def test_a_flushed_valkey_doubles_no_quota_and_one_that_is_away_leaves_a_share(
    settings: Settings, valkey: redis.asyncio.Redis
) -> None:
    worker = Provider(quota(settings, per_s=0.01, burst=40))
    await valkey.flushdb()
    assert (await worker.ask(15, urgent=True)).mails == 1
    assert (await worker.ask(15, urgent=True)).mails == 0
    await worker.close()
    now_s = 0.0
    away = quota(settings, per_s=100, burst=40, local_share=0.25)
    away = away.model_copy(update={"valkey_url": SecretStr("redis://127.0.0.1:1")})
    alone = Provider(away, clock=lambda: now_s)
    assert (await alone.ask(15, urgent=False)).mails == 1
    now_s = 0.2
    assert (await alone.ask(15, urgent=False)).mails == 5, "a quarter of 100 a second"
    now_s = 60.0
    assert (await alone.ask(15, urgent=False)).mails == 10, "a quarter of the burst"
    await alone.close()


async def test_a_send_keeps_to_the_quota_and_says_how_long_that_takes(
    begun: Begun, mailing: Settings, moody: MoodyServer, valkey: redis.asyncio.Redis
) -> None:
    limited = with_mail(mailing, per_s=0.05, burst=12)
    await valkey.hset(MAIL.quota_key(limited), mapping={"tokens": 12, "at": 0})
    assert await begun.deliver(limited) == 10, "a fifth is left"
    assert moody.taken.total() == 10
    assert {attempts for state, attempts, _ in await begun.rows() if state == "pending"} == {0}, (
        "nobody else is claimed"
    )
    async with begun.database.connection() as conn:
        row = await (await conn.execute("SELECT due_at > clock_timestamp() FROM notify.send_shards")).fetchone()
    assert row == (True,), "and it is not handed out before there is something to take"
    left_s = (await begun.now(limited)).left_s
    assert left_s is not None
    assert left_s >= (CROWD - 10 - 12) / 0.05
    await provider_of(begun.database, limited).close()


@given(st.floats(1, 1000), st.integers(1, 500), st.lists(st.tuples(st.floats(0, 5), st.integers(1, 300)), max_size=30))
def test_a_bucket_gives_what_came_together_and_no_more(
    per_s: float, burst: int, asked: list[tuple[float, int]]
) -> None:
    bucket, now_s, given_away = Bucket(), 0.0, 0
    for pause_s, wanted in asked:
        now_s += pause_s
        taken = bucket.take(wanted, per_s=per_s, burst=burst, now_s=now_s)
        assert 0 <= taken <= min(wanted, burst)
        assert taken == wanted or bucket.tokens < 1
        given_away += taken
        assert given_away <= 1 + per_s * now_s + 1e-6


@given(st.lists(st.tuples(st.floats(0, 60), st.floats(0, 10_000)), min_size=1, max_size=20))
def test_complaints_lower_the_pace_and_silence_raises_it(complaints: list[tuple[float, float]]) -> None:
    cap, now_s = Cap(), 0.0
    for pause_s, pace in complaints:
        now_s += pause_s
        before = cap.at(now_s)
        cap = cap.lowered(now_s=now_s, pace=pace)
        assert cap.at(now_s) <= max(before, LEAST_PER_S)
    assert cap.at(now_s) >= LEAST_PER_S
    assert cap.at(now_s + 10) >= cap.at(now_s)
    assert cap.at(now_s + FORGOTTEN_S + 1) == math.inf


def test_one_greylisted_recipient_is_no_complaint() -> None:
    assert not complains(taken=40, busy=3)
    assert not complains(taken=0, busy=0)
    assert complains(taken=1, busy=9)


@pytest.mark.parametrize(("mails", "seconds"), [(0, 0), (100, 0), (25_300, 2_520)])
def test_an_estimate_is_what_the_quota_leaves(mails: int, seconds: float) -> None:
    assert estimate_s(mails, per_s=10, burst=100) == seconds
    assert estimate_s(mails, per_s=0, burst=100) is None
