"""Keys in the database: claimed, answered, given back."""

from __future__ import annotations

import asyncio

from tidegate.platform.database import Database
from tidegate.platform.idempotency import (
    ClaimState,
    RequestKey,
    StoredAnswer,
    claim_keys,
    fingerprint,
    finish_keys,
    finish_subjects,
    forget_keys,
    name_subjects,
)
from tidegate.platform.ids import PersonId, new_id

BUYER = PersonId(new_id())


def key(name: str, *, buyer: PersonId = BUYER, body: object = None) -> RequestKey:
    return RequestKey(buyer, name, fingerprint("/x", body))


async def states(database: Database, *keys: RequestKey) -> list[ClaimState]:
    async with database.transaction() as conn:
        return [claim.state for claim in await claim_keys(conn, keys)]


async def test_the_life_of_a_key(database: Database) -> None:
    assert await states(database, key("a")) == [ClaimState.NEW]
    assert await states(database, key("a")) == [ClaimState.IN_FLIGHT]
    assert await states(database, key("a", body={"other": 1})) == [ClaimState.REUSED]
    answer = StoredAnswer(201, {"id": "x"})
    async with database.transaction() as conn:
        await finish_keys(conn, {key("a"): answer})
        await finish_keys(conn, {key("a"): StoredAnswer(409, {})})
        (claim,) = await claim_keys(conn, [key("a")])
    assert (claim.state, claim.answer) == (ClaimState.ANSWERED, answer), "the first answer stays"


async def test_keys_belong_to_their_buyer_and_twins_of_a_batch_are_seen(database: Database) -> None:
    other = key("a", buyer=PersonId(new_id()))
    assert await states(database, key("a"), other, key("a")) == [
        ClaimState.NEW,
        ClaimState.NEW,
        ClaimState.IN_FLIGHT,
    ]


async def test_a_key_given_back_may_try_again(database: Database) -> None:
    await states(database, key("a"), key("b"))
    async with database.transaction() as conn:
        await finish_keys(conn, {key("b"): StoredAnswer(201, {})})
        await forget_keys(conn, [key("a"), key("b")])
    assert await states(database, key("a"), key("b")) == [ClaimState.NEW, ClaimState.ANSWERED]


async def test_whoever_settles_the_subject_ends_the_key(database: Database) -> None:
    subject = new_id()
    async with database.transaction() as conn:
        await claim_keys(conn, [key("a")])
        await name_subjects(conn, {key("a"): subject})
    async with database.transaction() as conn:
        await finish_subjects(conn, {subject: StoredAnswer(201, {"n": 1}), new_id(): StoredAnswer(201, {})})
    assert await states(database, key("a")) == [ClaimState.ANSWERED]


async def test_claims_in_every_order_do_not_deadlock(database: Database) -> None:
    names = [f"k{n}" for n in range(20)]
    batches = [names[n:] + names[:n] for n in range(20)] + [names[::-1]] * 5
    outcomes = await asyncio.gather(*(states(database, *map(key, batch)) for batch in batches))
    new = [state for outcome in outcomes for state in outcome if state == ClaimState.NEW]
    assert len(new) == len(names)


def test_the_fingerprint_ignores_the_order_of_fields() -> None:
    assert fingerprint("/x", {"a": 1, "b": 2}) == fingerprint("/x", {"b": 2, "a": 1})
    assert fingerprint("/x", {"a": 1}) != fingerprint("/y", {"a": 1})


async def test_nothing_to_do_is_nothing(database: Database) -> None:
    assert await states(database) == []
