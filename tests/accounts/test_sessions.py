"""Sessions: a token is known to its owner only, and ends when it should."""

from __future__ import annotations

import pytest

from tests.guests import make_guest
from tidegate import accounts
from tidegate.accounts import Role, SignedIn
from tidegate.platform.database import Database

pytestmark = pytest.mark.anyio


async def guest(database: Database) -> SignedIn:
    async with database.transaction() as conn:
        return await make_guest(conn)


async def person_of(database: Database, token: str) -> accounts.Person | None:
    async with database.connection() as conn:
        return await accounts.find_person(conn, token=token)


async def age(database: Database, column: str, interval: str) -> None:
    async with database.connection() as conn:
        await conn.execute(f"UPDATE accounts.sessions SET {column} = {column} - %s::interval", (interval,))


async def test_a_guest_is_known_by_the_token_and_by_nothing_else(database: Database) -> None:
    made = await guest(database)
    assert made.person.role == Role.GUEST
    assert await person_of(database, made.token) == made.person
    for other in (made.token[:-1], made.token + "x", made.token.upper(), "", "\0", "\ud800", "x" * 10_000):
        assert await person_of(database, other) is None


async def test_the_database_does_not_know_the_token(database: Database) -> None:
    made = await guest(database)
    async with database.connection() as conn:
        rows = await (
            await conn.execute("SELECT s::text || p::text FROM accounts.sessions s, accounts.people p")
        ).fetchall()
    assert rows
    assert all(made.token not in row[0] for row in rows)
    assert made.token not in repr(made)
    assert (await guest(database)).token != made.token


@pytest.mark.parametrize(
    ("column", "live", "over"), [("expires_at", "29 days", "1 day"), ("seen_at", "13 days", "1 day")]
)
async def test_a_session_ends_by_age_and_by_disuse(database: Database, column: str, live: str, over: str) -> None:
    made = await guest(database)
    await age(database, column, live)
    if column == "expires_at":
        assert await person_of(database, made.token) == made.person
    await age(database, column, over)
    assert await person_of(database, made.token) is None


async def test_use_keeps_a_session_and_is_written_down_now_and_then(database: Database) -> None:
    made = await guest(database)

    async def seen_s() -> float:
        async with database.connection() as conn:
            row = await (
                await conn.execute(
                    "SELECT extract(epoch FROM clock_timestamp() - seen_at)::float8 FROM accounts.sessions"
                )
            ).fetchone()
        assert row is not None
        return float(row[0])

    await age(database, "seen_at", "4 minutes")
    await person_of(database, made.token)
    assert await seen_s() > 239
    await age(database, "seen_at", "13 days")
    assert await person_of(database, made.token) == made.person
    assert await seen_s() < 30


async def test_signing_out_ends_this_session_only(database: Database) -> None:
    first, other = await guest(database), await guest(database)
    async with database.transaction() as conn:
        await accounts.sign_out(conn, token=first.token)
        await accounts.sign_out(conn, token=first.token)
        await accounts.sign_out(conn, token="never was")
    assert await person_of(database, first.token) is None
    assert await person_of(database, other.token) == other.person


async def test_ended_sessions_are_removed_and_live_ones_kept(database: Database) -> None:
    old = [await guest(database) for _ in range(3)]
    await age(database, "expires_at", "32 days")
    live = await guest(database)
    async with database.transaction() as conn:
        assert await accounts.delete_ended_sessions(conn, limit=2) == 2
        assert await accounts.delete_ended_sessions(conn, limit=2) == 1
        assert await accounts.delete_ended_sessions(conn, limit=2) == 0
    assert await person_of(database, live.token) == live.person
    assert len(old) == 3
