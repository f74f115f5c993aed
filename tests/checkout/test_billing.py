"""Whole addresses through a purchase: region, phone, and a bill for somebody else; sealed, shown, mailed."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.checkout.buying import ADDRESS, guest, held, order_body, post, problem, purchase_body
from tests.checkout.conftest import Stock
from tidegate.checkout.orders import load_orders
from tidegate.entrypoints.site import create_app
from tidegate.platform.database import Database
from tidegate.platform.ids import OrderId
from tidegate.platform.outbox import SEALED
from tidegate.platform.sealing import current_sealer
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

AUSTIN = ADDRESS | {
    "city": "Austin",
    "postal_code": "78701",
    "country": "US",
    "region": "TX",
    "phone": "+1 512 555 0100",
}
FIRM = ADDRESS | {"name": "Analytical Engines Ltd"}


async def stored(database: Database, order_id: str) -> tuple[Any, list[bytes]]:
    """An order as it is read, and its sealed columns."""
    async with database.connection() as conn:
        orders = await load_orders(conn, [OrderId(UUID(order_id))])
        row = await (await conn.execute("SELECT shipping_sealed, email_sealed FROM checkout.orders")).fetchone()
    assert row is not None
    return orders[OrderId(UUID(order_id))], [bytes(each) for each in row]


async def told(database: Database) -> dict[str, Any]:
    """What the newest event says of people."""
    async with database.connection() as conn:
        row = await (
            await conn.execute("SELECT personal_sealed FROM platform.outbox ORDER BY id DESC LIMIT 1")
        ).fetchone()
    assert row is not None
    return current_sealer().open_json(bytes(row[0]), column=SEALED)


async def test_a_purchase_keeps_both_addresses_sealed(site: httpx.AsyncClient, sell: Stock, database: Database) -> None:
    await sell("LAMP", stock=5)
    body = purchase_body(shipping_address=AUSTIN, billing_address=FIRM)
    bought = await post(site, "/api/v1/purchases", body, await guest(site))
    assert bought.status_code == 201, bought.text
    assert "Austin" not in bought.text, "answers are stored, and hold no personal data"
    order, sealed = await stored(database, bought.json()["id"])
    assert (order.address.region, order.address.phone) == ("TX", "+1 512 555 0100")
    assert order.billing is not None
    assert order.billing.name == "Analytical Engines Ltd"
    assert not any(secret in each for each in sealed for secret in (b"Austin", b"Analytical", b"555"))
    personal = await told(database)
    assert personal["address"] == AUSTIN
    assert personal["billing"] == FIRM


async def test_an_order_of_a_hold_keeps_them_too_and_the_same_twice_is_one(
    site: httpx.AsyncClient, sell: Stock, database: Database
) -> None:
    await sell("LAMP", stock=5)
    who = await guest(site)
    same = order_body((await held(site, who))["id"]) | {"billing_address": ADDRESS | {"name": " Ada Lovelace "}}
    first = await post(site, "/api/v1/orders", same, who)
    assert (await stored(database, first.json()["id"]))[0].billing is None
    other = order_body((await held(site, who))["id"]) | {"billing_address": FIRM}
    second = await post(site, "/api/v1/orders", other, who)
    assert second.status_code == 201, second.text
    async with database.connection() as conn:
        order = await load_orders(conn, [OrderId(UUID(second.json()["id"]))])
    assert [each.billing and each.billing.name for each in order.values()] == ["Analytical Engines Ltd"]


async def test_what_is_wrong_with_a_bills_address_is_said_apart(site: httpx.AsyncClient, sell: Stock) -> None:
    await sell("LAMP", stock=5)
    body = purchase_body(shipping_address=ADDRESS | {"country": "US"}, billing_address=FIRM | {"city": " "})
    answer = await post(site, "/api/v1/purchases", body, await guest(site))
    assert problem(answer) == (422, "invalid-request")
    assert {each["field"] for each in answer.json()["errors"]} == {"region", "billing_city"}


async def test_an_order_of_before_regions_still_opens(site: httpx.AsyncClient, sell: Stock, database: Database) -> None:
    await sell("LAMP", stock=5)
    bought = await post(site, "/api/v1/purchases", purchase_body(), await guest(site))
    old = current_sealer().seal_json(ADDRESS, column="checkout.orders.shipping_sealed")
    async with database.transaction() as conn:
        await conn.execute("UPDATE checkout.orders SET shipping_sealed = %s", (old,))
    order, _ = await stored(database, bought.json()["id"])
    assert (order.address.name, order.address.region, order.billing) == ("Ada Lovelace", "", None)


async def test_a_shop_may_ask_for_a_phone_number(settings: Settings, sell: Stock) -> None:
    await sell("LAMP", stock=5)
    orders = settings.orders.model_copy(update={"phone_required": True})
    app: Any = create_app(settings.model_copy(update={"demo": True, "orders": orders}))
    transport = httpx.ASGITransport(app=app)
    lifespan = app.app.router.lifespan_context(app.app)
    async with lifespan, httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        who = await guest(client)
        answer = await post(client, "/api/v1/purchases", purchase_body(), who)
        assert [each["field"] for each in answer.json()["errors"]] == ["phone"]
        body = purchase_body(shipping_address=ADDRESS | {"phone": "020 7946 0958"}, billing_address=FIRM)
        assert (await post(client, "/api/v1/purchases", body, who)).status_code == 201
