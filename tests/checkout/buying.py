"""What tests of buying say over HTTP: guests, wishes, orders, and how refusals read."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx

from tidegate.accounts import make_crowd
from tidegate.platform.database import Database

ADDRESS = {
    "name": "Ada Lovelace",
    "line1": "12 St James's Square",
    "city": "London",
    "postal_code": "SW1Y 4JH",
    "country": "GB",
}


async def guest(site: httpx.AsyncClient) -> dict[str, str]:
    response = await site.post("/api/v1/guests")
    assert response.status_code == 201
    return {"authorization": f"Bearer {response.json()['token']}"}


async def customer(database: Database) -> dict[str, str]:
    """Somebody with an account, who is signed in."""
    async with database.transaction() as conn:
        (token,) = await make_crowd(conn, count=1)
    return {"authorization": f"Bearer {token}"}


async def post(site: httpx.AsyncClient, path: str, body: Any, who: dict[str, str], key: str = "") -> httpx.Response:
    return await site.post(path, json=body, headers=who | {"idempotency-key": key or str(uuid4())})


async def held(site: httpx.AsyncClient, who: dict[str, str], quantity: int = 1) -> dict[str, Any]:
    response = await post(site, "/api/v1/holds", {"lines": [{"sku": "LAMP", "quantity": quantity}]}, who)
    assert response.status_code == 201, response.text
    body: dict[str, Any] = response.json()
    return body


def order_body(hold_id: str, token: str = "tok_ok") -> dict[str, Any]:
    return {
        "hold_id": hold_id,
        "email": "ada@example.com",
        "shipping_address": ADDRESS,
        "payment": {"provider": "sandbox", "token": token},
    }


def problem(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == response.status_code
    assert body["detail"]
    return response.status_code, body["type"].rsplit("/", 1)[-1]


def purchase_body(*lines: tuple[str, int], token: str = "tok_ok", **more: Any) -> dict[str, Any]:
    return {
        "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in lines or (("LAMP", 1),)],
        "email": "ada@example.com",
        "shipping_address": ADDRESS,
        "payment": {"provider": "sandbox", "token": token},
    } | more
