"""Delivery and taxes through a whole purchase: chosen, charged, kept, told; and known at once when they change."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.checkout.buying import ADDRESS, guest, held, order_body, post, problem, purchase_body
from tests.checkout.conftest import Stock
from tests.checkout.rates import the_rates
from tidegate.catalog import set_prices_include_tax, set_tax, set_tax_class
from tidegate.checkout import Shop
from tidegate.platform.database import Database

pytestmark = pytest.mark.anyio


def gbp(amount: int) -> dict[str, Any]:
    return {"amount": amount, "currency": "GBP"}


async def test_a_shop_without_rates_adds_nothing(site: httpx.AsyncClient, sell: Stock) -> None:
    await sell("LAMP", stock=5, price=250)
    order = (await post(site, "/api/v1/purchases", purchase_body(), await guest(site))).json()
    assert (order["total"], order["shipping"], order["tax"]) == (gbp(250), None, None)


async def test_taxes_within_the_prices_and_the_cheapest_delivery(
    site: httpx.AsyncClient, sell: Stock, database: Database
) -> None:
    await sell("LAMP", stock=5, price=1000)
    await the_rates(database)
    order = (await post(site, "/api/v1/purchases", purchase_body(("LAMP", 2)), await guest(site))).json()
    assert order["shipping"] == {"method": "post", "name": "Post", "amount": gbp(400)}
    assert order["total"] == gbp(2400)
    vat = {"name": "VAT", "rate_bp": 2000, "base": gbp(2400), "amount": gbp(400)}
    assert order["tax"] == {"included": True, "amount": gbp(400), "lines": [vat]}


async def test_taxes_on_top_by_class_and_the_delivery_that_was_chosen(
    site: httpx.AsyncClient, sell: Stock, database: Database
) -> None:
    await sell("LAMP", stock=5, price=1000)
    await sell("BOOK", stock=5, price=3000)
    await the_rates(database)
    async with database.transaction() as conn:
        await set_prices_include_tax(conn, include=False)
        await set_tax(conn, country="GB", tax_class="reduced", name="VAT", rate_bp=500)
        await set_tax_class(conn, slug="book", tax_class="reduced")
    body = purchase_body(("LAMP", 1), ("BOOK", 1), shipping_method="courier")
    who = await guest(site)
    order = (await post(site, "/api/v1/purchases", body, who)).json()
    assert order["shipping"]["amount"] == gbp(1200)
    assert [(each["base"], each["amount"]) for each in order["tax"]["lines"]] == [
        (gbp(1300), gbp(260)),
        (gbp(3900), gbp(195)),
    ]
    assert order["total"] == gbp(1000 + 3000 + 1200 + 260 + 195)
    again = (await site.get(f"/api/v1/orders/{order['id']}", headers=who)).json()
    assert {name: again[name] for name in ("total", "shipping", "tax")} == {
        name: order[name] for name in ("total", "shipping", "tax")
    }


async def test_an_order_of_a_hold_says_the_same(site: httpx.AsyncClient, sell: Stock, database: Database) -> None:
    await sell("LAMP", stock=5, price=1000)
    await the_rates(database)
    who = await guest(site)
    hold = await held(site, who)
    order = (await post(site, "/api/v1/orders", order_body(hold["id"]) | {"shipping_method": "courier"}, who)).json()
    assert (hold["total"], order["total"], order["state"]) == (gbp(1000), gbp(2200), "paid")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"shipping_method": "balloon"}, (422, "shipping-unknown")),
        ({"shipping_address": ADDRESS | {"country": "FR"}}, (422, "not-shipped-there")),
    ],
)
async def test_what_cannot_be_sent_takes_no_stock(
    site: httpx.AsyncClient, sell: Stock, database: Database, more: dict[str, Any], says: tuple[int, str]
) -> None:
    await sell("LAMP", stock=1, price=1000)
    await the_rates(database)
    who = await guest(site)
    assert problem(await post(site, "/api/v1/purchases", purchase_body(**more), who)) == says
    hold = await held(site, who)
    assert problem(await post(site, "/api/v1/orders", order_body(hold["id"]) | more, who)) == says
    assert (await post(site, "/api/v1/orders", order_body(hold["id"]), who)).status_code == 201


async def test_a_change_counts_from_the_next_order_on(site: httpx.AsyncClient, sell: Stock, database: Database) -> None:
    await sell("LAMP", stock=5, price=1000)
    await the_rates(database)
    who = await guest(site)
    before = (await post(site, "/api/v1/purchases", purchase_body(), who)).json()
    async with database.transaction() as conn:
        await set_tax(conn, country="GB", tax_class="standard", name="VAT", rate_bp=1000)
    after = (await post(site, "/api/v1/purchases", purchase_body(), who)).json()
    kept = (await site.get(f"/api/v1/orders/{before['id']}", headers=who)).json()
    assert [each["tax"]["lines"][0]["rate_bp"] for each in (before, after, kept)] == [2000, 1000, 2000]


async def test_others_are_told_of_delivery_and_taxes(
    site: httpx.AsyncClient, shop: Shop, sell: Stock, database: Database
) -> None:
    await sell("LAMP", stock=5, price=1000)
    await the_rates(database)
    order = (await post(site, "/api/v1/purchases", purchase_body(), await guest(site))).json()
    async with shop.database.connection() as conn:
        rows = await conn.execute("SELECT payload FROM platform.outbox WHERE topic = 'order.paid'")
        (payload,) = [row[0] for row in await rows.fetchall()]
    assert (payload["shipping"], payload["tax"]) == (order["shipping"], order["tax"])
