"""Placing holds in two steps, so that a batch waits for the database twice and not ten times.

`ask_room` queues everything that the decision needs; `place_holds` reads what was found, decides, and queues the
writes. In pipeline mode neither waits for more than the first step's answers, but near the end of the stock.

A hot row of stock is locked for as short a time as can be. While there is plenty of it, what was read without a lock
decides, and the row is changed at the end of the transaction, where its constraint has the last word: should others
have taken too much meanwhile, the batch is done again. Near the end of the stock the row is locked before the decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from psycopg import AsyncCursor

from tidegate.inventory.contracts import BuyerUse, Decision, Granted, Hold, HoldRequest, HoldState, LimitKey
from tidegate.inventory.holds import end_holds, lock_own_expired
from tidegate.inventory.limits import AskedLimits, ask_limits, read_limits, take_limits
from tidegate.inventory.rules import allocate, items_per_variant
from tidegate.inventory.stock import StockMoves, ask_stock, lock_stock, peek_stock, read_stock
from tidegate.platform.clock import AskedClock, ask_now, read_now
from tidegate.platform.database import Connection
from tidegate.platform.ids import NO_DROP, NO_VOUCHER, HoldId, PersonId, VariantId

LOOSE = """
SELECT id, buyer_id, state = 'held' AND expires_at <= clock_timestamp() FROM inventory.holds
WHERE buyer_id = ANY(%b) AND drop_id = %b AND state IN ('held', 'ordered')
"""

REDEEMED = """
SELECT id FROM inventory.holds
WHERE buyer_id = ANY(%b) AND voucher_id = ANY(%b) AND state IN ('held', 'ordered') AND order_id IS NULL
    AND expires_at <= statement_timestamp()
"""
"""Held is what no order has. `state = 'held'` would let PostgreSQL look in the index of all that is held."""

HOLDS = """
INSERT INTO inventory.holds (id, buyer_id, drop_id, voucher_id, discount_amount, state, order_id, expires_at)
SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::uuid[], %b::bigint[], %b::text[], %b::uuid[],
    %b::timestamptz[])
"""

LINES = """
INSERT INTO inventory.hold_lines (hold_id, variant_id, quantity, unit_amount, currency)
SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::int[], %b::bigint[], %b::text[])
"""

SPENT = "SELECT place_id FROM inventory.spent_passes WHERE place_id = ANY(%b)"

SPEND = """
INSERT INTO inventory.spent_passes (place_id, hold_id, drop_id, items)
SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::int[])
"""

PLENTY = 2_048
"""Items that must be left beyond a batch's wish for what was read without a lock to decide: others' batches may take
as many in the meantime, and more of them only means that the batch is done again."""

Cursor = AsyncCursor[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class AskedRoom:
    """What the database was asked for a batch of requests."""

    requests: Sequence[HoldRequest]
    limits: AskedLimits
    loose: Cursor | None
    redeemed: Cursor | None
    spent: Cursor | None
    stock: Cursor
    clock: AskedClock


async def ask_room(conn: Connection, requests: Sequence[HoldRequest]) -> AskedRoom:
    """Lock the requests' limits, look at their stock, and read the clock after the locks.

    Holds outside drops are counted, not kept in rows: whoever makes one has its buyer's count to itself.
    """
    loose_buyers = {request.buyer_id for request in requests if request.drop is None}
    limits = await ask_limits(
        conn,
        {take.key for request in requests for take in request.takes},
        may_make=True,
        alone=[(NO_DROP, buyer_id) for buyer_id in loose_buyers],
    )
    loose = await conn.execute(LOOSE, (list(loose_buyers), NO_DROP), binary=True) if loose_buyers else None
    redeemed = await _ask_redeemed(conn, requests)
    # The advisory lock on the limit of its buyer in its drop keeps others from spending a pass meanwhile.
    places = [request.admission.place_id for request in requests if request.admission is not None]
    spent = await conn.execute(SPENT, (places,), binary=True) if places else None
    stock = await peek_stock(conn, (line.variant_id for request in requests for line in request.lines))
    clock = await ask_now(conn)
    return AskedRoom(requests, limits, loose, redeemed, spent, stock, clock)


async def place_holds(
    conn: Connection,
    requests: Sequence[HoldRequest],
    *,
    ttl_s: int,
    max_loose_holds: int,
    asked: AskedRoom,
    moves: StockMoves,
) -> list[Decision]:
    """Settle a batch of hold requests in the caller's transaction; one decision each, in the same order.

    A buyer's own holds that are over but not yet swept end here first, so that they never block. `asked` is what
    `ask_room` was asked for the same requests. The caller applies `moves`, the change of stock, after its own writes.
    """
    if not requests:
        return []
    uses = await read_limits(asked.limits)
    loose, over = await _read_loose(asked.loose)
    if asked.redeemed is not None:
        over += [row[0] for row in await asked.redeemed.fetchall()]
    spent = {row[0] for row in await asked.spent.fetchall()} if asked.spent is not None else set()
    free = await read_stock(asked.stock)
    now = await read_now(asked.clock)
    wanted = items_per_variant(requests)
    if any(free.get(variant_id, 0) - quantity < PLENTY for variant_id, quantity in wanted.items()):
        locked = await ask_stock(conn, wanted)
        clock = await ask_now(conn)
        free, now = await read_stock(locked), await read_now(clock)
    suspects = [use.live_hold_id for use in uses.values() if use.live_hold_id is not None] + over
    if suspects and (over_now := await lock_own_expired(conn, suspects)):
        for hold in over_now:
            if hold.drop_id == NO_DROP and hold.buyer_id in loose:
                loose[hold.buyer_id] -= 1
        await lock_stock(conn, wanted)
        await _end_own(conn, over_now, requests)
        uses, free = await _ask_again(conn, requests)
    decisions = allocate(
        requests,
        free=free,
        uses=uses,
        loose_holds=loose,
        max_loose_holds=max_loose_holds,
        now=now,
        ttl=timedelta(seconds=ttl_s),
        spent=spent,
    )
    pairs = zip(requests, decisions, strict=True)
    granted = [(request, decision) for request, decision in pairs if isinstance(decision, Granted)]
    await _record(conn, granted)
    for variant_id, quantity in items_per_variant(request for request, _ in granted).items():
        moves.add(variant_id, held=quantity)
    return decisions


async def _end_own(conn: Connection, holds: Sequence[Hold], requests: Sequence[HoldRequest]) -> None:
    """End holds that are over. What the requests are not about is locked out of order, so never waited for.

    Outside drops such a hold counts no more and is left to the sweeper. In a drop, or with a voucher that is wanted
    again, it must end here: when its stock or its limits are taken, LockNotAvailable has the batch done again.
    """
    locked = items_per_variant(requests).keys()
    limits = {take.key for request in requests for take in request.takes}
    wanted = {request.voucher.voucher_id for request in requests if request.voucher is not None}
    ended = [
        hold
        for hold in holds
        if hold.drop_id != NO_DROP
        or hold.voucher_id in wanted
        or (items_per_variant([hold]).keys() <= locked and _limits(hold) <= limits)
    ]
    if others := {key for hold in ended for key in _limits(hold)} - limits:
        await read_limits(await ask_limits(conn, others, wait=False))
    if foreign := items_per_variant(ended).keys() - locked:
        await read_stock(await ask_stock(conn, foreign, wait=False))
    await end_holds(conn, ended, HoldState.EXPIRED)


async def _ask_again(
    conn: Connection, requests: Sequence[HoldRequest]
) -> tuple[dict[LimitKey, BuyerUse], dict[VariantId, int]]:
    """Limits and stock after something was given back; all of it is locked already."""
    limits = await ask_limits(conn, {take.key for request in requests for take in request.takes}, may_make=True)
    return await read_limits(limits), await lock_stock(conn, items_per_variant(requests))


async def _ask_redeemed(conn: Connection, requests: Sequence[HoldRequest]) -> Cursor | None:
    """Holds that are over and in which these buyers redeemed a voucher that they now want to redeem."""
    asking = [request for request in requests if request.voucher is not None]
    if not asking:
        return None
    vouchers = {request.voucher.voucher_id for request in asking if request.voucher is not None}
    buyers = {request.buyer_id for request in asking}
    return await conn.execute(REDEEMED, (list(buyers), list(vouchers)), binary=True)


async def _read_loose(asked: Cursor | None) -> tuple[dict[PersonId, int], list[HoldId]]:
    """Live holds outside drops per buyer, and those among them that are over."""
    counts: dict[PersonId, int] = {}
    over: list[HoldId] = []
    if asked is not None:
        for hold_id, buyer_id, is_over in await asked.fetchall():
            counts[buyer_id] = counts.get(buyer_id, 0) + 1
            if is_over:
                over.append(hold_id)
    return counts, over


async def _record(conn: Connection, granted: Sequence[tuple[HoldRequest, Granted]]) -> None:
    if not granted:
        return
    requests = [request for request, _ in granted]
    await take_limits(conn, requests)
    await conn.execute(
        HOLDS,
        (
            [r.id for r in requests],
            [r.buyer_id for r in requests],
            [r.drop.drop_id if r.drop else NO_DROP for r in requests],
            [r.voucher.voucher_id if r.voucher else NO_VOUCHER for r in requests],
            [r.discount for r in requests],
            ["ordered" if r.order_id else "held" for r in requests],
            [r.order_id for r in requests],
            [decision.expires_at for _, decision in granted],
        ),
        binary=True,
    )
    await _spend(conn, requests)
    lines = [(request.id, line) for request in requests for line in request.lines]
    await conn.execute(
        LINES,
        (
            [hold_id for hold_id, _ in lines],
            [line.variant_id for _, line in lines],
            [line.quantity for _, line in lines],
            [line.unit.amount for _, line in lines],
            [line.unit.currency for _, line in lines],
        ),
        binary=True,
    )


async def _spend(conn: Connection, requests: Sequence[HoldRequest]) -> None:
    """Note which passes these holds spent."""
    spending = [(r.admission.place_id, r) for r in requests if r.admission is not None]
    if spending:
        await conn.execute(
            SPEND,
            (
                [place_id for place_id, _ in spending],
                [r.id for _, r in spending],
                [r.drop.drop_id if r.drop else NO_DROP for _, r in spending],
                [r.quantity for _, r in spending],
            ),
            binary=True,
        )


def _limits(hold: Hold) -> set[LimitKey]:
    return {key for key, _, _ in hold.taken}
