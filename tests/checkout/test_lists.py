"""Lists of orders: every combination of what may be asked for finds what it says, page by page."""

from __future__ import annotations

from datetime import timedelta
from itertools import product

import pytest

from tidegate.checkout import OrderFilter, OrderState, OrderSummary, Shop, list_orders
from tidegate.platform.database import Connection
from tidegate.platform.ids import PersonId, new_id

pytestmark = pytest.mark.anyio

FILL = r"""
WITH made AS (
    INSERT INTO checkout.orders (id, number, buyer_id, hold_id, state, total_amount, currency, email_sealed,
        shipping_sealed, pay_until, created_at, paid_at)
    SELECT uuidv7(make_interval(hours => -6 * n)), 'AAAA-' || lpad(n::text, 4, '0'), (%(buyers)s::uuid[])[1 + n %% 2],
        gen_random_uuid(), (%(states)s::text[])[1 + n %% 3], 100, 'GBP', '\x00', '\x00', now(),
        now() - make_interval(hours => 6 * n), now()
    FROM generate_series(1, 36) AS n
    RETURNING id
)
INSERT INTO checkout.order_lines (order_id, line_no, variant_id, sku, title, quantity, unit_amount)
SELECT id, 1, gen_random_uuid(), 'LAMP', 'Lamp', 2, 50 FROM made
"""


async def all_pages(conn: Connection, wanted: OrderFilter) -> list[OrderSummary]:
    """What all pages of seven list together."""
    page = await list_orders(conn, limit=7, wanted=wanted)
    orders = [*page.orders]
    while page.next_before is not None:
        page = await list_orders(conn, limit=7, before=page.next_before, wanted=wanted)
        orders += page.orders
    return orders


async def test_all_that_is_asked_for_holds_and_nothing_else(shop: Shop) -> None:
    buyers = [PersonId(new_id()), PersonId(new_id())]
    states = [OrderState.AWAITING_PAYMENT, OrderState.PAID, OrderState.CANCELLED]
    async with shop.database.transaction() as conn:
        await conn.execute(FILL, {"buyers": buyers, "states": [state.value for state in states]})
        everything = await all_pages(conn, OrderFilter())
        assert len(everything) == 36
        assert [each.id for each in everything] == sorted((each.id for each in everything), reverse=True)
        rows = await (await conn.execute("SELECT id, buyer_id FROM checkout.orders")).fetchall()
        buyer_of = dict(rows)
        day = everything[15].created_at
        choices = product(
            (None, buyers[0]), (None, states[1], states[2]), (None, everything[8].number), (None, day), (None, day)
        )
        for buyer, state, number, since, last in choices:
            until = last and last + timedelta(days=1)
            wanted = OrderFilter(None if buyer is None else [buyer], number, state, since, until)
            assert await all_pages(conn, wanted) == [
                each
                for each in everything
                if (buyer is None or buyer_of[each.id] == buyer)
                and (state is None or each.state is state)
                and (number is None or each.number == number)
                and (since is None or each.created_at >= since)
                and (until is None or each.created_at < until)
            ], wanted
