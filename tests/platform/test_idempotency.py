"""Keys in the database: written with what they stand for, answered once, found again to the letter."""

from __future__ import annotations

import asyncio

import pytest
from psycopg.errors import UniqueViolation

from tests.rows_read import rows_read
from tidegate.platform.database import Database
from tidegate.platform.idempotency import (
    CAREFUL_S,
    CROWD,
    Claim,
    ClaimState,
    KeyDesk,
    KeyRecord,
    RequestKey,
    StoredAnswer,
    fingerprint,
    finish_keys,
    finish_subjects,
    in_flight,
    is_race,
    look_up,
    record_keys,
)
from tidegate.platform.ids import PersonId, new_id

BUYER = PersonId(new_id())


def key(name: str, *, buyer: PersonId = BUYER, body: object = None) -> RequestKey:
    return RequestKey(buyer, name, fingerprint("/x", body))


async def found(database: Database, *keys: RequestKey) -> list[Claim]:
    async with database.transaction() as conn:
        return await (await look_up(conn, keys)).claims()


async def record(database: Database, *records: KeyRecord) -> None:
    async with database.transaction() as conn:
        await record_keys(conn, records)


async def test_the_life_of_a_key(database: Database) -> None:
    subject = new_id()
    assert await found(database, key("a")) == [Claim(ClaimState.NEW)]
    await record(database, KeyRecord(key("a"), subject_id=subject))
    assert await found(database, key("a")) == [Claim(ClaimState.IN_FLIGHT)]
    assert await found(database, key("a", body={"other": 1})) == [Claim(ClaimState.REUSED)]
    answer = StoredAnswer(201, b'{ "to": "the letter",  "n":1 }')
    async with database.transaction() as conn:
        await finish_keys(conn, {key("a"): answer})
        await finish_keys(conn, {key("a"): StoredAnswer(409, b"{}")})
    assert await found(database, key("a")) == [Claim(ClaimState.ANSWERED, answer)], "the first answer stays"


async def test_a_decision_is_final_at_once(database: Database) -> None:
    answer = StoredAnswer.of(409, {"type": "/problems/sold-out"})
    await record(database, KeyRecord(key("a"), answer=answer))
    assert await found(database, key("a")) == [Claim(ClaimState.ANSWERED, answer)]


async def test_keys_belong_to_their_buyer_and_twins_of_a_batch_are_seen(database: Database) -> None:
    other = key("a", buyer=PersonId(new_id()))
    states = [claim.state for claim in await found(database, key("a"), other, key("a"))]
    assert states == [ClaimState.NEW, ClaimState.NEW, ClaimState.IN_FLIGHT]


async def test_the_second_writer_of_a_key_is_told_that_it_was_a_race(database: Database) -> None:
    await record(database, KeyRecord(key("a"), subject_id=new_id()))
    with pytest.raises(UniqueViolation) as refused:
        await record(database, KeyRecord(key("a"), subject_id=new_id()))
    assert is_race(refused.value.diag.constraint_name or "")
    assert not is_race("holds_pkey")


async def test_whoever_settles_the_subject_ends_the_key(database: Database) -> None:
    subject = new_id()
    await record(database, KeyRecord(key("a"), subject_id=subject))
    async with database.transaction() as conn:
        await finish_subjects(conn, {subject: StoredAnswer(201, b'{"n":1}'), new_id(): StoredAnswer(201, b"{}")})
    assert [claim.state for claim in await found(database, key("a"))] == [ClaimState.ANSWERED]


async def test_writers_of_the_same_keys_in_every_order_do_not_deadlock(database: Database) -> None:
    names = [f"k{n}" for n in range(20)]
    batches = [names[n:] + names[:n] for n in range(20)] + [names[::-1]] * 5

    async def write(batch: list[str]) -> bool:
        try:
            await record(database, *(KeyRecord(key(name), subject_id=new_id()) for name in batch))
        except UniqueViolation:
            return False
        return True

    assert sum(await asyncio.gather(*map(write, batches))) == 1


def test_the_fingerprint_ignores_the_order_of_fields() -> None:
    assert fingerprint("/x", {"a": 1, "b": 2}) == fingerprint("/x", {"b": 2, "a": 1})
    assert fingerprint("/x", {"a": 1}) != fingerprint("/y", {"a": 1})


async def test_nothing_to_do_is_nothing(database: Database) -> None:
    assert await found(database) == []


async def test_what_a_buyer_has_begun_is_known_without_reading_what_others_have(database: Database) -> None:
    """PostgreSQL knows of the keys that are final, and not of those that were claimed since."""
    fill = """
        INSERT INTO platform.idempotency_keys (buyer_id, key, fingerprint, state, subject_id, status, body)
        SELECT gen_random_uuid(), 'k', sha256('k'), %(state)s, gen_random_uuid(), %(status)s, %(body)s
        FROM generate_series(1, 2000)
    """
    async with database.transaction() as conn:
        await conn.execute(fill, {"state": "final", "status": 201, "body": "{}"})
        await conn.execute("ANALYZE platform.idempotency_keys")
        await conn.execute(fill, {"state": "claimed", "status": None, "body": None})
        await record_keys(conn, [KeyRecord(key("a"), subject_id=new_id())])
        before = await rows_read(conn, "platform.idempotency_keys")
        assert await in_flight(conn, buyer_id=BUYER)
        assert not await in_flight(conn, buyer_id=PersonId(new_id()))
        assert await rows_read(conn, "platform.idempotency_keys") - before <= 10


async def test_the_keys_of_a_crowd_are_taken_to_be_new_until_one_was_not(database: Database) -> None:
    now_s = [100.0]
    desk = KeyDesk(clock=lambda: now_s[0])
    crowd = [key(f"crowd-{n}") for n in range(CROWD)]
    answer = StoredAnswer(201, b"{}")
    await record(database, KeyRecord(crowd[3], answer=answer))

    async def claims(keys: list[RequestKey]) -> list[Claim]:
        async with database.transaction() as conn:
            return await (await desk.look_up(conn, keys)).claims()

    new = Claim(ClaimState.NEW)
    assert await claims(crowd) == [new] * CROWD
    assert (await claims(crowd[:-1]))[3] == Claim(ClaimState.ANSWERED, answer), "few are always looked up"
    desk.note_race()
    assert (await claims(crowd))[3] == Claim(ClaimState.ANSWERED, answer)
    now_s[0] += CAREFUL_S
    assert await claims(crowd) == [new] * CROWD
    assert await claims([]) == []
