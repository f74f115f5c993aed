"""Orders whose payment is being asked for: kept in their request's key until it is known what came of it.

Nearly all orders of a sale are paid within a moment. Such an order is written once, as paid, by the batch that settles
it; until then all of it, with the intent to charge it, is in the key that its request claimed. Whoever else comes to it
first writes it as it is then, awaiting its payment (`take_up`): a webhook, its buyer, the reconciler.

Both write the order before they lock stock, limits or keys, so that its primary key decides who was first; the other
begins again (`is_race`) and finds it. Both end with its key: where that is gone, so is the order (`PendingGone`).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TypeVar
from uuid import UUID

import msgspec
from msgspec import Struct
from psycopg.errors import UniqueViolation

from tidegate import payments
from tidegate.checkout.orders import Order, insert_orders
from tidegate.payments.contracts import Answer, ChargeIntent, FirstAttempt
from tidegate.platform.database import Connection, Database
from tidegate.platform.idempotency import find_pending, forget_pending, old_pending
from tidegate.platform.ids import OrderId, VariantId
from tidegate.platform.problems import NotFound
from tidegate.platform.sealing import current_sealer

T = TypeVar("T")

COLUMN = "platform.idempotency_keys.pending_sealed"
PRIMARY_KEY = re.compile(r"orders_\w+_pkey|orders_pkey")

A_PART = 500
"""How many are written by one statement where all are."""


class PendingGone(Exception):
    """An order that was pending is neither in its key any more nor written: somebody removed it meanwhile."""


class PendingOrder(Struct, frozen=True):
    """An order as it was placed, the variants of its lines, and what its provider is asked for."""

    order: Order
    variants: tuple[VariantId, ...]
    intent: ChargeIntent


class Begun(Struct):
    """A pending order in the hands of the request that placed it.

    `tried`: a batch meant to write it, and may have found that somebody else did.
    """

    pending: PendingOrder
    tried: bool = False


_decoder = msgspec.json.Decoder(PendingOrder)


def seal_pending(pending: PendingOrder) -> bytes:
    """A pending order as it is kept in its key."""
    return current_sealer().seal(msgspec.json.encode(pending).decode(), column=COLUMN)


def open_pending(sealed: bytes) -> PendingOrder:
    """What `seal_pending` made. Raises: SealBroken."""
    return _decoder.decode(current_sealer().open(sealed, column=COLUMN))


def is_race(constraint: str) -> bool:
    """Whether a broken constraint of this name says that somebody else wrote the same order first."""
    return PRIMARY_KEY.fullmatch(constraint) is not None


async def write_pending(
    conn: Connection, pending: Collection[PendingOrder], *, captured: Mapping[OrderId, Answer] | None = None
) -> None:
    """Write orders with their first attempts: those that are `captured` as paid, others as they were placed."""
    if not pending:
        return
    captured = captured or {}
    ordered = sorted(pending, key=lambda each: each.order.id.int)
    await insert_orders(
        conn,
        [each.order for each in ordered],
        [each.variants for each in ordered],
        paid=captured.keys(),
    )
    await payments.record_first_attempts(
        conn,
        [
            FirstAttempt(
                each.intent,
                each.order.created_at,
                captured[each.order.id].provider_ref if each.order.id in captured else None,
            )
            for each in ordered
        ],
    )


async def take_up(database: Database, order_ids: Sequence[OrderId]) -> int:
    """Write those of these orders that are pending, awaiting their payment; returns how many were."""
    done = 0
    if not order_ids:
        return done
    async with database.connection() as conn:
        found = await find_pending(conn, order_ids)
    for order_id in found:
        done += await write_found(database, [OrderId(order_id)])
    return done


async def or_taken_up(database: Database, order_id: OrderId, look: Callable[[], Awaitable[T]]) -> T:
    """What `look` finds; where it finds no such order, once more: it may be pending, or have been until now.

    Raises: NotFound, and what else `look` raises.
    """
    try:
        return await look()
    except NotFound:
        await take_up(database, [order_id])
    return await look()


async def write_found(database: Database, order_ids: Sequence[OrderId]) -> int:
    """The same of several in one transaction, or of one that somebody else may be at.

    Raises: UniqueViolation or PendingGone when somebody else wrote or removed one of several meanwhile.
    """
    try:
        async with database.transaction() as conn:
            return await _write_all(conn, await find_pending(conn, order_ids))
    except UniqueViolation as error:
        if len(order_ids) > 1 or not is_race(error.diag.constraint_name or ""):
            raise
    except PendingGone:
        if len(order_ids) > 1:
            raise
    return 0


async def take_up_all(conn: Connection) -> int:
    """Write whatever is pending, in the caller's transaction, before something is done to all orders there are."""
    done = 0
    while found := await old_pending(conn, after_s=0, limit=A_PART):
        done += await _write_all(conn, found)
    return done


async def _write_all(conn: Connection, found: Mapping[UUID, bytes]) -> int:
    if not found:
        return 0
    await write_pending(conn, [open_pending(sealed) for sealed in found.values()])
    if (forgotten := await forget_pending(conn, list(found))) < len(found):
        raise PendingGone(f"{len(found) - forgotten} of {len(found)} keys were removed while their orders were written")
    return forgotten
