"""Holds: what a buyer can do with stock, in batches, on a connection that somebody else commits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from tidegate.inventory.contracts import (
    Decision,
    Granted,
    Hold,
    HoldLine,
    HoldRequest,
    HoldState,
)
from tidegate.inventory.limits import LimitChange, change_limits, lock_limits, room_under_limits
from tidegate.inventory.rules import allocate, retake
from tidegate.inventory.stock import lock_stock, move_stock
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection
from tidegate.platform.ids import NO_DROP, HoldId, OrderId, PersonId, VariantId
from tidegate.platform.money import Money


class Attachment(StrEnum):
    """What became of the wish to order what a hold keeps."""

    ATTACHED = "attached"
    ALREADY_ORDERED = "already_ordered"
    ENDED = "ended"


class Confirmation(StrEnum):
    """Whether the stock of a paid order is the buyer's: RETAKEN after the hold had ended, GONE when none was left."""

    CONFIRMED = "confirmed"
    RETAKEN = "retaken"
    GONE = "gone"


async def place_holds(
    conn: Connection, requests: Sequence[HoldRequest], *, ttl_s: int, max_loose_holds: int
) -> list[Decision]:
    """Settle a batch of hold requests in the caller's transaction; one decision each, in the same order.

    Locks holds, then limits, then stock, each in one order, so that batches of different processes cannot deadlock.
    A buyer's own holds that are over but not yet swept end here first, so that they never block.
    """
    buyers = sorted({request.buyer_id for request in requests})
    over = await _lock_own_expired(conn, requests)
    uses = await lock_limits(conn, requests)
    wanted = [line.variant_id for request in requests for line in request.lines]
    free = await lock_stock(conn, [*wanted, *_per_variant(over)])
    if over:
        await _give_back(conn, over, HoldState.EXPIRED)
        free = await lock_stock(conn, wanted)
        uses = await lock_limits(conn, requests)
    decisions = allocate(
        requests,
        free=free,
        uses=uses,
        loose_holds=await _loose_holds(conn, buyers),
        max_loose_holds=max_loose_holds,
        now=await database_now(conn),
        ttl=timedelta(seconds=ttl_s),
    )
    pairs = zip(requests, decisions, strict=True)
    await _record(conn, [(request, decision) for request, decision in pairs if isinstance(decision, Granted)])
    return decisions


async def attach_holds(
    conn: Connection, orders: Mapping[HoldId, OrderId], *, window_s: int
) -> dict[HoldId, tuple[Attachment, datetime | None]]:
    """Bind live holds to orders and move their end to cover the payment window; returns the new ends."""
    ordered = sorted(orders)
    rows = await conn.execute(
        "SELECT id, state, expires_at > clock_timestamp() FROM inventory.holds WHERE id = ANY(%s)"
        " ORDER BY id FOR NO KEY UPDATE",
        (ordered,),
    )
    outcome: dict[HoldId, tuple[Attachment, datetime | None]] = dict.fromkeys(ordered, (Attachment.ENDED, None))
    ready = []
    for hold_id, state, alive in await rows.fetchall():
        if state == HoldState.HELD and alive:
            ready.append(hold_id)
        elif state in (HoldState.ORDERED, HoldState.CONFIRMED):
            outcome[hold_id] = (Attachment.ALREADY_ORDERED, None)
    moved = await conn.execute(
        "UPDATE inventory.holds AS h SET state = 'ordered', order_id = o.order_id,"
        " expires_at = greatest(h.expires_at, clock_timestamp() + make_interval(secs => %s))"
        " FROM unnest(%s::uuid[], %s::uuid[]) AS o (hold_id, order_id) WHERE h.id = o.hold_id"
        " RETURNING h.id, h.expires_at",
        (window_s, ready, [orders[h] for h in ready]),
    )
    outcome.update({row[0]: (Attachment.ATTACHED, row[1]) for row in await moved.fetchall()})
    return outcome


async def confirm_holds(conn: Connection, orders: Mapping[HoldId, OrderId]) -> dict[HoldId, Confirmation]:
    """Turn the holds of paid orders into sales; an ended hold takes stock again if there is some.

    Repeating it for the same order changes nothing and gives the same answer.
    """
    holds = {hold.id: hold for hold in await _lock_holds(conn, sorted(orders))}
    outcome = dict.fromkeys(orders, Confirmation.GONE)
    ready, late = [], []
    for hold_id, hold in holds.items():
        assert hold.order_id == orders[hold_id], f"hold {hold_id} belongs to another order"
        if hold.state == HoldState.CONFIRMED:
            outcome[hold_id] = Confirmation.CONFIRMED
        elif hold.state == HoldState.ORDERED:
            ready.append(hold)
            outcome[hold_id] = Confirmation.CONFIRMED
        else:
            late.append(hold)
    room = await room_under_limits(conn, {(h.drop_id, h.buyer_id): h.quantity for h in [*ready, *late]})
    free = await lock_stock(conn, [line.variant_id for hold in [*ready, *late] for line in hold.lines])
    retaken = retake(late, free=free, room=room)
    outcome.update({hold.id: Confirmation.RETAKEN for hold in retaken})
    changes = [LimitChange((h.drop_id, h.buyer_id), 0, h.id, live=False) for h in ready]
    changes += [LimitChange((h.drop_id, h.buyer_id), h.quantity, h.id, live=False) for h in retaken]
    await change_limits(conn, changes)
    taken = _per_variant(ready)
    await move_stock(conn, held={v: -n for v, n in taken.items()}, sold=_per_variant([*ready, *retaken]))
    await _set_state(conn, [*ready, *retaken], HoldState.CONFIRMED)
    return outcome


async def release_holds(conn: Connection, hold_ids: Iterable[HoldId]) -> list[HoldId]:
    """Give live holds back, ordered ones too (their order's payment must have been ended first).

    Returns those that were live; others are left as they are.
    """
    live = [hold for hold in await _lock_holds(conn, sorted(hold_ids)) if hold.live]
    await _give_back(conn, live, HoldState.RELEASED)
    return [hold.id for hold in live]


async def release_unordered(conn: Connection, hold_ids: Iterable[HoldId]) -> list[HoldId]:
    """Give live holds back that no order has; returns those that were given back."""
    held = [hold for hold in await _lock_holds(conn, sorted(hold_ids)) if hold.state == HoldState.HELD]
    await _give_back(conn, held, HoldState.RELEASED)
    return [hold.id for hold in held]


async def expire_holds(conn: Connection, *, limit: int) -> int:
    """End up to `limit` holds whose time is over and that no order has; returns how many.

    Holds with an order are ended through the order, after its payment attempt is.
    """
    rows = await conn.execute(
        "SELECT id FROM inventory.holds WHERE state = 'held' AND expires_at <= clock_timestamp()"
        " ORDER BY id LIMIT %s FOR NO KEY UPDATE SKIP LOCKED",
        (limit,),
    )
    due = [row[0] for row in await rows.fetchall()]
    holds = await _read_holds(conn, "h.id = ANY(%s)", (due,)) if due else []
    await _give_back(conn, holds, HoldState.EXPIRED)
    return len(holds)


async def load_holds(conn: Connection, hold_ids: Sequence[HoldId]) -> dict[HoldId, Hold]:
    """Holds with their lines, without locks."""
    return {hold.id: hold for hold in await _read_holds(conn, "h.id = ANY(%s)", (list(hold_ids),))}


async def live_holds(conn: Connection, *, buyer_id: PersonId) -> list[Hold]:
    """The buyer's holds that still keep stock, the newest first."""
    found = await _read_holds(conn, "h.buyer_id = %s AND h.state IN ('held', 'ordered')", (buyer_id,))
    return sorted((hold for hold in found if hold.seconds_left > 0), key=lambda hold: hold.id, reverse=True)


async def _lock_own_expired(conn: Connection, requests: Sequence[HoldRequest]) -> list[Hold]:
    """Lock the buyers' own holds that are over: those of the drops they ask for, and those of no drop."""
    pairs = {(request.drop.drop_id if request.drop else NO_DROP, request.buyer_id) for request in requests}
    pairs |= {(NO_DROP, request.buyer_id) for request in requests}
    rows = await conn.execute(
        "SELECT h.id FROM inventory.holds AS h"
        " JOIN unnest(%s::uuid[], %s::uuid[]) AS w (drop_id, buyer_id) USING (drop_id, buyer_id)"
        " WHERE h.state = 'held' AND h.expires_at <= clock_timestamp()"
        " ORDER BY h.id LIMIT %s FOR NO KEY UPDATE OF h SKIP LOCKED",
        ([pair[0] for pair in pairs], [pair[1] for pair in pairs], 10 * len(requests)),
    )
    due = [row[0] for row in await rows.fetchall()]
    return await _read_holds(conn, "h.id = ANY(%s)", (due,)) if due else []


async def _give_back(conn: Connection, holds: Sequence[Hold], state: HoldState) -> None:
    if not holds:
        return
    await change_limits(conn, [LimitChange((h.drop_id, h.buyer_id), -h.quantity, h.id, live=False) for h in holds])
    back = _per_variant(holds)
    await lock_stock(conn, list(back))
    await move_stock(conn, held={v: -n for v, n in back.items()}, sold={})
    await _set_state(conn, holds, state)


async def _loose_holds(conn: Connection, buyers: Sequence[PersonId]) -> dict[PersonId, int]:
    rows = await conn.execute(
        "SELECT buyer_id, count(*) FROM inventory.holds"
        " WHERE buyer_id = ANY(%s) AND drop_id = %s AND state IN ('held', 'ordered') GROUP BY buyer_id",
        (list(buyers), NO_DROP),
    )
    return {row[0]: row[1] for row in await rows.fetchall()}


async def _record(conn: Connection, granted: Sequence[tuple[HoldRequest, Granted]]) -> None:
    if not granted:
        return
    drops = [request.drop.drop_id if request.drop else NO_DROP for request, _ in granted]
    await change_limits(
        conn,
        [
            LimitChange((drop_id, request.buyer_id), request.quantity, request.id, live=True)
            for drop_id, (request, _) in zip(drops, granted, strict=True)
        ],
    )
    lines = [(request.id, line) for request, _ in granted for line in request.lines]
    taken: dict[VariantId, int] = {}
    for _, line in lines:
        taken[line.variant_id] = taken.get(line.variant_id, 0) + line.quantity
    await move_stock(conn, held=taken, sold={})
    await conn.execute(
        "INSERT INTO inventory.holds (id, buyer_id, drop_id, state, expires_at)"
        " SELECT id, buyer_id, drop_id, 'held', expires_at"
        " FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::timestamptz[]) AS h (id, buyer_id, drop_id, expires_at)",
        ([r.id for r, _ in granted], [r.buyer_id for r, _ in granted], drops, [d.expires_at for _, d in granted]),
    )
    await conn.execute(
        "INSERT INTO inventory.hold_lines (hold_id, variant_id, quantity, unit_amount, currency)"
        " SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::int[], %s::bigint[], %s::text[])",
        (
            [hold_id for hold_id, _ in lines],
            [line.variant_id for _, line in lines],
            [line.quantity for _, line in lines],
            [line.unit.amount for _, line in lines],
            [line.unit.currency for _, line in lines],
        ),
    )


async def _lock_holds(conn: Connection, hold_ids: Sequence[HoldId]) -> list[Hold]:
    await conn.execute(
        "SELECT id FROM inventory.holds WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE", (list(hold_ids),)
    )
    return await _read_holds(conn, "h.id = ANY(%s)", (list(hold_ids),))


async def _set_state(conn: Connection, holds: Sequence[Hold], state: HoldState) -> None:
    if holds:
        await conn.execute(
            "UPDATE inventory.holds SET state = %s WHERE id = ANY(%s)", (state, [hold.id for hold in holds])
        )


async def _read_holds(conn: Connection, condition: str, arguments: tuple[Any, ...]) -> list[Hold]:
    rows = await conn.execute(
        "SELECT h.id, h.buyer_id, h.drop_id, h.state, h.order_id, h.expires_at,"  # noqa: S608
        " greatest(0, ceil(extract(epoch FROM h.expires_at - clock_timestamp())))::int,"
        " array_agg(l.variant_id ORDER BY l.variant_id), array_agg(l.quantity ORDER BY l.variant_id),"
        " array_agg(l.unit_amount ORDER BY l.variant_id), array_agg(l.currency ORDER BY l.variant_id)"
        " FROM inventory.holds AS h JOIN inventory.hold_lines AS l ON l.hold_id = h.id"
        f" WHERE {condition} GROUP BY h.id ORDER BY h.id",
        arguments,
    )
    return [_hold(row) for row in await rows.fetchall()]


def _hold(row: tuple[Any, ...]) -> Hold:
    lines = tuple(
        HoldLine(variant_id, quantity, Money(amount, currency))
        for variant_id, quantity, amount, currency in zip(*row[7:11], strict=True)
    )
    return Hold(row[0], row[1], row[2], HoldState(row[3]), row[4], row[5], row[6], lines)


def _per_variant(holds: Iterable[Hold]) -> dict[VariantId, int]:
    total: dict[VariantId, int] = {}
    for hold in holds:
        for line in hold.lines:
            total[line.variant_id] = total.get(line.variant_id, 0) + line.quantity
    return total
