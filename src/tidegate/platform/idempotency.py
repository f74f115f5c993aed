"""Idempotency keys: the same request sent twice has one effect and one answer.

A key is claimed in the transaction that first does something and made final, with the answer, in the transaction
that ends it. Keys belong to a buyer. A decision (sold out, declined) is an answer and is stored; validation errors
and 503 are not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
from psycopg.types.json import Json

from tidegate.platform.database import Connection
from tidegate.platform.ids import PersonId


@dataclass(frozen=True, slots=True)
class RequestKey:
    """Whose key it is, the key, and a hash of the request that it stands for."""

    buyer_id: PersonId
    key: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What was answered the first time."""

    status: int
    body: dict[str, Any]


class ClaimState(StrEnum):
    """What a claim found."""

    NEW = "new"
    IN_FLIGHT = "in_flight"
    ANSWERED = "answered"
    REUSED = "reused"


@dataclass(frozen=True, slots=True)
class Claim:
    """Outcome of claiming a key: `answer` when ANSWERED; `subject_id` is what the first request had begun."""

    state: ClaimState
    answer: StoredAnswer | None = None
    subject_id: UUID | None = None


NEW = Claim(ClaimState.NEW)


def fingerprint(route: str, body: object) -> bytes:
    """SHA-256 of the route and the decoded body, so that spacing and order of fields do not matter."""
    return hashlib.sha256(route.encode() + b"\0" + msgspec.json.encode(body, order="deterministic")).digest()


async def claim_keys(conn: Connection, keys: Sequence[RequestKey]) -> list[Claim]:
    """Claim keys in the caller's transaction, in key order so that batches cannot deadlock.

    A twin whose first request is uncommitted waits for it here, up to `lock_timeout`.
    """
    if not keys:
        return []
    ordered = sorted(keys, key=lambda each: (each.buyer_id, each.key))
    inserted = await conn.execute(
        "INSERT INTO platform.idempotency_keys (buyer_id, key, fingerprint, state)"
        " SELECT buyer_id, key, fingerprint, 'claimed'"
        " FROM unnest(%s::uuid[], %s::text[], %s::bytea[]) AS wanted (buyer_id, key, fingerprint)"
        " ORDER BY buyer_id, key"
        " ON CONFLICT (buyer_id, key) DO NOTHING RETURNING buyer_id, key",
        ([k.buyer_id for k in ordered], [k.key for k in ordered], [k.fingerprint for k in ordered]),
    )
    new = {(row[0], row[1]) for row in await inserted.fetchall()}
    known = [key for key in ordered if (key.buyer_id, key.key) not in new]
    found = await _read(conn, known) if known else {}
    claims = []
    for key in keys:
        if (key.buyer_id, key.key) in new:
            new.discard((key.buyer_id, key.key))  # a twin later in the same batch is in flight
            claims.append(NEW)
        else:
            claims.append(_judge(key, found.get((key.buyer_id, key.key))))
    return claims


async def finish_keys(conn: Connection, answers: Mapping[RequestKey, StoredAnswer]) -> None:
    """Store the answers of keys that this or an earlier transaction claimed."""
    if not answers:
        return
    ordered = sorted(answers, key=lambda each: (each.buyer_id, each.key))
    await conn.execute(
        "UPDATE platform.idempotency_keys AS k SET state = 'final', status = a.status, body = a.body"
        " FROM unnest(%s::uuid[], %s::text[], %s::int[], %s::json[]) AS a (buyer_id, key, status, body)"
        " WHERE k.buyer_id = a.buyer_id AND k.key = a.key AND k.state = 'claimed'",
        (
            [key.buyer_id for key in ordered],
            [key.key for key in ordered],
            [answers[key].status for key in ordered],
            [Json(answers[key].body) for key in ordered],
        ),
    )


async def name_subjects(conn: Connection, subjects: Mapping[RequestKey, UUID]) -> None:
    """Note what the claimed keys have begun (an order's id), for those who come after a crash."""
    if not subjects:
        return
    ordered = sorted(subjects, key=lambda each: (each.buyer_id, each.key))
    await conn.execute(
        "UPDATE platform.idempotency_keys AS k SET subject_id = s.subject_id"
        " FROM unnest(%s::uuid[], %s::text[], %s::uuid[]) AS s (buyer_id, key, subject_id)"
        " WHERE k.buyer_id = s.buyer_id AND k.key = s.key",
        (
            [key.buyer_id for key in ordered],
            [key.key for key in ordered],
            [subjects[key] for key in ordered],
        ),
    )


async def finish_subjects(conn: Connection, answers: Mapping[UUID, StoredAnswer]) -> None:
    """Store the answers of whatever claimed keys had begun these subjects; those without a key are left out."""
    if not answers:
        return
    subjects = sorted(answers)
    await conn.execute(
        "UPDATE platform.idempotency_keys AS k SET state = 'final', status = a.status, body = a.body"
        " FROM unnest(%s::uuid[], %s::int[], %s::json[]) AS a (subject_id, status, body)"
        " WHERE k.subject_id = a.subject_id AND k.state = 'claimed'",
        (subjects, [answers[each].status for each in subjects], [Json(answers[each].body) for each in subjects]),
    )


async def forget_keys(conn: Connection, keys: Sequence[RequestKey]) -> None:
    """Give claimed keys back: what happened is no answer, and the same key may try again."""
    if not keys:
        return
    await conn.execute(
        "DELETE FROM platform.idempotency_keys AS k USING unnest(%s::uuid[], %s::text[]) AS w (buyer_id, key)"
        " WHERE k.buyer_id = w.buyer_id AND k.key = w.key AND k.state = 'claimed'",
        ([key.buyer_id for key in keys], [key.key for key in keys]),
    )


async def _read(conn: Connection, keys: Sequence[RequestKey]) -> dict[tuple[UUID, str], tuple[Any, ...]]:
    rows = await conn.execute(
        "SELECT k.buyer_id, k.key, k.fingerprint, k.state, k.status, k.body, k.subject_id"
        " FROM platform.idempotency_keys AS k"
        " JOIN unnest(%s::uuid[], %s::text[]) AS w (buyer_id, key) USING (buyer_id, key)",
        ([key.buyer_id for key in keys], [key.key for key in keys]),
    )
    return {(row[0], row[1]): tuple(row[2:]) for row in await rows.fetchall()}


def _judge(key: RequestKey, found: tuple[Any, ...] | None) -> Claim:
    if found is None:
        return Claim(ClaimState.IN_FLIGHT)
    known_fingerprint, state, status, body, subject_id = found
    if bytes(known_fingerprint) != key.fingerprint:
        return Claim(ClaimState.REUSED)
    if state == "final":
        return Claim(ClaimState.ANSWERED, StoredAnswer(status, body), subject_id)
    return Claim(ClaimState.IN_FLIGHT, subject_id=subject_id)
