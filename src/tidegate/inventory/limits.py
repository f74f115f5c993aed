"""Limits: what a buyer may have of a drop, and how often a voucher may be redeemed, by everyone and by one buyer.

One row a limit key. The row of a drop's limit also carries the buyer's live hold, so there is at most one. A row that
does not exist yet cannot be locked, so whoever may make one takes an advisory lock on its key first (`ask_limits` with
`may_make`): rows made after stock was locked would deadlock with those who lock a row and then stock. Should two
transactions make one row all the same, the constraint `RACE` makes the later one begin again.

A row counts the holds that were made since `counts_from`: since the row was. Opening a drop again (`clear_limits`)
deletes rows, or lets them count from then on; `carried_hold_id` is the hold that was live then, which counts as well.
Rows are made before the holds that they count, and cleared under their lock, so this is exact.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncCursor

from tidegate.inventory.contracts import BuyerUse, Hold, HoldRequest, LimitKey
from tidegate.platform.database import Connection
from tidegate.platform.ids import ANYONE, NO_DROP, DropId, HoldId, VoucherId

HASH_FACTOR = 0x9E3779B97F4A7C15F39CC0605CEDC835
"""2^128 divided by the golden ratio: spreads ids, whose first bits are a time (Knuth's multiplicative hashing)."""

RACE = "buyer_limit_within_quota"
"""The constraint that says "somebody else was first": the transaction is to be done again."""

LOCK = """
SELECT l.rule_id, l.buyer_id, l.used, l.live_hold_id, l.quota FROM inventory.buyer_limits AS l
JOIN unnest(%b::uuid[], %b::uuid[]) AS w (rule_id, buyer_id) USING (rule_id, buyer_id)
ORDER BY l.rule_id, l.buyer_id FOR NO KEY UPDATE OF l
"""

LOCK_NOW = f"{LOCK} NOWAIT"

TAKE = """
INSERT INTO inventory.buyer_limits AS l (rule_id, buyer_id, quota, used, live_hold_id)
SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::int[], %b::int[], %b::uuid[])
ON CONFLICT (rule_id, buyer_id) DO UPDATE SET quota = excluded.quota,
    used = CASE WHEN l.live_hold_id IS NOT NULL AND excluded.live_hold_id IS NOT NULL THEN excluded.quota + 1
                ELSE l.used + excluded.used END,
    live_hold_id = coalesce(excluded.live_hold_id, l.live_hold_id)
"""

CHANGE = """
UPDATE inventory.buyer_limits AS l
SET used = l.used + c.used, live_hold_id = CASE WHEN l.live_hold_id = ANY(c.ended) THEN NULL ELSE l.live_hold_id END
FROM (SELECT rule_id, buyer_id, sum(used)::int AS used, array_agg(hold_id) AS ended
      FROM unnest(%b::uuid[], %b::uuid[], %b::int[], %b::uuid[]) AS d (rule_id, buyer_id, used, hold_id)
      GROUP BY rule_id, buyer_id) AS c
WHERE l.rule_id = c.rule_id AND l.buyer_id = c.buyer_id
"""

END_LIVE = """
UPDATE inventory.buyer_limits AS l SET live_hold_id = NULL
FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[]) AS e (rule_id, buyer_id, hold_id)
WHERE l.rule_id = e.rule_id AND l.buyer_id = e.buyer_id AND l.live_hold_id = e.hold_id
"""
"""Locks what it changes as it comes to it: in the order of the arrays, unless the table is so small that PostgreSQL
reads it whole. Other batches have other buyers, so no two of them take the same rows."""

COUNTED = """
SELECT h.id FROM inventory.holds AS h
JOIN inventory.buyer_limits AS l ON l.rule_id = h.drop_id AND l.buyer_id = h.buyer_id
WHERE h.id = ANY(%b) AND (h.created_at >= l.counts_from OR h.id = l.carried_hold_id)
"""

NOTHING: tuple[int, int, HoldId | None] = (0, 0, None)
"""Quota, used and live hold before anything is taken."""

AskedLimits = AsyncCursor[tuple[Any, ...]] | None
"""Limit rows, locked, as a transaction was asked for them; None when there was nothing to ask."""


@dataclass(frozen=True, slots=True)
class LimitChange:
    """`used` items more (or fewer) of what a hold takes; the hold is no longer its buyer's live one."""

    key: LimitKey
    used: int
    hold_id: HoldId


async def ask_limits(
    conn: Connection,
    keys: Collection[LimitKey],
    *,
    may_make: bool = False,
    wait: bool = True,
    alone: Collection[LimitKey] = (),
) -> AskedLimits:
    """Lock the rows of these limits until the transaction ends; in pipeline mode this waits for nothing.

    With `may_make` the caller may also make rows that are missing (`take_limits`), and has the keys of `alone`, which
    have no rows, to itself. Without `wait` the transaction fails with LockNotAvailable when another one has a row.
    """
    if may_make and (keys or alone):
        hashes = _hashes([*keys, *alone])
        await conn.execute("SELECT pg_advisory_xact_lock(k) FROM unnest(%b::bigint[]) AS k", (hashes,))
    if not keys:
        return None
    ordered = sorted(keys, key=_place)
    return await conn.execute(
        LOCK if wait else LOCK_NOW, ([key[0] for key in ordered], [key[1] for key in ordered]), binary=True
    )


async def read_limits(asked: AskedLimits) -> dict[LimitKey, BuyerUse]:
    """What was taken under limits; those that nobody has used yet are absent."""
    if asked is None:
        return {}
    return {(row[0], row[1]): BuyerUse(row[2], row[3]) for row in await asked.fetchall()}


async def read_room(asked: AskedLimits) -> dict[LimitKey, int]:
    """How much limits still allow, for those that somebody has used."""
    if asked is None:
        return {}
    return {(row[0], row[1]): row[4] - row[2] for row in await asked.fetchall()}


async def take_limits(conn: Connection, granted: Sequence[HoldRequest]) -> None:
    """Count what granted requests take, in the order of limit keys."""
    taken: dict[LimitKey, tuple[int, int, HoldId | None]] = {}
    for request in granted:
        for take in request.takes:
            _, used, live = taken.get(take.key, NOTHING)
            taken[take.key] = take.quota, used + take.quantity, request.id if take.live else live
    if not taken:
        return
    rows = sorted(taken.items(), key=lambda row: _place(row[0]))
    await conn.execute(
        TAKE,
        (
            [key[0] for key, _ in rows],
            [key[1] for key, _ in rows],
            [quota for _, (quota, _, _) in rows],
            [used for _, (_, used, _) in rows],
            [live for _, (_, _, live) in rows],
        ),
        binary=True,
    )


async def give_limits(conn: Connection, holds: Sequence[Hold]) -> None:
    """Count back what ended holds had taken."""
    await _change(conn, [LimitChange(key, -quantity, h.id) for h in holds for key, quantity, _ in h.taken])


async def keep_limits(conn: Connection, confirmed: Sequence[Hold], *, retaken: Sequence[Hold] = ()) -> None:
    """What confirmed holds took stays taken, they are live no more; what `retaken` ones had given back counts again."""
    await _change(conn, [LimitChange(key, quantity, h.id) for h in retaken for key, quantity, _ in h.taken])
    ended = sorted(((key, h.id) for h in confirmed for key, _, live in h.taken if live), key=lambda e: _place(e[0]))
    if ended:
        await conn.execute(
            END_LIVE,
            ([key[0] for key, _ in ended], [key[1] for key, _ in ended], [hold_id for _, hold_id in ended]),
            binary=True,
        )


async def clear_limits(conn: Connection, *, rule_id: DropId) -> None:
    """Let everyone start anew under a drop that is opened again. Live holds keep counting, others never do again.

    The rows are locked first: a statement that waits for a batch would sum up what it saw before that batch.
    """
    await conn.execute(
        "SELECT 1 FROM inventory.buyer_limits WHERE rule_id = %s ORDER BY rule_id, buyer_id FOR NO KEY UPDATE",
        (rule_id,),
    )
    await conn.execute("DELETE FROM inventory.buyer_limits WHERE rule_id = %s AND live_hold_id IS NULL", (rule_id,))
    await conn.execute(
        "UPDATE inventory.buyer_limits AS l SET counts_from = clock_timestamp(), carried_hold_id = l.live_hold_id,"
        " used = (SELECT coalesce(sum(quantity), 0) FROM inventory.hold_lines WHERE hold_id = l.live_hold_id)"
        " WHERE rule_id = %s",
        (rule_id,),
    )


async def counted(conn: Connection, holds: Sequence[Hold]) -> set[HoldId]:
    """Which of these holds their limits count, or would count again; a drop does not once it was opened again.

    The holds and their limits are locked by the caller.
    """
    in_drops = [hold.id for hold in holds if hold.drop_id != NO_DROP]
    found = {hold.id for hold in holds} - set(in_drops)
    if in_drops:
        rows = await conn.execute(COUNTED, (in_drops,), binary=True)
        found.update(row[0] for row in await rows.fetchall())
    return found


async def redemptions(conn: Connection, voucher_ids: Sequence[VoucherId]) -> dict[VoucherId, int]:
    """How often vouchers are redeemed now, by live holds and sales, for showing; those never used are absent."""
    rows = await conn.execute(
        "SELECT rule_id, used FROM inventory.buyer_limits WHERE rule_id = ANY(%s) AND buyer_id = %s",
        (list(voucher_ids), ANYONE),
    )
    return {row[0]: row[1] for row in await rows.fetchall()}


async def taken_in_drop(conn: Connection, *, drop_id: DropId) -> int:
    """Items that buyers took in a drop since it opened or was opened again, by live holds and sales; for showing."""
    rows = await conn.execute(
        "SELECT coalesce(sum(used), 0)::bigint FROM inventory.buyer_limits WHERE rule_id = %s", (drop_id,)
    )
    row = await rows.fetchone()
    assert row is not None
    return int(row[0])


def _place(key: LimitKey) -> tuple[int, int]:
    """Where a key stands in the order of locks, in numbers: comparing UUIDs takes Python several steps."""
    return key[0].int, key[1].int


def _hashes(keys: Collection[LimitKey]) -> list[int]:
    """64 bits of each key, signed, in one order. Two keys of one hash only wait for each other."""
    hashes = {((rule_id.int ^ (buyer_id.int >> 1)) * HASH_FACTOR >> 64) & (1 << 64) - 1 for rule_id, buyer_id in keys}
    return sorted(each - (1 << 63) for each in hashes)


async def _change(conn: Connection, changes: Sequence[LimitChange]) -> None:
    """Apply changes, locking in the order of keys. A row that was cleared meanwhile is left alone."""
    if not changes:
        return
    await ask_limits(conn, {change.key for change in changes})
    await conn.execute(
        CHANGE,
        (
            [change.key[0] for change in changes],
            [change.key[1] for change in changes],
            [change.used for change in changes],
            [change.hold_id for change in changes],
        ),
        binary=True,
    )
