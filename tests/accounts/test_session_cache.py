"""Sessions looked up together: as the database says, however cold, slow or absent Valkey is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Protocol

import psycopg
import pytest
import redis
from pydantic import SecretStr

from tests.guests import make_guest
from tests.logs import CaughtLogs, caught_logs
from tests.statements import statements
from tests.waiting import eventually
from tidegate import accounts
from tidegate.accounts import Role, Sessions, SignedIn
from tidegate.platform.attempts import Bucket, Limit
from tidegate.platform.database import Database, open_database
from tidegate.platform.embedded.ports import free_port
from tidegate.platform.problems import Overloaded, TooManyRequests
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio


class OpenSessions(Protocol):
    async def __call__(self, *, settings: Settings | None = None, database: Database | None = None) -> Sessions:
        """The sessions of one more process."""


@pytest.fixture
async def open_sessions(database: Database, settings: Settings) -> AsyncIterator[OpenSessions]:
    async with AsyncExitStack() as stack:

        async def open_more(*, settings: Settings = settings, database: Database = database) -> Sessions:
            valkey = await stack.enter_async_context(
                redis.asyncio.Redis.from_url(settings.require_valkey_url(), socket_timeout=0.2)
            )
            return await stack.enter_async_context(accounts.open_sessions(database, settings, valkey=valkey))

        yield open_more  # type: ignore[misc]


@pytest.fixture
async def sessions(open_sessions: OpenSessions) -> Sessions:
    return await open_sessions()


@pytest.fixture
def valkey(valkey_url: str) -> redis.Redis:
    return redis.Redis.from_url(valkey_url)


def changed(settings: Settings, **update: Any) -> Settings:
    return settings.model_copy(update={"accounts": settings.accounts.model_copy(update=update)})


async def guest(database: Database) -> SignedIn:
    async with database.transaction() as conn:
        return await make_guest(conn)


async def execute(database: Database, statement: str) -> None:
    async with database.connection() as conn:
        await conn.execute(statement)


async def test_a_session_is_the_one_that_the_database_knows(database: Database, sessions: Sessions) -> None:
    made = [await guest(database) for _ in range(3)]
    for _ in range(3):
        assert [await sessions.find(one.token) for one in made] == [one.person for one in made]
        assert await sessions.find("x" * 43) is None
        assert await sessions.find("\ud800") is None


async def test_many_at_once_are_told_apart(database: Database, sessions: Sessions) -> None:
    made = [await guest(database) for _ in range(40)]
    for _ in range(3):
        found = await asyncio.gather(
            *(sessions.find(one.token) for one in made),
            *(sessions.find_buyer(one.token) for one in made),
            *(sessions.find_buyer(f"forged-{n}" * 5) for n in range(40)),
        )
        assert found == [one.person for one in made] * 2 + [None] * 40


async def test_every_role_comes_back_from_valkey(database: Database, sessions: Sessions, valkey: redis.Redis) -> None:
    for role in Role:
        made = await guest(database)
        await execute(database, "ALTER TABLE accounts.people DROP CONSTRAINT IF EXISTS people_check1")
        await execute(database, f"UPDATE accounts.people SET role = '{role}' WHERE id = '{made.person.id}'")
        assert (await sessions.find(made.token)) == accounts.Person(made.person.id, role)
        await execute(database, "DELETE FROM accounts.sessions")
        assert (await sessions.find(made.token)) == accounts.Person(made.person.id, role)


async def test_what_is_known_costs_the_database_nothing_and_expires(
    database: Database, sessions: Sessions, valkey: redis.Redis
) -> None:
    made = await guest(database)
    assert await sessions.find(made.token) == made.person
    await execute(database, "UPDATE accounts.sessions SET expires_at = clock_timestamp() + interval '5 seconds'")
    assert await sessions.find(made.token) == made.person
    (key,) = valkey.keys("session:*")
    assert 50_000 < valkey.pttl(key) <= 60_000
    valkey.flushall()
    assert await sessions.find(made.token) == made.person
    assert await sessions.find("x" * 43) is None
    assert 0 < valkey.pttl(key) <= 5_000  # no longer than the session itself
    assert made.token.encode() not in key
    assert len(valkey.keys("*")) == 1  # what is nobody's session leaves nothing behind


async def test_use_is_written_down_now_and_then(database: Database, sessions: Sessions) -> None:
    made = [await guest(database) for _ in range(3)]
    await execute(database, "UPDATE accounts.sessions SET seen_at = seen_at - interval '13 days'")
    await asyncio.gather(*(sessions.find(one.token) for one in made))
    async with database.connection() as conn:
        rows = await conn.execute(
            "SELECT count(*) FROM accounts.sessions WHERE seen_at > clock_timestamp() - interval '1 minute'"
        )
        assert await rows.fetchone() == (3,)


async def test_signing_out_ends_a_session_in_every_process(
    database: Database, sessions: Sessions, open_sessions: OpenSessions
) -> None:
    other_process = await open_sessions()
    made, bystander = await guest(database), await guest(database)
    for one in (sessions, other_process):
        assert await one.find(made.token) == made.person
    await other_process.end(made.token)
    await other_process.end("never was, and is not missed")
    for one in (sessions, other_process):
        assert await one.find(made.token) is None
        assert await one.find_buyer(made.token) is None
        assert await one.find(bystander.token) == bystander.person
    async with database.connection() as conn:
        assert await accounts.find_person(conn, token=made.token) is None


async def test_a_look_up_that_began_before_cannot_put_an_ended_session_back(
    database: Database, settings: Settings, sessions: Sessions, open_sessions: OpenSessions
) -> None:
    made = await guest(database)
    narrow = settings.model_copy(update={"database": settings.database.model_copy(update={"pool_max": 1})})
    async with open_database(narrow) as its_database, database.transaction() as locker, AsyncExitStack() as busy:
        racing = await open_sessions(database=its_database)
        await busy.enter_async_context(its_database.connection())
        look_up = asyncio.create_task(racing.find(made.token))
        await eventually(lambda: its_database._pool.get_stats().get("requests_waiting"))  # it has asked Valkey
        await locker.execute("SELECT 1 FROM accounts.sessions FOR UPDATE")
        ending = asyncio.create_task(sessions.end(made.token))
        await eventually(lambda: waiting_for_locks(database))
        assert await sessions.find(made.token) is None  # marked already, while the database still waits
        await busy.aclose()
        assert await look_up == made.person  # it began before, and the database says so
        assert await racing.find(made.token) is None
    await ending
    assert await racing.find(made.token) is None
    assert await sessions.find(made.token) is None


async def waiting_for_locks(database: Database) -> int:
    async with database.connection() as conn:
        row = await (
            await conn.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
        ).fetchone()
    assert row is not None
    return int(row[0])


async def test_a_cold_valkey_does_not_stampede_the_database(database: Database, sessions: Sessions) -> None:
    made = [await guest(database) for _ in range(100)]
    async with database.connection() as conn, conn.transaction():
        await conn.execute("LOCK TABLE accounts.sessions IN ACCESS EXCLUSIVE MODE")
        looking = [asyncio.create_task(sessions.find(one.token)) for one in made]
        await eventually(lambda: waiting_for_locks(database))
        assert await waiting_for_locks(database) == 1
    assert await asyncio.gather(*looking) == [one.person for one in made]


async def test_without_valkey_everything_works_and_one_line_says_so(
    database: Database, settings: Settings, open_sessions: OpenSessions
) -> None:
    away = settings.model_copy(update={"valkey_url": SecretStr(f"redis://127.0.0.1:{free_port()}")})
    with caught_logs(settings) as logs:
        sessions = await open_sessions(settings=changed(away, purchase_requests_per_minute=1))
        made = await guest(database)
        for _ in range(3):
            assert await sessions.find(made.token) == made.person
            assert await sessions.find_buyer(made.token, most(0, "any")) == made.person  # the limits fail open
            new = await sessions.make_guest()
            assert await sessions.find(new.token) == new.person
        await sessions.end(made.token)
        assert await sessions.find(made.token) is None
        assert [line["use"] for line in logs.events("valkey_is_away")] == ["sessions", "guests"]


async def test_a_valkey_that_hangs_is_not_waited_for(
    database: Database, settings: Settings, open_sessions: OpenSessions, valkey: redis.Redis
) -> None:
    with caught_logs(settings) as logs:
        sessions = await open_sessions(settings=changed(settings, session_cache_timeout_ms=50))
        made, other = await guest(database), await guest(database)
        assert await sessions.find(made.token) == made.person
        valkey.client_pause(60_000, all=False)  # scripts hang, since they may write
        try:
            found = await asyncio.wait_for(asyncio.gather(*[sessions.find(made.token)] * 50), 5)
            assert found == [made.person] * 50
            assert len(logs.events("valkey_is_away")) == 1
        finally:
            valkey.client_unpause()
        await eventually(lambda: back(sessions, other, logs))
        assert await sessions.find(made.token) == made.person


async def back(sessions: Sessions, one: SignedIn, logs: CaughtLogs) -> bool:
    assert await sessions.find(one.token) == one.person
    return len(logs.events("valkey_is_back")) == 1


async def test_a_connection_that_valkey_closed_is_made_again(
    database: Database, settings: Settings, sessions: Sessions, valkey: redis.Redis
) -> None:
    made = await guest(database)
    with caught_logs(settings) as logs:
        for _ in range(3):
            assert await sessions.find(made.token) == made.person
            valkey.client_kill_filter(_type="normal", skipme=True)
            valkey.script_flush()
        assert logs.events("valkey_is_away") == []


async def test_a_database_that_is_away_fails_only_those_whom_valkey_does_not_know(
    database: Database, sessions: Sessions
) -> None:
    known, unknown = await guest(database), await guest(database)
    assert await sessions.find(known.token) == known.person
    await execute(database, "ALTER TABLE accounts.sessions RENAME TO gone")
    try:
        found = await asyncio.gather(sessions.find(known.token), sessions.find(unknown.token), return_exceptions=True)
        assert found[0] == known.person
        assert isinstance(found[1], psycopg.errors.UndefinedTable)
    finally:
        await execute(database, "ALTER TABLE accounts.gone RENAME TO sessions")
    assert await sessions.find(unknown.token) == unknown.person


async def test_what_somebody_else_wrote_into_valkey_is_not_believed(
    database: Database, sessions: Sessions, valkey: redis.Redis
) -> None:
    made = await guest(database)
    assert await sessions.find(made.token) == made.person
    (key,) = valkey.keys("session:*")
    for nonsense in (b"", b"x" * 17, b"g", b"a" * 18, b"\xff" * 17):
        valkey.set(key, nonsense)
        assert await sessions.find_buyer(made.token) == made.person


async def test_too_many_purchases_of_one_session_are_refused_until_the_window_ends(
    database: Database, settings: Settings, open_sessions: OpenSessions, valkey: redis.Redis
) -> None:
    sessions = await open_sessions(settings=changed(settings, purchase_requests_per_minute=3))
    greedy, other = await guest(database), await guest(database)
    for _ in range(3):
        assert await sessions.find_buyer(greedy.token) == greedy.person
    answers = await asyncio.gather(*(sessions.find_buyer(greedy.token) for _ in range(5)), return_exceptions=True)
    for answer in answers:
        assert isinstance(answer, TooManyRequests)
        assert answer.retry_after_s is not None
        assert 50 <= answer.retry_after_s <= 60
    assert await sessions.find(greedy.token) == greedy.person  # looking is free
    assert await sessions.find_buyer(other.token) == other.person
    for key in valkey.keys("session-requests:*"):
        assert 0 < valkey.ttl(key) <= 60
    valkey.delete(*valkey.keys("session-requests:*"))  # as the end of the window does
    assert await sessions.find_buyer(greedy.token) == greedy.person


async def test_guests_who_come_together_are_made_together(
    database: Database, sessions: Sessions, open_sessions: OpenSessions
) -> None:
    with statements() as sent:
        made = await asyncio.gather(*(sessions.make_guest() for _ in range(200)))
    assert len([each for each in sent if "INTO accounts.people" in each]) <= 3, "the first, and the rest"
    assert {one.person.role for one in made} == {Role.GUEST}
    assert len({one.token for one in made}) == len({one.person.id for one in made}) == 200
    other_process = await open_sessions()
    with statements() as sent:
        assert await asyncio.gather(*(other_process.find(one.token) for one in made)) == [one.person for one in made]
    assert sent == [], "Valkey knows them at once"
    async with database.connection() as conn:
        found = [await accounts.find_person(conn, token=one.token) for one in made[:5]]
    assert found == [one.person for one in made[:5]]


async def test_a_guest_who_has_ended_the_session_is_not_known_any_more(sessions: Sessions) -> None:
    made = await sessions.make_guest()
    await sessions.end(made.token)
    assert await sessions.find(made.token) is None


async def test_guests_whom_the_database_cannot_keep_are_not_told_of(
    database: Database, sessions: Sessions, valkey: redis.Redis
) -> None:
    await execute(database, "ALTER TABLE accounts.sessions RENAME TO gone")
    try:
        made = await asyncio.gather(*(sessions.make_guest() for _ in range(3)), return_exceptions=True)
    finally:
        await execute(database, "ALTER TABLE accounts.gone RENAME TO sessions")
    assert [type(each) for each in made] == [psycopg.errors.UndefinedTable] * 3
    assert valkey.keys("session:*") == []
    async with database.connection() as conn:
        assert await (await conn.execute("SELECT count(*) FROM accounts.people")).fetchone() == (0,)
    made_later = await sessions.make_guest()
    assert await sessions.find(made_later.token) == made_later.person


def most(number: int, *names: str) -> Limit:
    return Limit(tuple(Bucket(name, number) for name in names), words=lambda seconds: f"full for {seconds} s")


async def test_a_full_bucket_refuses_those_alone_who_asked_for_it_and_counts_nothing(
    database: Database, settings: Settings, open_sessions: OpenSessions, valkey: redis.Redis
) -> None:
    sessions = await open_sessions(settings=changed(settings, purchase_requests_per_minute=100))
    valkey.set("full", 3, ex=20_000)  # more seconds than four digits hold
    valkey.set("fuller", 9, ex=30_000)
    valkey.set("nonsense", "x")
    made = [await guest(database) for _ in range(6)]
    limits = (most(3, "full"), most(4, "full"), None, most(3, "empty", "fuller"), most(1, "nonsense"), most(1, "none"))
    for _ in range(2):  # sessions that Valkey does not know, and then such that it does
        answers = await asyncio.gather(
            *(sessions.find_buyer(one.token, limit) for one, limit in zip(made, limits, strict=True)),
            sessions.find_buyer("x" * 43, most(3, "full")),
            sessions.find(made[0].token),
            return_exceptions=True,
        )
        refused = {place: answer for place, answer in enumerate(answers) if isinstance(answer, TooManyRequests)}
        assert sorted(refused) == [0, 3]
        for place, seconds in ((0, 20_000), (3, 30_000)):
            wait_s = refused[place].retry_after_s
            assert wait_s is not None
            assert seconds - 60 <= wait_s <= seconds
            assert str(refused[place].detail) == f"full for {wait_s} s"
        expected = [one.person for one in made] + [None, made[0].person]
        assert [found for place, found in enumerate(answers) if place not in refused] == [
            person for place, person in enumerate(expected) if place not in refused
        ]
    assert valkey.get("full") == b"3"
    assert valkey.exists("empty", "none") == 0


async def test_no_limit_counts_nothing(
    database: Database, settings: Settings, open_sessions: OpenSessions, valkey: redis.Redis
) -> None:
    sessions = await open_sessions(settings=changed(settings, purchase_requests_per_minute=0))
    made = await guest(database)
    for _ in range(5):
        assert await sessions.find_buyer(made.token) == made.person
    assert valkey.keys("session-requests:*") == []


async def test_at_the_end_nobody_is_left_waiting(database: Database, settings: Settings, valkey_url: str) -> None:
    made = await guest(database)
    async with (
        redis.asyncio.Redis.from_url(valkey_url) as client,
        accounts.open_sessions(database, settings, valkey=client) as sessions,
    ):
        looking = asyncio.gather(*(sessions.find(made.token) for _ in range(5)))
        await asyncio.sleep(0)
    assert await looking == [made.person] * 5
    with pytest.raises(Overloaded):
        await sessions.find(made.token)
