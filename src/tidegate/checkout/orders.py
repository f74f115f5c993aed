"""Orders in the database: written, read, moved from state to state, in batches."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct
from psycopg import AsyncCursor

from tidegate.checkout.address_rules import address_document
from tidegate.checkout.contracts import (
    NO_CHARGES,
    Address,
    BoughtLine,
    Charges,
    OrderState,
    ShippingChosen,
    TaxLine,
)
from tidegate.checkout.rules import may_move, order_number
from tidegate.platform.database import Connection
from tidegate.platform.ids import BY_NUMBER, HoldId, OrderId, PersonId, VariantId
from tidegate.platform.money import Money
from tidegate.platform.sealing import current_sealer

PAID = OrderState.PAID.value

EMAIL_COLUMN = "checkout.orders.email_sealed"
EMAIL_FINGERPRINT = "checkout.orders.email_fingerprint"
FINGERPRINT_BYTES = 16
"""How much of the hash of an e-mail address is kept, as the table's constraint says."""

SHIPPING_COLUMN = "checkout.orders.shipping_sealed"

AskedNumbers = AsyncCursor[tuple[Any, ...]]
"""Order numbers as a transaction was asked for them."""
AskedStates = AsyncCursor[tuple[Any, ...]]
"""Locked orders as a transaction was asked for them."""


class Order(Struct, frozen=True):
    """A row of checkout.orders, personal data opened."""

    id: OrderId
    number: str
    buyer_id: PersonId
    hold_id: HoldId
    state: OrderState
    total: Money
    discount: Money
    email: str
    address: Address
    pay_until: datetime
    seconds_left: int
    created_at: datetime
    lines: tuple[BoughtLine, ...]
    charges: Charges = NO_CHARGES
    billing: Address | None = None


INSERT = """
INSERT INTO checkout.orders (id, number, buyer_id, hold_id, state, total_amount, discount_amount, currency,
    email_sealed, shipping_sealed, email_fingerprint, pay_until, created_at, paid_at)
SELECT id, number, buyer_id, hold_id, state, amount, discount, currency, email, shipping, fingerprint,
    pay_until, created_at, CASE WHEN state = 'paid' THEN clock_timestamp() END
FROM unnest(%b::uuid[], %b::text[], %b::uuid[], %b::uuid[], %b::text[], %b::bigint[], %b::bigint[], %b::text[],
    %b::bytea[], %b::bytea[], %b::bytea[], %b::timestamptz[], %b::timestamptz[])
    AS o (id, number, buyer_id, hold_id, state, amount, discount, currency, email, shipping, fingerprint, pay_until,
        created_at)
"""

INSERT_LINES = """
INSERT INTO checkout.order_lines (order_id, line_no, variant_id, sku, title, quantity, unit_amount)
SELECT * FROM unnest(%b::uuid[], %b::int[], %b::uuid[], %b::text[], %b::text[], %b::int[], %b::bigint[])
"""

INSERT_CHARGED = """
INSERT INTO checkout.orders (id, number, buyer_id, hold_id, state, total_amount, discount_amount, currency,
    email_sealed, shipping_sealed, email_fingerprint, pay_until, created_at, paid_at, shipping_code, shipping_name,
    shipping_amount, tax_amount, tax_included)
SELECT id, number, buyer_id, hold_id, state, amount, discount, currency, email, shipping, fingerprint,
    pay_until, created_at, CASE WHEN state = 'paid' THEN clock_timestamp() END, code, name, sent, tax, included
FROM unnest(%b::uuid[], %b::text[], %b::uuid[], %b::uuid[], %b::text[], %b::bigint[], %b::bigint[], %b::text[],
    %b::bytea[], %b::bytea[], %b::bytea[], %b::timestamptz[], %b::timestamptz[], %b::text[], %b::text[], %b::bigint[],
    %b::bigint[], %b::bool[])
    AS o (id, number, buyer_id, hold_id, state, amount, discount, currency, email, shipping, fingerprint, pay_until,
        created_at, code, name, sent, tax, included)
"""

INSERT_TAXES = """
INSERT INTO checkout.order_taxes (order_id, line_no, name, rate_bp, base_amount, tax_amount)
SELECT * FROM unnest(%b::uuid[], %b::int[], %b::text[], %b::int[], %b::bigint[], %b::bigint[])
"""

UNPAID = """
SELECT id FROM checkout.orders
WHERE state IN ('awaiting_payment', 'payment_failed') AND pay_until <= statement_timestamp() AND id <> ALL(%s)
ORDER BY coalesce(ending_tried_at, pay_until) LIMIT %s
"""

MOVE = """
UPDATE checkout.orders SET state = %b,
    paid_at = CASE WHEN %b = 'paid' THEN coalesce(paid_at, clock_timestamp()) ELSE paid_at END
WHERE id = ANY(%b) AND state = ANY(%b)
"""


async def number_key(conn: Connection) -> UUID:
    """The key of this shop's order numbers; it never changes."""
    row = await (await conn.execute("SELECT key FROM checkout.order_number_key")).fetchone()
    assert row is not None, "the migrations make the key"
    key: UUID = row[0]
    return key


async def ask_numbers(conn: Connection, count: int) -> AskedNumbers:
    """Draw `count` order numbers; those that are not used are lost. In pipeline mode this waits for nothing."""
    return await conn.execute("SELECT nextval('checkout.order_sequence') FROM generate_series(1, %b)", (count,))


async def read_numbers(asked: AskedNumbers, *, key: UUID) -> list[str]:
    """The numbers drawn."""
    return [order_number(row[0], key=key) for row in await asked.fetchall()]


async def insert_orders(
    conn: Connection,
    orders: Sequence[Order],
    variants: Sequence[Sequence[VariantId]],
    *,
    paid: Collection[OrderId] = (),
) -> None:
    """Write orders, those of `paid` as paid, with their lines; `variants` are those of each order's lines."""
    if not orders:
        return
    sealer = current_sealer()
    charged = any(order.charges is not NO_CHARGES for order in orders)
    await conn.execute(
        INSERT_CHARGED if charged else INSERT,
        (
            [o.id for o in orders],
            [o.number for o in orders],
            [o.buyer_id for o in orders],
            [o.hold_id for o in orders],
            [PAID if o.id in paid else o.state.value for o in orders],
            [o.total.amount for o in orders],
            [o.discount.amount for o in orders],
            [o.total.currency for o in orders],
            [sealer.seal(o.email, column=EMAIL_COLUMN) for o in orders],
            [sealer.seal_json(_sealed_addresses(o), column=SHIPPING_COLUMN) for o in orders],
            [email_fingerprint(o.email) for o in orders],
            [o.pay_until for o in orders],
            [o.created_at for o in orders],
            *(_charge_columns(orders) if charged else ()),
        ),
        binary=True,
    )
    lines = [
        (order.id, no, variant, line)
        for order, of_lines in zip(orders, variants, strict=True)
        for no, (variant, line) in enumerate(zip(of_lines, order.lines, strict=True), 1)
    ]
    await conn.execute(
        INSERT_LINES,
        (
            [order_id for order_id, _, _, _ in lines],
            [no for _, no, _, _ in lines],
            [variant for _, _, variant, _ in lines],
            [line.sku for _, _, _, line in lines],
            [line.title for _, _, _, line in lines],
            [line.quantity for _, _, _, line in lines],
            [line.unit.amount for _, _, _, line in lines],
        ),
        binary=True,
    )
    if charged:
        await _insert_taxes(conn, orders)


def email_fingerprint(email: str) -> bytes:
    """By what orders with this e-mail address are found; the case of its letters makes no difference."""
    return current_sealer().fingerprint(email, column=EMAIL_FINGERPRINT)[:FINGERPRINT_BYTES]


async def ask_states(conn: Connection, order_ids: Iterable[OrderId]) -> AskedStates:
    """Lock orders, sorted, until the transaction ends, before anything else of theirs is touched."""
    return await conn.execute(
        "SELECT id, state FROM checkout.orders WHERE id = ANY(%b) ORDER BY id FOR NO KEY UPDATE",
        (sorted(set(order_ids), key=BY_NUMBER),),
        binary=True,
    )


async def read_states(asked: AskedStates) -> dict[OrderId, OrderState]:
    """How the locked orders stand; unknown ones are absent."""
    return {row[0]: OrderState(row[1]) for row in await asked.fetchall()}


async def lock_orders(conn: Connection, order_ids: Sequence[OrderId]) -> dict[OrderId, Order]:
    """Lock orders, sorted, until the transaction ends, and read them. Orders are locked before anything else."""
    await ask_states(conn, order_ids)
    return await load_orders(conn, order_ids)


async def try_lock_order(conn: Connection, order_id: OrderId) -> Order | None:
    """Lock and read an order; None when another transaction has it, for callers who must not wait."""
    locked = await conn.execute(
        "SELECT id FROM checkout.orders WHERE id = %b FOR NO KEY UPDATE SKIP LOCKED", (order_id,)
    )
    return (await load_orders(conn, [order_id]))[order_id] if await locked.fetchone() else None


async def load_orders(conn: Connection, order_ids: Sequence[OrderId]) -> dict[OrderId, Order]:
    """Read orders with their lines, without locks."""
    rows = await conn.execute(
        "SELECT o.id, o.number, o.buyer_id, o.hold_id, o.state, o.total_amount, o.currency, o.email_sealed,"
        " o.shipping_sealed, o.pay_until,"
        " greatest(0, ceil(extract(epoch FROM o.pay_until - clock_timestamp())))::int, o.created_at,"
        " o.discount_amount, o.shipping_code, o.shipping_name, o.shipping_amount, o.tax_included,"
        " CASE WHEN o.tax_amount > 0 OR EXISTS (SELECT FROM checkout.order_taxes AS t WHERE t.order_id = o.id) THEN"
        " (SELECT jsonb_agg(jsonb_build_array(t.name, t.rate_bp, t.base_amount, t.tax_amount) ORDER BY t.line_no)"
        " FROM checkout.order_taxes AS t WHERE t.order_id = o.id) END,"
        " array_agg(l.sku ORDER BY l.line_no), array_agg(l.title ORDER BY l.line_no),"
        " array_agg(l.quantity ORDER BY l.line_no), array_agg(l.unit_amount ORDER BY l.line_no)"
        " FROM checkout.orders AS o JOIN checkout.order_lines AS l ON l.order_id = o.id"
        " WHERE o.id = ANY(%s) GROUP BY o.id",
        (list(set(order_ids)),),
    )
    return {row[0]: _order(row) for row in await rows.fetchall()}


async def there_already(conn: Connection, order_ids: Sequence[OrderId]) -> set[OrderId]:
    """Which of these orders are written."""
    if not order_ids:
        return set()
    rows = await conn.execute("SELECT id FROM checkout.orders WHERE id = ANY(%s)", (list(order_ids),))
    return {row[0] for row in await rows.fetchall()}


async def count_paid(conn: Connection, *, order_ids: Sequence[OrderId]) -> int:
    """How many of these orders are there and were paid, whatever became of them since."""
    found = await conn.execute(
        "SELECT count(*) FROM checkout.orders WHERE id = ANY(%s) AND paid_at IS NOT NULL", (list(order_ids),)
    )
    row = await found.fetchone()
    return int(row[0]) if row else 0


async def move_orders(conn: Connection, moves: Mapping[OrderId, OrderState]) -> None:
    """Move orders where `rules.TRANSITIONS` allows it from the state they have now; others stay as they are."""
    for new in sorted(set(moves.values())):
        olds = [old.value for old in OrderState if may_move(old, new)]
        ids = sorted(order_id for order_id, state in moves.items() if state == new)
        await conn.execute(MOVE, (new.value, new.value, ids, olds), binary=True)


async def unpaid_past_their_time(conn: Connection, *, limit: int, but: Sequence[OrderId] = ()) -> list[OrderId]:
    """Orders, without those of `but`, whose payment window is over.

    First those that waited longest since then, or since the last try.
    """
    rows = await conn.execute(UNPAID, (list(but), limit))
    return [row[0] for row in await rows.fetchall()]


async def put_last(conn: Connection, order_ids: Sequence[OrderId]) -> None:
    """Let other orders be ended before these, whose payment could not be ended, are tried again."""
    await conn.execute(
        "UPDATE checkout.orders AS o SET ending_tried_at = clock_timestamp() FROM ("
        " SELECT id FROM checkout.orders WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED) AS tried"
        " WHERE o.id = tried.id",
        (list(order_ids),),
    )


def _order(row: tuple[Any, ...]) -> Order:
    sealer = current_sealer()
    currency = row[6]
    lines = zip(*row[18:22], strict=True)
    address = sealer.open_json(bytes(row[8]), column=SHIPPING_COLUMN)
    billing = address.pop("billing", None)
    return Order(
        id=row[0],
        number=row[1],
        buyer_id=row[2],
        hold_id=row[3],
        state=OrderState(row[4]),
        total=Money(row[5], currency),
        discount=Money(row[12], currency),
        email=sealer.open(bytes(row[7]), column=EMAIL_COLUMN),
        address=Address(**address),
        pay_until=row[9],
        seconds_left=row[10],
        created_at=row[11],
        lines=tuple(BoughtLine(sku, title, quantity, Money(unit, currency)) for sku, title, quantity, unit in lines),
        charges=_charges(row[13:18], currency),
        billing=None if billing is None else Address(**billing),
    )


def _charges(row: tuple[Any, ...], currency: str) -> Charges:
    code, name, shipping, included, taxes = row
    if code is None and not taxes:
        return NO_CHARGES
    chosen = None if code is None else ShippingChosen(code, name, Money(shipping, currency))
    return Charges(chosen, tuple(TaxLine(*each) for each in taxes or ()), included)


def _charge_columns(orders: Sequence[Order]) -> tuple[list[Any], ...]:
    """What comes to the goods, as `INSERT_CHARGED` takes it."""
    charges = [order.charges for order in orders]
    chosen = [each.shipping for each in charges]
    return (
        [each.code if each else None for each in chosen],
        [each.name if each else None for each in chosen],
        [each.shipping_amount for each in charges],
        [each.tax_amount for each in charges],
        [each.tax_included for each in charges],
    )


async def _insert_taxes(conn: Connection, orders: Sequence[Order]) -> None:
    taxes = [
        (order.id, no, tax.name, tax.rate_bp, tax.base, tax.amount)
        for order in orders
        for no, tax in enumerate(order.charges.taxes, 1)
    ]
    if taxes:
        await conn.execute(INSERT_TAXES, tuple(map(list, zip(*taxes, strict=True))), binary=True)


def addresses_document(order: Order) -> dict[str, Any]:
    """Where an order goes, as `address`, and whom its bill is for, as `billing`, where that is another address."""
    if order.billing is None:
        return {"address": address_document(order.address)}
    return {"address": address_document(order.address), "billing": address_document(order.billing)}


def _sealed_addresses(order: Order) -> dict[str, Any]:
    """The same as it is sealed: the address with the bill's among its fields, as orders had it before bills had any."""
    document: dict[str, Any] = address_document(order.address)
    if order.billing is not None:
        document["billing"] = address_document(order.billing)
    return document
