"""Holds: what a buyer can do with stock, in batches, on a connection that somebody else commits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec.structs import replace
from psycopg import AsyncCursor

from tidegate.inventory.contracts import Hold, HoldLine, HoldState
from tidegate.inventory.limits import ask_limits, counted, give_limits, keep_limits, read_room
from tidegate.inventory.rules import items_per_variant, may_move, retake
from tidegate.inventory.stock import StockMoves, ask_stock, lock_stock, move_stock
from tidegate.platform.database import Connection
from tidegate.platform.ids import BY_NUMBER, HoldId, OrderId, PersonId
from tidegate.platform.money import Money

SELECT = """
SELECT h.id, h.buyer_id, h.drop_id, h.state, h.order_id, h.expires_at,
    greatest(0, ceil(extract(epoch FROM h.expires_at - clock_timestamp())))::int, h.voucher_id,
    h.discount_amount, array_agg(l.variant_id ORDER BY l.variant_id), array_agg(l.quantity ORDER BY l.variant_id),
    array_agg(l.unit_amount ORDER BY l.variant_id), array_agg(l.currency ORDER BY l.variant_id)
FROM inventory.holds AS h JOIN inventory.hold_lines AS l ON l.hold_id = h.id
"""
GROUP = "GROUP BY h.id ORDER BY h.id"
READ = f"{SELECT} WHERE h.id = ANY(%b) {GROUP}"

OVER = "state = 'held' AND expires_at <= statement_timestamp()"
"""Of holds whose time is over. Not by `clock_timestamp()`, with which no index can be searched: then all that live
would be read, twice a second, and in a sale these are many."""

THESE_OVER = """
id = ANY(%s) AND state NOT IN ('ordered', 'confirmed', 'released', 'expired') AND expires_at <= statement_timestamp()
"""
"""The same of holds that are known by their ids: in other words, so that PostgreSQL looks for nothing but these."""

AskedStates = AsyncCursor[tuple[Any, ...]]
"""Ids and states of holds as a transaction was asked for them."""
AskedHolds = AsyncCursor[tuple[Any, ...]]
"""Holds as a transaction was asked for them."""


class Confirmation(StrEnum):
    """Whether the stock of a paid order is the buyer's: RETAKEN after the hold had ended, GONE when none was left."""

    CONFIRMED = "confirmed"
    RETAKEN = "retaken"
    GONE = "gone"


async def ask_holds(conn: Connection, hold_ids: Iterable[HoldId]) -> AskedHolds:
    """Lock holds, in the order of their ids, and read them; in pipeline mode this waits for nothing."""
    ordered = sorted(set(hold_ids), key=BY_NUMBER)
    await conn.execute(
        "SELECT id FROM inventory.holds WHERE id = ANY(%b) ORDER BY id FOR NO KEY UPDATE", (ordered,), binary=True
    )
    return await conn.execute(READ, (ordered,), binary=True)


async def attach_holds(
    conn: Connection, orders: Mapping[HoldId, OrderId], *, holds: Mapping[HoldId, Hold], ends_at: datetime
) -> None:
    """Bind live, locked holds that no order has to orders, and move their end to cover the payment window.

    As in `set_states`, the lock that `holds` were read under keeps their states.
    """
    assert all(may_move(holds[hold_id].state, HoldState.ORDERED) for hold_id in orders), (
        "only a live hold can be ordered"
    )
    ordered = sorted(orders, key=BY_NUMBER)
    await conn.execute(
        "UPDATE inventory.holds AS h SET state = 'ordered', order_id = o.order_id, expires_at = o.ends_at"
        " FROM unnest(%b::uuid[], %b::uuid[], %b::timestamptz[]) AS o (hold_id, order_id, ends_at)"
        " WHERE h.id = o.hold_id",
        (ordered, [orders[h] for h in ordered], [max(holds[h].expires_at, ends_at) for h in ordered]),
        binary=True,
    )


async def read_holds(asked: AskedHolds) -> dict[HoldId, Hold]:
    """The holds asked for, as they are under the lock."""
    return {row[0]: _hold(row) for row in await asked.fetchall()}


async def ask_hold_states(conn: Connection, hold_ids: Iterable[HoldId]) -> AskedStates:
    """Lock holds, in the order of their ids, whose lines the caller knows, and read how they stand."""
    return await conn.execute(
        "SELECT id, state FROM inventory.holds WHERE id = ANY(%b) ORDER BY id FOR NO KEY UPDATE",
        (sorted(set(hold_ids), key=BY_NUMBER),),
        binary=True,
    )


async def confirm_holds(
    conn: Connection,
    orders: Mapping[HoldId, OrderId],
    *,
    known: Mapping[HoldId, Hold],
    asked: AskedStates | None,
    moves: StockMoves,
) -> dict[HoldId, Confirmation]:
    """Turn the holds of paid orders into sales; an ended hold takes stock again if there is some.

    Repeating it for the same order changes nothing and gives the same answer. The orders are locked by the caller.
    `known` are holds as they were placed, whose states `ask_hold_states` was asked for; with `asked` None they still
    stand so, since their orders are made in this transaction. The caller applies `moves`, the change of stock, after
    its own writes.
    """
    if not orders:
        return {}
    if asked is None:
        holds = {hold_id: known[hold_id] for hold_id in orders}
    else:  # also of orders that were not paid
        holds = {each: _now(known[each], state) for each, state in await asked.fetchall() if each in orders}
    for hold_id, hold in holds.items():
        assert hold.order_id == orders[hold_id], f"hold {hold_id} belongs to another order"
    ready = [hold for hold in holds.values() if hold.state is HoldState.ORDERED]
    late = [hold for hold in holds.values() if hold.state not in (HoldState.ORDERED, HoldState.CONFIRMED)]
    back = [hold for hold in late if may_move(hold.state, HoldState.CONFIRMED)]
    retaken = await _retake(conn, ready, back) if back else []
    gone = {hold.id for hold in late} - {hold.id for hold in retaken}
    outcome = {
        hold_id: Confirmation.GONE if hold_id in gone or hold_id not in holds else Confirmation.CONFIRMED
        for hold_id in orders
    }
    outcome.update({hold.id: Confirmation.RETAKEN for hold in retaken})
    await set_states(conn, [*ready, *retaken], HoldState.CONFIRMED)
    await keep_limits(conn, ready, retaken=retaken)
    for hold in ready:
        for line in hold.lines:
            moves.add(line.variant_id, held=-line.quantity, sold=line.quantity)
    for hold in retaken:
        for line in hold.lines:
            moves.add(line.variant_id, sold=line.quantity)
    return outcome


def _now(hold: Hold, state: str) -> Hold:
    return hold if hold.state == state else replace(hold, state=HoldState(state))


async def _retake(conn: Connection, ready: Sequence[Hold], late: Sequence[Hold]) -> list[Hold]:
    """Which late holds may have their stock again; what they and the ready ones need is locked afterwards.

    None from before its drop was opened again: how much its buyer had then is forgotten.
    """
    keys = {key for hold in [*ready, *late] for key, _, _ in hold.taken}
    room = await read_room(await ask_limits(conn, keys))
    known = await counted(conn, late)
    free = await lock_stock(conn, (line.variant_id for hold in [*ready, *late] for line in hold.lines))
    return retake([hold for hold in late if hold.id in known], free=free, room=room)


async def release_holds(conn: Connection, hold_ids: Iterable[HoldId]) -> list[HoldId]:
    """Give live holds back, ordered ones too (their order's payment must have been ended first).

    Returns those that were live; others are left as they are.
    """
    live = [hold for hold in await _lock_holds(conn, sorted(hold_ids)) if hold.live]
    await end_holds(conn, live, HoldState.RELEASED)
    return [hold.id for hold in live]


async def release_unordered(conn: Connection, hold_ids: Iterable[HoldId]) -> list[HoldId]:
    """Give live holds back that no order has; returns those that were given back."""
    held = [hold for hold in await _lock_holds(conn, sorted(hold_ids)) if hold.state == HoldState.HELD]
    await end_holds(conn, held, HoldState.RELEASED)
    return [hold.id for hold in held]


async def due_holds(conn: Connection, *, limit: int, but: Sequence[HoldId] = ()) -> list[HoldId]:
    """Up to `limit` holds, without those of `but`, whose time is over and that no order has, the longest over first.

    Holds with an order are ended through the order, after its payment attempt is.
    """
    rows = await conn.execute(
        f"SELECT id FROM inventory.holds WHERE {OVER} AND id <> ALL(%s) ORDER BY expires_at LIMIT %s",  # noqa: S608
        (list(but), limit),
    )
    return [HoldId(row[0]) for row in await rows.fetchall()]


async def expire_holds(conn: Connection, hold_ids: Sequence[HoldId]) -> int:
    """End those of these holds that are due and that nobody else has in hand; returns how many."""
    rows = await conn.execute(
        f"SELECT id FROM inventory.holds WHERE {THESE_OVER} ORDER BY id FOR NO KEY UPDATE SKIP LOCKED",  # noqa: S608
        (list(hold_ids),),
    )
    due = [row[0] for row in await rows.fetchall()]
    holds = await _read_holds(conn, "h.id = ANY(%s)", (due,)) if due else []
    await end_holds(conn, holds, HoldState.EXPIRED)
    return len(holds)


async def load_holds(conn: Connection, hold_ids: Sequence[HoldId]) -> dict[HoldId, Hold]:
    """Holds with their lines, without locks."""
    return {hold.id: hold for hold in await _read_holds(conn, "h.id = ANY(%s)", (list(hold_ids),))}


async def live_holds(conn: Connection, *, buyer_id: PersonId) -> list[Hold]:
    """The buyer's holds that still keep stock, the newest first."""
    found = await _read_holds(conn, "h.buyer_id = %s AND h.state IN ('held', 'ordered')", (buyer_id,))
    return sorted((hold for hold in found if hold.seconds_left > 0), key=lambda hold: hold.id, reverse=True)


async def lock_own_expired(conn: Connection, hold_ids: Sequence[HoldId]) -> list[Hold]:
    """Lock those of these holds that are over and that no order has.

    One that the sweeper has in hand is not waited for, since that could deadlock, nor passed over, since it would still
    count: LockNotAvailable has the batch done again.
    """
    rows = await conn.execute(
        f"SELECT id FROM inventory.holds WHERE {THESE_OVER} ORDER BY id FOR NO KEY UPDATE NOWAIT",  # noqa: S608
        (sorted(set(hold_ids)),),
    )
    due = [row[0] for row in await rows.fetchall()]
    return await _read_holds(conn, "h.id = ANY(%s)", (due,)) if due else []


async def end_holds(conn: Connection, holds: Sequence[Hold], state: HoldState) -> None:
    """Give back what locked, live holds keep: their limits, then their stock."""
    if not holds:
        return
    await give_limits(conn, holds)
    back = items_per_variant(holds)
    await ask_stock(conn, back)
    await move_stock(conn, held={v: -n for v, n in back.items()}, sold={})
    await set_states(conn, holds, state)


async def _lock_holds(conn: Connection, hold_ids: Sequence[HoldId]) -> list[Hold]:
    await conn.execute(
        "SELECT id FROM inventory.holds WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE", (list(hold_ids),)
    )
    return await _read_holds(conn, "h.id = ANY(%s)", (list(hold_ids),))


async def set_states(conn: Connection, holds: Sequence[Hold], state: HoldState) -> None:
    """Let locked holds be in `state`.

    The states that they leave are not compared again: each was read by or after the statement that locked its row, and
    nobody else can change it until the transaction ends.
    """
    assert all(may_move(hold.state, state) for hold in holds), f"a hold cannot become {state} from where it is"
    if holds:
        await conn.execute(
            "UPDATE inventory.holds SET state = %s WHERE id = ANY(%s)",
            (state, sorted((hold.id for hold in holds), key=BY_NUMBER)),
        )


async def _read_holds(conn: Connection, condition: str, arguments: tuple[Any, ...]) -> list[Hold]:
    rows = await conn.execute(f"{SELECT} WHERE {condition} {GROUP}", arguments)
    return [_hold(row) for row in await rows.fetchall()]


def _hold(row: tuple[Any, ...]) -> Hold:
    lines = tuple(
        HoldLine(variant_id, quantity, Money(amount, currency))
        for variant_id, quantity, amount, currency in zip(*row[9:13], strict=True)
    )
    return Hold(row[0], row[1], row[2], HoldState(row[3]), row[4], row[5], row[6], lines, row[7], row[8])
