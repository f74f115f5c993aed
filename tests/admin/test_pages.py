"""The staff's overview: shut by default, and figures that add up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.checkout.buying import customer
from tests.storefront.conftest import Open, Sell, app, open_drop, reading, sell, text_of
from tidegate import accounts
from tidegate.platform.database import Database

__all__ = ["app", "open_drop", "sell"]

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(app) as client:
        yield client


async def sign_in(client: httpx.AsyncClient, database: Database) -> None:
    password = await accounts.ensure_admin(database)
    body = {"email": accounts.ADMIN_EMAIL, "password": password}
    response = await client.post("/api/v1/sessions", json=body)
    assert response.status_code == 201, response.text
    client.headers["authorization"] = f"Bearer {response.json()['token']}"


async def test_strangers_are_led_to_the_sign_in(client: httpx.AsyncClient) -> None:
    response = await client.get("/admin")
    assert response.status_code == 303
    assert response.headers["location"] == "/login?next=/admin"


async def test_for_guests_there_is_no_such_page(client: httpx.AsyncClient) -> None:
    token = (await client.post("/api/v1/guests")).json()["token"]
    response = await client.get("/admin", headers={"authorization": f"Bearer {token}"})
    assert response.status_code == 404


async def test_nothing_yet(client: httpx.AsyncClient, database: Database) -> None:
    await sign_in(client, database)
    response = await client.get("/admin")
    assert response.headers["cache-control"] == "no-store"
    assert "No drop is scheduled or running." in text_of(response)
    assert "Nobody has ordered yet." in text_of(response)


async def test_orders_and_stock_add_up(
    client: httpx.AsyncClient, database: Database, sell: Sell, open_drop: Open
) -> None:
    await sell("Night Lamp", price=1000)
    await open_drop("lamp-night", "NIGHT-LAMP", stock=10, in_s=-1, per_buyer=5)
    for number, (quantity, card) in enumerate(((2, "tok_ok"), (1, "tok_declined"))):
        await buy(client, database, quantity, card, key=str(number))
    await sign_in(client, database)
    words = text_of(await client.get("/admin"))
    assert "Lamp Night Open" in words
    assert "All 10 7 1 2" in words, "offered, left, held, sold"
    assert "2 orders 3 £20.00 paid" in words
    assert "Not paid" in words


async def buy(client: httpx.AsyncClient, database: Database, quantity: int, card: str, *, key: str) -> None:
    who = await customer(database)
    hold = await client.post(
        "/api/v1/holds",
        json={"lines": [{"sku": "NIGHT-LAMP", "quantity": quantity}], "drop": "lamp-night"},
        headers=who | {"idempotency-key": f"h{key}"},
    )
    assert hold.status_code == 201, hold.text
    address = {"name": "Ada", "line1": "1 Quay", "city": "Hull", "postal_code": "HU1 1AA", "country": "GB"}
    order = await client.post(
        "/api/v1/orders",
        json={
            "hold_id": hold.json()["id"],
            "email": "ada@example.com",
            "shipping_address": address,
            "payment": {"provider": "sandbox", "token": card},
        },
        headers=who | {"idempotency-key": f"o{key}"},
    )
    assert order.status_code == 201, order.text


async def test_staff_can_sign_out_there(client: httpx.AsyncClient, database: Database) -> None:
    await sign_in(client, database)
    page = await client.get("/admin")
    token = page.text.split('name="form_token" value="')[1].split('"')[0]
    headers = {"sec-fetch-site": "same-origin"}
    assert (await client.post("/logout", data={"form_token": token}, headers=headers)).status_code == 303
    assert (await client.get("/admin")).status_code == 303
