"""Orders in the database: written, read, moved from state to state, in batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from tidegate.checkout.contracts import Address, BoughtLine, OrderState, OrderSummary
from tidegate.checkout.rules import may_move, order_number
from tidegate.platform.database import Connection
from tidegate.platform.ids import HoldId, OrderId, PersonId, VariantId
from tidegate.platform.money import Money
from tidegate.platform.sealing import current_sealer

EMAIL_COLUMN = "checkout.orders.email_sealed"
SHIPPING_COLUMN = "checkout.orders.shipping_sealed"


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An order to be written; `lines` pair each line with its variant."""

    id: OrderId
    buyer_id: PersonId
    hold_id: HoldId
    total: Money
    email: str
    address: Address
    pay_until: datetime
    lines: tuple[tuple[VariantId, BoughtLine], ...]


@dataclass(frozen=True, slots=True)
class Order:
    """A row of checkout.orders, personal data opened."""

    id: OrderId
    number: str
    buyer_id: PersonId
    hold_id: HoldId
    state: OrderState
    total: Money
    email: str
    address: Address
    pay_until: datetime
    seconds_left: int
    created_at: datetime
    lines: tuple[BoughtLine, ...]


async def insert_orders(conn: Connection, orders: Sequence[NewOrder]) -> dict[OrderId, str]:
    """Write orders that await payment, with their lines; returns their numbers."""
    sealer = current_sealer()
    rows = await conn.execute(
        "SELECT nextval('checkout.order_sequence'), (SELECT key FROM checkout.order_number_key)"
        " FROM generate_series(1, %s)",
        (len(orders),),
    )
    numbers = [order_number(sequence, key=key) for sequence, key in await rows.fetchall()]
    await conn.execute(
        "INSERT INTO checkout.orders (id, number, buyer_id, hold_id, state, total_amount, currency,"
        " email_sealed, shipping_sealed, pay_until)"
        " SELECT id, number, buyer_id, hold_id, 'awaiting_payment', amount, currency, email, shipping, pay_until"
        " FROM unnest(%s::uuid[], %s::text[], %s::uuid[], %s::uuid[], %s::bigint[], %s::text[], %s::bytea[],"
        " %s::bytea[], %s::timestamptz[])"
        " AS o (id, number, buyer_id, hold_id, amount, currency, email, shipping, pay_until)",
        (
            [o.id for o in orders],
            numbers,
            [o.buyer_id for o in orders],
            [o.hold_id for o in orders],
            [o.total.amount for o in orders],
            [o.total.currency for o in orders],
            [sealer.seal(o.email, column=EMAIL_COLUMN) for o in orders],
            [sealer.seal_json(_address_json(o.address), column=SHIPPING_COLUMN) for o in orders],
            [o.pay_until for o in orders],
        ),
    )
    lines = [(o.id, no, variant, line) for o in orders for no, (variant, line) in enumerate(o.lines, 1)]
    await conn.execute(
        "INSERT INTO checkout.order_lines (order_id, line_no, variant_id, sku, title, quantity, unit_amount)"
        " SELECT * FROM unnest(%s::uuid[], %s::int[], %s::uuid[], %s::text[], %s::text[], %s::int[], %s::bigint[])",
        (
            [order_id for order_id, _, _, _ in lines],
            [no for _, no, _, _ in lines],
            [variant for _, _, variant, _ in lines],
            [line.sku for _, _, _, line in lines],
            [line.title for _, _, _, line in lines],
            [line.quantity for _, _, _, line in lines],
            [line.unit.amount for _, _, _, line in lines],
        ),
    )
    return {order.id: number for order, number in zip(orders, numbers, strict=True)}


async def lock_orders(conn: Connection, order_ids: Sequence[OrderId]) -> dict[OrderId, Order]:
    """Lock orders, sorted, until the transaction ends, and read them. Orders are locked before anything else."""
    await conn.execute(
        "SELECT id FROM checkout.orders WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE", (sorted(set(order_ids)),)
    )
    return await load_orders(conn, order_ids)


async def load_orders(conn: Connection, order_ids: Sequence[OrderId]) -> dict[OrderId, Order]:
    """Read orders with their lines, without locks."""
    rows = await conn.execute(
        "SELECT o.id, o.number, o.buyer_id, o.hold_id, o.state, o.total_amount, o.currency, o.email_sealed,"
        " o.shipping_sealed, o.pay_until,"
        " greatest(0, ceil(extract(epoch FROM o.pay_until - clock_timestamp())))::int, o.created_at,"
        " array_agg(l.sku ORDER BY l.line_no), array_agg(l.title ORDER BY l.line_no),"
        " array_agg(l.quantity ORDER BY l.line_no), array_agg(l.unit_amount ORDER BY l.line_no)"
        " FROM checkout.orders AS o JOIN checkout.order_lines AS l ON l.order_id = o.id"
        " WHERE o.id = ANY(%s) GROUP BY o.id",
        (list(set(order_ids)),),
    )
    return {row[0]: _order(row) for row in await rows.fetchall()}


async def move_orders(conn: Connection, moves: Mapping[OrderId, OrderState]) -> set[OrderId]:
    """Move orders where `rules.TRANSITIONS` allows it from the state they have now; returns those that moved."""
    if not moves:
        return set()
    ordered = sorted(moves)
    allowed = {new: [old.value for old in OrderState if may_move(old, new)] for new in set(moves.values())}
    moved: set[OrderId] = set()
    for new, olds in sorted(allowed.items()):
        rows = await conn.execute(
            "UPDATE checkout.orders SET state = %s,"
            " paid_at = CASE WHEN %s = 'paid' THEN clock_timestamp() ELSE paid_at END"
            " WHERE id = ANY(%s) AND state = ANY(%s) RETURNING id",
            (new, new, [order_id for order_id in ordered if moves[order_id] == new], olds),
        )
        moved |= {row[0] for row in await rows.fetchall()}
    return moved


async def unpaid_past_their_time(conn: Connection, *, limit: int) -> list[OrderId]:
    """Orders whose payment window is over, the oldest first."""
    rows = await conn.execute(
        "SELECT id FROM checkout.orders WHERE state IN ('awaiting_payment', 'payment_failed')"
        " AND pay_until <= clock_timestamp() ORDER BY pay_until LIMIT %s",
        (limit,),
    )
    return [row[0] for row in await rows.fetchall()]


async def list_recent(conn: Connection, *, limit: int, before: UUID | None = None) -> list[OrderSummary]:
    """The newest orders, for staff; `before` is the last id of the page before."""
    rows = await conn.execute(
        "SELECT o.id, o.number, o.state, o.total_amount, o.currency,"
        " (SELECT sum(quantity) FROM checkout.order_lines AS l WHERE l.order_id = o.id)::int, o.created_at"
        " FROM checkout.orders AS o WHERE (%(before)s::uuid IS NULL OR o.id < %(before)s)"
        " ORDER BY o.id DESC LIMIT %(limit)s",
        {"before": before, "limit": limit},
    )
    return [
        OrderSummary(row[0], row[1], OrderState(row[2]), Money(row[3], row[4]), row[5], row[6])
        for row in await rows.fetchall()
    ]


def _order(row: tuple[Any, ...]) -> Order:
    sealer = current_sealer()
    currency = row[6]
    lines = zip(*row[12:16], strict=True)
    return Order(
        id=row[0],
        number=row[1],
        buyer_id=row[2],
        hold_id=row[3],
        state=OrderState(row[4]),
        total=Money(row[5], currency),
        email=sealer.open(bytes(row[7]), column=EMAIL_COLUMN),
        address=Address(**sealer.open_json(bytes(row[8]), column=SHIPPING_COLUMN)),
        pay_until=row[9],
        seconds_left=row[10],
        created_at=row[11],
        lines=tuple(BoughtLine(sku, title, quantity, Money(unit, currency)) for sku, title, quantity, unit in lines),
    )


def _address_json(address: Address) -> dict[str, str]:
    return {
        "name": address.name,
        "line1": address.line1,
        "city": address.city,
        "postal_code": address.postal_code,
        "country": address.country,
    }
