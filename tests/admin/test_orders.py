"""The staff's order pages, and a buyer's own: half given back, sent, cancelled; shut for everyone else."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.admin.test_pages import sign_in
from tests.checkout.buying import guest, post, problem, purchase_body
from tests.statements import statements
from tests.storefront.conftest import Sell, app, reading, sell, text_of
from tidegate import inventory
from tidegate.platform.database import Database

__all__ = ["app", "sell"]

pytestmark = pytest.mark.anyio

SAME_SITE = {"sec-fetch-site": "same-origin"}


@pytest.fixture
async def client(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(app) as client:
        yield client


async def bought(client: httpx.AsyncClient, database: Database, sell: Sell) -> tuple[str, dict[str, str]]:
    """A paid order of two lamps at £10 each, and its buyer."""
    await sell("Lamp", price=1000)
    async with database.transaction() as conn:
        row = await (await conn.execute("SELECT id FROM catalog.variants WHERE sku = 'LAMP'")).fetchone()
        assert row is not None
        await inventory.set_stock(conn, levels={row[0]: 5})
    who = await guest(client)
    order = await post(client, "/api/v1/purchases", purchase_body(("LAMP", 2)), who)
    assert order.json()["state"] == "paid", order.text
    return order.json()["id"], who


async def send_form(
    client: httpx.AsyncClient, page: str, action: str, who: dict[str, str], **fields: str
) -> httpx.Response:
    """Send the form of `page` that goes to `action`, with its hidden fields and `fields`."""
    text = (await client.get(page, headers=who)).text
    form = re.search(rf'<form method="post" action="{action}".*?</form>', text, re.DOTALL)
    assert form is not None, f"{page} has no form to {action}"
    hidden = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', form[0]))
    return await client.post(action, data=hidden | fields, headers=who | SAME_SITE)


async def test_staff_give_half_back_and_send(client: httpx.AsyncClient, database: Database, sell: Sell) -> None:
    order_id, buyer = await bought(client, database, sell)
    await sign_in(client, database)
    page = f"/admin/orders/{order_id}"
    staff: dict[str, str] = {}
    wrong = await send_form(client, page, f"{page}/refund", staff, amount="lots")
    assert wrong.status_code == 422
    assert 'value="lots"' in wrong.text, "what was typed is kept"
    assert (await send_form(client, page, f"{page}/refund", staff, amount="10.00")).status_code == 303
    assert "Can be given back £10.00" in text_of(await client.get(page))
    too_much = await send_form(client, page, f"{page}/refund", staff, amount="10.01")
    assert "At most £10.00 of this order can still be given back." in text_of(too_much)
    sent = await send_form(
        client, page, f"{page}/send", staff, **{"line-1": "2", "carrier": "ups", "tracking_number": "1Z"}
    )
    assert sent.status_code == 303, sent.text
    words = text_of(await client.get(f"/orders/{order_id}", headers=buyer))
    assert "Sent with UPS" in words
    assert "£10.00 given back" in words
    listed = text_of(await client.get("/admin/orders"))
    assert "1 order 2 £20.00" in listed
    assert "No order fits." in text_of(await client.get("/admin/orders?email=nobody@example.com"))


async def test_a_buyer_sees_and_cancels_an_order_of_their_own(
    client: httpx.AsyncClient, database: Database, sell: Sell
) -> None:
    order_id, buyer = await bought(client, database, sell)
    other = await guest(client)
    assert (await client.get(f"/orders/{order_id}/cancel", headers=other)).status_code == 404
    assert "You have not ordered anything yet." in text_of(await client.get("/account/orders", headers=other))
    assert "2 items, £20.00" in text_of(await client.get("/account/orders", headers=buyer))
    path = f"/orders/{order_id}/cancel"
    assert "You get £20.00 back" in text_of(await client.get(path, headers=buyer))
    assert (await send_form(client, path, path, buyer)).status_code == 303
    assert "All that you paid for this order was sent back" in text_of(
        await client.get(f"/orders/{order_id}", headers=buyer)
    )


OTHERS = ("accounts.", "gate.", "SELECT clock_timestamp()")
"""What is asked meanwhile: of the session at times, and of rooms, with the time, once a second."""


async def test_looking_at_an_order_costs_few_queries(client: httpx.AsyncClient, database: Database, sell: Sell) -> None:
    paid, buyer = await bought(client, database, sell)
    unpaid = (await post(client, "/api/v1/purchases", purchase_body(("LAMP", 1), token="tok_declined"), buyer)).json()
    assert unpaid["state"] == "payment_failed", unpaid
    await sign_in(client, database)
    cases: tuple[tuple[str, dict[str, str], int], ...] = (
        (f"/orders/{unpaid['id']}", buyer, 2),
        (f"/orders/{paid}", buyer, 7),
        (f"/orders/{paid}/cancel", buyer, 7),
        (f"/api/v1/orders/{unpaid['id']}", buyer, 2),
        (f"/api/v1/orders/{paid}", buyer, 1),
        (f"/admin/orders/{paid}", {}, 8),
    )
    for path, who, most in cases:
        assert (await client.get(path, headers=who)).status_code == 200  # the session is known from then on
        with statements() as seen:
            await client.get(path, headers=who)
        asked = [each for each in seen if not any(other in each for other in OTHERS)]
        assert len(asked) <= most, (path, seen)


async def test_the_api_lists_cancels_and_refunds(client: httpx.AsyncClient, database: Database, sell: Sell) -> None:
    order_id, buyer = await bought(client, database, sell)
    other = await guest(client)
    listed = (await client.get("/api/v1/orders", headers=buyer)).json()
    assert [each["id"] for each in listed["items"]] == [order_id]
    assert (await client.get("/api/v1/orders", headers=other)).json() == {"items": [], "next_before": None}
    assert problem(await post(client, f"/api/v1/orders/{order_id}/cancel", None, other)) == (404, "not-found")
    refunds = f"/api/v1/admin/orders/{order_id}/refunds"
    assert problem(await post(client, refunds, {"amount": 5}, buyer)) == (404, "not-found")
    await sign_in(client, database)
    for _ in range(2):
        given = await post(client, refunds, {"lines": [{"line_no": 1, "quantity": 1}], "restock": True}, {}, key="k")
        assert given.json()["rest"]["amount"] == 1000, given.text
    assert problem(await post(client, refunds, {"amount": 1001}, {})) == (409, "not-refundable")
    parcel = await post(client, f"/api/v1/admin/orders/{order_id}/shipments", {"carrier": "dhl"}, {})
    assert parcel.json()["state"] == "fulfilled", parcel.text
    late = await client.post(f"/api/v1/orders/{order_id}/cancel", headers=buyer)
    assert problem(late) == (409, "not-cancellable")
