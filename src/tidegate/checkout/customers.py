"""Who bought, for staff: buyers in a list, what they spent, and orders by the e-mail address they were placed with."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tidegate import payments
from tidegate.checkout.address_book import list_addresses
from tidegate.checkout.contracts import Address
from tidegate.checkout.orders import EMAIL_COLUMN, FINGERPRINT_BYTES, email_fingerprint, load_orders
from tidegate.checkout.shop import Shop
from tidegate.platform.database import Connection
from tidegate.platform.ids import OrderId, PersonId
from tidegate.platform.money import Money
from tidegate.platform.sealing import SealBroken, current_sealer

MAX_SUMMED = 10_000
"""Most orders, the newest first, of which one page's sums are made."""

LOOKED_AT = 50
"""Newest orders of a buyer in which addresses are looked for."""

FILL_BATCH = 500
"""Orders without a fingerprint that are given one in a round."""

BUYERS = """
WITH RECURSIVE found AS (
    (SELECT buyer_id, 1 AS place FROM checkout.orders
     WHERE %(before)s::uuid IS NULL OR buyer_id < %(before)s ORDER BY buyer_id DESC LIMIT 1)
    UNION ALL
    SELECT (SELECT o.buyer_id FROM checkout.orders AS o WHERE o.buyer_id < f.buyer_id ORDER BY o.buyer_id DESC LIMIT 1),
        f.place + 1
    FROM found AS f WHERE f.buyer_id IS NOT NULL AND f.place < %(limit)s
)
SELECT buyer_id FROM found WHERE buyer_id IS NOT NULL
"""

BUYERS_BY_EMAIL = """
SELECT DISTINCT buyer_id FROM checkout.orders
WHERE email_fingerprint = %(fingerprint)s AND (%(before)s::uuid IS NULL OR buyer_id < %(before)s)
ORDER BY buyer_id DESC LIMIT %(limit)s
"""

LAST_EMAILS = """
SELECT b.buyer_id, o.email_sealed FROM unnest(%s::uuid[]) AS b (buyer_id)
CROSS JOIN LATERAL (
    SELECT email_sealed FROM checkout.orders WHERE buyer_id = b.buyer_id ORDER BY id DESC LIMIT 1
) AS o
"""

UNFILLED = """
SELECT id, email_sealed FROM checkout.orders WHERE email_fingerprint IS NULL
ORDER BY id LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
"""

FILL = """
UPDATE checkout.orders AS o SET email_fingerprint = f.fingerprint
FROM unnest(%s::uuid[], %s::bytea[]) AS f (id, fingerprint) WHERE o.id = f.id
"""


@dataclass(frozen=True, slots=True)
class BuyerSums:
    """What somebody ordered. `spent` is what was paid less what was given back, one sum a currency."""

    orders: int
    first_at: datetime
    last_at: datetime
    spent: tuple[Money, ...]


async def list_buyers(
    conn: Connection, *, limit: int, before: UUID | None = None, email: str = ""
) -> tuple[PersonId, ...]:
    """People who ordered, guests too, those who came last first; `email`: only who ordered with just this address."""
    values = {"limit": limit, "before": before, "fingerprint": email_fingerprint(email) if email else None}
    rows = await conn.execute(BUYERS_BY_EMAIL if email else BUYERS, values)
    return tuple(PersonId(row[0]) for row in await rows.fetchall())


async def sum_buyers(conn: Connection, *, buyers: Collection[PersonId]) -> dict[PersonId, BuyerSums]:
    """What these people ordered; those without an order are absent."""
    rows = await conn.execute(
        "SELECT id, buyer_id, created_at FROM checkout.orders WHERE buyer_id = ANY(%s) ORDER BY id DESC LIMIT %s",
        (list(buyers), MAX_SUMMED),
    )
    placed: dict[PersonId, list[tuple[OrderId, datetime]]] = {}
    for order_id, buyer_id, at in await rows.fetchall():
        placed.setdefault(PersonId(buyer_id), []).append((OrderId(order_id), at))
    paid = await payments.paid_for(conn, order_ids=[order_id for orders in placed.values() for order_id, _ in orders])
    return {
        buyer: BuyerSums(
            orders=len(orders),
            first_at=orders[-1][1],
            last_at=orders[0][1],
            spent=_by_currency([paid[order_id] for order_id, _ in orders if order_id in paid]),
        )
        for buyer, orders in placed.items()
    }


def _by_currency(sums: Sequence[Money]) -> tuple[Money, ...]:
    amounts: dict[str, int] = {}
    for each in sums:
        amounts[each.currency] = amounts.get(each.currency, 0) + each.amount
    return tuple(Money(amount, currency) for currency, amount in sorted(amounts.items()))


async def last_emails(conn: Connection, *, buyers: Collection[PersonId]) -> dict[PersonId, str]:
    """The e-mail address that each of these people gave with their last order."""
    rows = await conn.execute(LAST_EMAILS, (list(buyers),))
    sealer = current_sealer()
    return {PersonId(row[0]): sealer.open(bytes(row[1]), column=EMAIL_COLUMN) for row in await rows.fetchall()}


async def addresses_of_buyer(conn: Connection, *, buyer: PersonId) -> tuple[Address, ...]:
    """Where somebody had goods sent: the address book, then the addresses of the newest orders, each once."""
    book = [saved.address for saved in await list_addresses(conn, person_id=buyer)]
    rows = await conn.execute(
        "SELECT id FROM checkout.orders WHERE buyer_id = %s ORDER BY id DESC LIMIT %s", (buyer, LOOKED_AT)
    )
    orders = await load_orders(conn, [OrderId(row[0]) for row in await rows.fetchall()])
    used = [orders[order_id].address for order_id in sorted(orders, reverse=True)]
    return tuple(dict.fromkeys((*book, *used)))


async def fingerprint_orders_once(shop: Shop) -> int:
    """Make some orders findable by e-mail that were placed before orders were; returns how many."""
    async with shop.database.transaction() as conn:
        rows = await (await conn.execute(UNFILLED, (FILL_BATCH,))).fetchall()
        if rows:
            await conn.execute(FILL, ([row[0] for row in rows], [_fingerprint_of(bytes(row[1])) for row in rows]))
    return len(rows)


def _fingerprint_of(sealed: bytes) -> bytes:
    """What an order is found by; one whose key is gone is found by nothing, and must not hold up the others."""
    try:
        return email_fingerprint(current_sealer().open(sealed, column=EMAIL_COLUMN))
    except SealBroken:
        return bytes(FINGERPRINT_BYTES)
