"""Idempotency keys: the same request sent twice has one effect and one answer.

A key is written in the transaction that first does something, and made final, with the answer, in the transaction that
ends it; often that is the same one. Two transactions that write one key at once collide on the table's primary key
(`is_race`): the later one is done again and finds the earlier one's row. Keys belong to a buyer. A decision (sold out,
declined) is an answer and is stored; validation errors and 503 are not.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct
from psycopg import AsyncCursor

from tidegate.platform.database import Connection
from tidegate.platform.ids import PersonId


class RequestKey(Struct, frozen=True):
    """Whose key it is, the key, and a hash of the request that it stands for."""

    buyer_id: PersonId
    key: str
    fingerprint: bytes


class StoredAnswer(Struct, frozen=True):
    """What was answered the first time: `body` is JSON, to the letter."""

    status: int
    body: bytes

    @classmethod
    def of(cls, status: int, document: Any) -> StoredAnswer:
        """The answer whose body is `document` as JSON."""
        return cls(status, msgspec.json.encode(document))


class ClaimState(StrEnum):
    """What a claim found."""

    NEW = "new"
    IN_FLIGHT = "in_flight"
    ANSWERED = "answered"
    REUSED = "reused"


class Claim(Struct, frozen=True):
    """Outcome of claiming a key: `answer` when ANSWERED."""

    state: ClaimState
    answer: StoredAnswer | None = None


NEW = Claim(ClaimState.NEW)
IN_FLIGHT = Claim(ClaimState.IN_FLIGHT)


LOOK_UP = """
SELECT k.buyer_id, k.key, k.fingerprint, k.state, k.status, k.body::text
FROM platform.idempotency_keys AS k
JOIN unnest(%b::uuid[], %b::text[]) AS w (buyer_id, key) USING (buyer_id, key)
"""

RECORD = """
INSERT INTO platform.idempotency_keys (buyer_id, key, fingerprint, state, subject_id, status, body, pending_sealed)
SELECT buyer_id, key, fingerprint, CASE WHEN status IS NULL THEN 'claimed' ELSE 'final' END, subject_id, status,
    body::json, pending
FROM unnest(%b::uuid[], %b::text[], %b::bytea[], %b::uuid[], %b::int[], %b::text[], %b::bytea[])
    AS k (buyer_id, key, fingerprint, subject_id, status, body, pending)
"""

FINISH = """
UPDATE platform.idempotency_keys AS k
SET state = 'final', status = a.status, body = a.body::json, pending_sealed = NULL
FROM unnest(%b::uuid[], %b::text[], %b::int[], %b::text[]) AS a (buyer_id, key, status, body)
WHERE k.buyer_id = a.buyer_id AND k.key = a.key AND k.state <> 'final' RETURNING k.subject_id
"""
"""Not `= 'claimed'`, which the index of claimed keys has: PostgreSQL believes that index to be all but empty and would
read the whole of it for each batch, with each key that was claimed since the last vacuum."""

FINISH_SUBJECTS = """
UPDATE platform.idempotency_keys AS k
SET state = 'final', status = (%b::int[])[array_position(%b::uuid[], k.subject_id)],
    body = (%b::text[])[array_position(%b::uuid[], k.subject_id)]::json
WHERE k.subject_id = ANY (%b::uuid[]) AND k.state = 'claimed'
"""
"""No join, for the same reason: one would begin with the whole of that index."""

FIND_PENDING = """
SELECT subject_id, pending_sealed FROM platform.idempotency_keys
WHERE subject_id = ANY (%s) AND state = 'claimed' AND pending_sealed IS NOT NULL
"""

OLD_PENDING = """
SELECT subject_id, pending_sealed FROM platform.idempotency_keys
WHERE state = 'claimed' AND pending_sealed IS NOT NULL
    AND claimed_at < statement_timestamp() - make_interval(secs => %s) AND subject_id <> ALL (%s)
ORDER BY subject_id LIMIT %s
"""

FORGET_PENDING = """
UPDATE platform.idempotency_keys SET pending_sealed = NULL
WHERE subject_id = ANY (%s) AND state = 'claimed' AND pending_sealed IS NOT NULL
"""

CROWD = 16
"""Keys in a batch from which on they are not looked up."""

CAREFUL_S = 5.0
"""How long all keys are looked up after one turned out to be known."""

PRIMARY_KEY = re.compile(r"idempotency_keys_\d+_pkey")


AskedFinish = AsyncCursor[tuple[Any, ...]]
"""Keys that a transaction was asked to finish."""


class KeyRecord(Struct, frozen=True):
    """A key to be written: with its `answer`, or claimed for `subject_id` (an order's id) until somebody has one.

    `pending_sealed` is what was begun and is written nowhere else: whoever ends it, or comes to it first, writes it.
    """

    key: RequestKey
    subject_id: UUID | None = None
    answer: StoredAnswer | None = None
    pending_sealed: bytes | None = None


@dataclass(frozen=True, slots=True)
class Lookup:
    """Keys that a transaction was asked for; with no `cursor` nobody was asked, and all are taken to be new."""

    keys: Sequence[RequestKey]
    cursor: AsyncCursor[tuple[Any, ...]] | None

    @property
    def asked(self) -> bool:
        """Whether the database was asked."""
        return self.cursor is not None

    async def claims(self) -> list[Claim]:
        """What was found of each key, in the order asked. A twin of an earlier one in the list is in flight."""
        if self.cursor is None:
            return [NEW] * len(self.keys)
        found = {(row[0], row[1]): row[2:] for row in await self.cursor.fetchall()}
        seen: set[tuple[UUID, str]] = set()
        claims = []
        for key in self.keys:
            name = (key.buyer_id, key.key)
            if name in found:
                claims.append(_judge(key, found[name]))
            else:
                claims.append(IN_FLIGHT if name in seen else NEW)
                seen.add(name)
        return claims


def fingerprint(route: str, body: object) -> bytes:
    """SHA-256 of the route and the decoded body, so that spacing and order of fields do not matter."""
    return hashlib.sha256(route.encode() + b"\0" + msgspec.json.encode(body, order="deterministic")).digest()


def is_race(constraint: str) -> bool:
    """Whether a broken constraint of this name says that another transaction wrote the same key first."""
    return PRIMARY_KEY.fullmatch(constraint) is not None


async def look_up(conn: Connection, keys: Sequence[RequestKey]) -> Lookup:
    """Ask what is known of keys; in pipeline mode this waits for nothing."""
    if not keys:
        return Lookup(keys, None)
    arguments = ([key.buyer_id for key in keys], [key.key for key in keys])
    return Lookup(keys, await conn.execute(LOOK_UP, arguments, binary=True))


class KeyDesk:
    """Looks keys up where it pays: in a crowd nearly all are new, and whoever writes one that is not finds out.

    The primary key refuses it then, the batch is done again, and for a while every key is looked up beforehand. Small
    batches always do: they can spare the time, and a shop at rest has nothing done twice.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._careful_until_s = float("-inf")

    def note_race(self) -> None:
        """A key that was taken to be new was there already."""
        self._careful_until_s = self._clock() + CAREFUL_S

    async def look_up(self, conn: Connection, keys: Sequence[RequestKey]) -> Lookup:
        """As `look_up`, or the presumption that all are new, for those who record each key or look it up later."""
        if len(keys) < CROWD or self._clock() < self._careful_until_s:
            return await look_up(conn, keys)
        return Lookup(keys, None)


async def record_keys(conn: Connection, records: Sequence[KeyRecord]) -> None:
    """Write keys that `look_up` found NEW, sorted, so that batches cannot deadlock. A twin elsewhere is waited for."""
    if not records:
        return
    ordered = sorted(records, key=lambda each: (each.key.buyer_id.int, each.key.key))
    await conn.execute(
        RECORD,
        (
            [each.key.buyer_id for each in ordered],
            [each.key.key for each in ordered],
            [each.key.fingerprint for each in ordered],
            [each.subject_id for each in ordered],
            [each.answer.status if each.answer else None for each in ordered],
            [each.answer.body.decode() if each.answer else None for each in ordered],
            [each.pending_sealed for each in ordered],
        ),
        binary=True,
    )


async def finish_keys(conn: Connection, answers: Mapping[RequestKey, StoredAnswer]) -> AskedFinish | None:
    """Store the answers of keys that an earlier transaction claimed; a key that has one keeps it.

    What comes back, once it is fetched, has a row for each key that had none.
    """
    if not answers:
        return None
    ordered = sorted(answers, key=lambda each: (each.buyer_id.int, each.key))
    return await conn.execute(
        FINISH,
        (
            [key.buyer_id for key in ordered],
            [key.key for key in ordered],
            [answers[key].status for key in ordered],
            [answers[key].body.decode() for key in ordered],
        ),
        binary=True,
    )


async def finish_subjects(conn: Connection, answers: Mapping[UUID, StoredAnswer]) -> None:
    """Store the answers of whatever claimed keys had begun these subjects; those without a key are left out."""
    if not answers:
        return
    subjects = sorted(answers)
    await conn.execute(
        FINISH_SUBJECTS,
        (
            [answers[each].status for each in subjects],
            subjects,
            [answers[each].body.decode() for each in subjects],
            subjects,
            subjects,
        ),
        binary=True,
    )


async def find_pending(conn: Connection, subject_ids: Sequence[UUID]) -> dict[UUID, bytes]:
    """What was begun for these subjects and is written nowhere else yet."""
    rows = await conn.execute(FIND_PENDING, (list(subject_ids),))
    return dict(await rows.fetchall())


async def pending_of(conn: Connection, buyer_id: UUID) -> list[UUID]:
    """The subjects of what requests of this buyer's have begun and is written nowhere else yet."""
    rows = await conn.execute(
        "SELECT subject_id FROM platform.idempotency_keys"
        " WHERE buyer_id = %s AND state <> 'final' AND pending_sealed IS NOT NULL",
        (buyer_id,),
    )
    return [row[0] for row in await rows.fetchall()]


async def old_pending(conn: Connection, *, after_s: float, limit: int, but: Sequence[UUID] = ()) -> dict[UUID, bytes]:
    """Up to `limit` of what was begun more than `after_s` seconds ago, without that of `but`, the oldest first."""
    rows = await conn.execute(OLD_PENDING, (after_s, list(but), limit))
    return dict(await rows.fetchall())


async def forget_pending(conn: Connection, subject_ids: Sequence[UUID]) -> int:
    """Keep no longer what was begun for these subjects, which the caller has written; returns how many there were."""
    done = await conn.execute(FORGET_PENDING, (sorted(subject_ids),))
    return done.rowcount


def _judge(key: RequestKey, found: Sequence[Any]) -> Claim:
    known_fingerprint, state, status, body = found
    if bytes(known_fingerprint) != key.fingerprint:
        return Claim(ClaimState.REUSED)
    if state == "final":
        return Claim(ClaimState.ANSWERED, StoredAnswer(status, body.encode()))
    return IN_FLIGHT


async def in_flight(conn: Connection, *, buyer_id: UUID) -> bool:
    """Whether a request of this buyer's is still being answered."""
    row = await (
        await conn.execute(
            "SELECT 1 FROM platform.idempotency_keys WHERE buyer_id = %s AND state <> 'final' LIMIT 1", (buyer_id,)
        )
    ).fetchone()
    return row is not None


async def move_keys(conn: Connection, *, before: UUID, after: UUID) -> None:
    """Keep a buyer's answers for another buyer, who took over what they tell of; keys that both used are forgotten."""
    await conn.execute(
        """
        DELETE FROM platform.idempotency_keys b USING platform.idempotency_keys a
        WHERE b.buyer_id = %s AND a.buyer_id = %s AND a.key = b.key AND b.state = 'final'
        """,
        (before, after),
    )
    await conn.execute(
        "UPDATE platform.idempotency_keys SET buyer_id = %s WHERE buyer_id = %s AND state = 'final'", (after, before)
    )
