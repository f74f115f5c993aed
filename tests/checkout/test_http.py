"""The buying routes over HTTP: shapes, problem types, and nobody else's things."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.catalog.makers import a_voucher
from tests.checkout.buying import ADDRESS, guest, held, order_body, post, problem, purchase_body
from tests.checkout.conftest import Stock
from tidegate import inventory
from tidegate.catalog import close_voucher
from tidegate.checkout import Shop
from tidegate.platform.database import Database
from tidegate.platform.money import Money

pytestmark = pytest.mark.anyio


async def test_hold_then_order(site: httpx.AsyncClient, sell: Stock) -> None:
    await sell("LAMP", stock=3, price=1299)
    who = await guest(site)
    hold = await held(site, who, 2)
    assert hold["total"] == {"amount": 2598, "currency": "GBP"}
    assert hold["lines"][0]["sku"] == "LAMP"
    response = await post(site, "/api/v1/orders", order_body(hold["id"]), who)
    assert response.status_code == 201, response.text
    order = response.json()
    assert order["state"] == "paid"
    assert order["next_action"] is None
    again = await site.get(f"/api/v1/orders/{order['id']}", headers=who)
    assert again.json() == order
    assert "ada@example.com" not in again.text


@pytest.mark.parametrize("route", ["/api/v1/holds", "/api/v1/orders", "/api/v1/purchases"])
async def test_naming_the_shops_currency_or_null_asks_for_the_same(
    site: httpx.AsyncClient, sell: Stock, route: str
) -> None:
    await sell("LAMP", stock=9)
    who = await guest(site)
    body = purchase_body()
    if route == "/api/v1/orders":
        body = order_body((await held(site, who))["id"])
    first = await post(site, route, body, who, key="k")
    assert first.status_code == 201, first.text
    for currency in ("GBP", None):
        again = await post(site, route, body | {"currency": currency}, who, key="k")
        assert (again.status_code, again.json()) == (201, first.json())
        assert again.headers["idempotent-replayed"] == "true"


def gbp(amount: int) -> dict[str, Any]:
    return {"amount": amount, "currency": "GBP"}


async def test_a_code_takes_something_off(site: httpx.AsyncClient, sell: Stock, database: Database) -> None:
    await sell("LAMP", stock=9, price=1299)
    await a_voucher(database, "TENOFF", per_buyer=2)
    who = await guest(site)
    assert (await held(site, who))["discount"] is None
    wish = {"lines": [{"sku": "LAMP", "quantity": 2}], "code": " TenOff "}
    response = await post(site, "/api/v1/holds", wish, who)
    assert response.status_code == 201, response.text
    hold = response.json()
    assert (hold["total"], hold["discount"]) == (gbp(2338), gbp(260))
    assert hold["lines"][0]["unit_price"] == gbp(1299)
    shown = (await site.get(f"/api/v1/holds/{hold['id']}", headers=who)).json()
    assert (shown["total"], shown["discount"]) == (gbp(2338), gbp(260))
    order = (await post(site, "/api/v1/orders", order_body(hold["id"]), who)).json()
    assert (order["state"], order["total"], order["discount"]) == ("paid", gbp(2338), gbp(260))
    bought = (await post(site, "/api/v1/purchases", purchase_body(code="tenoff"), who)).json()
    assert (bought["state"], bought["total"], bought["discount"]) == ("paid", gbp(1169), gbp(130))
    assert (await site.get(f"/api/v1/orders/{bought['id']}", headers=who)).json() == bought


@pytest.mark.parametrize("path", ["/api/v1/holds", "/api/v1/purchases"])
async def test_codes_that_are_refused(site: httpx.AsyncClient, sell: Stock, database: Database, path: str) -> None:
    await sell("LAMP", stock=9)
    closed = await a_voucher(database, "CLOSED")
    async with database.transaction() as conn:
        await close_voucher(conn, code=closed.code)
    await a_voucher(database, "EARLY", starts_in_s=60)
    await a_voucher(database, "LATE", starts_in_s=-60, ends_in_s=-1)
    await a_voucher(database, "EUROS", amount_off=Money(100, "EUR"))
    await a_voucher(database, "ONCE", total=5)
    who = await guest(site)
    said = {}
    for code in ("NOPE", "CLOSED", "EARLY", "LATE", "EUROS", "ONCE", "ONCE", "", "x" * 101, "é\x00"):
        response = await post(site, path, purchase_body(code=code), who)
        if response.status_code != 201:
            said[code] = (*problem(response), response.json()["detail"])
    assert {code: each[:2] for code, each in said.items()} == {
        "NOPE": (422, "code-unknown"),
        "CLOSED": (409, "code-not-valid"),
        "EARLY": (409, "code-not-valid"),
        "LATE": (409, "code-not-valid"),
        "EUROS": (409, "code-not-valid"),
        "ONCE": (409, "code-used-up"),
        "": (422, "invalid-request"),
        "x" * 101: (422, "invalid-request"),
        "é\x00": (422, "code-unknown"),
    }
    for code, words in (("CLOSED", "closed"), ("EARLY", "starts at"), ("LATE", "ended at"), ("EUROS", "in EUR")):
        assert words in said[code][2]
    assert "as often as you may" in said["ONCE"][2]


async def test_a_repeat_gets_the_first_answer(site: httpx.AsyncClient, sell: Stock) -> None:
    await sell("LAMP", stock=3)
    who, body = await guest(site), {"lines": [{"sku": "LAMP", "quantity": 1}]}
    first = await post(site, "/api/v1/holds", body, who, key="k1")
    second = await post(site, "/api/v1/holds", body, who, key="k1")
    assert second.status_code == 201
    assert second.text == first.text, "to the letter"
    assert second.headers["idempotent-replayed"] == "true"
    other = await post(site, "/api/v1/holds", {"lines": [{"sku": "LAMP", "quantity": 2}]}, who, key="k1")
    assert problem(other) == (422, "key-reused")


async def test_a_hosted_payment_names_its_page(site: httpx.AsyncClient, sell: Stock) -> None:
    await sell("LAMP", stock=3)
    who = await guest(site)
    hold = await held(site, who)
    order = (await post(site, "/api/v1/orders", order_body(hold["id"], "hosted"), who)).json()
    assert order["state"] == "awaiting_payment"
    assert order["next_action"]["type"] == "redirect"
    assert (await site.get(order["next_action"]["url"])).status_code == 200


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"lines": [{"sku": "NOPE", "quantity": 1}]}, (422, "unknown-sku")),
        ({"lines": [{"sku": "LAMP", "quantity": 0}]}, (422, "quantity-out-of-range")),
        ({"lines": [{"sku": "LAMP", "quantity": -1}]}, (422, "quantity-out-of-range")),
        ({"lines": [{"sku": "LAMP", "quantity": 1.5}]}, (422, "quantity-not-whole")),
        ({"lines": [{"sku": "LAMP", "quantity": 10**18}]}, (422, "quantity-out-of-range")),
        ({"lines": [{"sku": "LAMP", "quantity": "1"}]}, (422, "quantity-not-whole")),
        ({"lines": []}, (422, "no-lines")),
        ({"lines": [{"sku": "LAMP", "quantity": 1}] * 1000}, (422, "too-many-lines")),
        ({"lines": [{"sku": "LAMP\x00", "quantity": 1}]}, (422, "unknown-sku")),
        ({"lines": [{"sku": "LAMP", "quantity": 1}], "drop": "nope"}, (422, "not-in-drop")),
        ({}, (422, "invalid-request")),
        ([], (422, "invalid-request")),
    ],
)
async def test_wishes_that_cannot_be_meant(
    site: httpx.AsyncClient, sell: Stock, shop: Shop, body: Any, expected: tuple[int, str]
) -> None:
    variant = await sell("LAMP", stock=3)
    assert problem(await post(site, "/api/v1/holds", body, await guest(site))) == expected
    async with shop.database.connection() as conn:
        level = (await inventory.stock_levels(conn, variant_ids=[variant]))[variant]
    assert (level.available, level.held) == (3, 0)


async def test_what_the_route_itself_refuses(site: httpx.AsyncClient, sell: Stock) -> None:
    await sell("LAMP", stock=1)
    who, body = await guest(site), {"lines": [{"sku": "LAMP", "quantity": 1}]}
    assert problem(await site.post("/api/v1/holds", json=body, headers=who)) == (400, "key-missing")
    assert problem(await post(site, "/api/v1/holds", body, {})) == (401, "not-signed-in")
    assert problem(await post(site, "/api/v1/holds", body, {"authorization": "Bearer nope"})) == (401, "not-signed-in")
    headers = who | {"idempotency-key": "k", "content-type": "application/json"}
    assert problem(await site.post("/api/v1/holds", content=b"{", headers=headers)) == (400, "malformed-body")
    large = b'{"x":"' + b"a" * 2_000_000 + b'"}'
    assert problem(await site.post("/api/v1/holds", content=large, headers=headers)) == (413, "body-too-large")
    await held(site, who)
    assert problem(await post(site, "/api/v1/holds", body, who)) == (409, "sold-out")


async def test_anothers_things_are_not_there(site: httpx.AsyncClient, sell: Stock) -> None:
    await sell("LAMP", stock=3)
    who, stranger = await guest(site), await guest(site)
    hold = await held(site, who)
    missing = (404, "not-found")
    assert problem(await site.get(f"/api/v1/holds/{hold['id']}", headers=stranger)) == missing
    assert problem(await site.delete(f"/api/v1/holds/{hold['id']}", headers=stranger)) == missing
    assert problem(await post(site, "/api/v1/orders", order_body(hold["id"]), stranger)) == missing
    assert problem(await post(site, "/api/v1/orders", order_body("not-an-id"), who)) == missing
    order = (await post(site, "/api/v1/orders", order_body(hold["id"]), who)).json()
    assert problem(await site.get(f"/api/v1/orders/{order['id']}", headers=stranger)) == missing
    assert problem(await site.get("/api/v1/orders/not-an-id", headers=who)) == missing


async def test_a_hold_given_back_is_gone(site: httpx.AsyncClient, sell: Stock) -> None:
    await sell("LAMP", stock=1)
    who = await guest(site)
    hold = await held(site, who)
    for _ in range(2):
        assert (await site.delete(f"/api/v1/holds/{hold['id']}", headers=who)).status_code == 204
    assert problem(await site.get(f"/api/v1/holds/{hold['id']}", headers=who)) == (410, "hold-expired")
    assert problem(await post(site, "/api/v1/orders", order_body(hold["id"]), who)) == (410, "hold-expired")
    assert (await held(site, who))["id"] != hold["id"]


async def test_an_incomplete_form_names_its_fields_and_takes_nothing(site: httpx.AsyncClient, sell: Stock) -> None:
    await sell("LAMP", stock=1)
    who = await guest(site)
    hold = await held(site, who)
    body = order_body(hold["id"]) | {"email": "nobody", "shipping_address": ADDRESS | {"city": ""}}
    response = await post(site, "/api/v1/orders", body, who, key="k")
    assert problem(response) == (422, "invalid-request")
    assert {error["field"] for error in response.json()["errors"]} == {"email", "city"}
    fixed = await post(site, "/api/v1/orders", order_body(hold["id"]), who, key="k")
    assert fixed.json()["state"] == "paid", "a mistake does not use up the key"


@pytest.mark.parametrize(("token", "kind"), [("tok_nope", "unknown-token"), ("4242424242424242", "unknown-token")])
async def test_what_is_no_token_is_refused_before_anything(
    site: httpx.AsyncClient, sell: Stock, token: str, kind: str
) -> None:
    await sell("LAMP", stock=1)
    who = await guest(site)
    hold = await held(site, who)
    response = await post(site, "/api/v1/orders", order_body(hold["id"], token), who)
    assert problem(response) == (422, kind)
    assert token not in response.text


async def test_a_forged_webhook_changes_nothing(site: httpx.AsyncClient) -> None:
    response = await site.post("/api/v1/payments/webhooks/sandbox", json={"type": "payment.succeeded"})
    assert problem(response) == (401, "bad-signature")
    assert problem(await site.post("/api/v1/payments/webhooks/nobody", json={})) == (422, "unknown-provider")


async def test_a_declined_card_is_followed_by_another_on_the_same_hold(site: httpx.AsyncClient, sell: Stock) -> None:
    await sell("LAMP", stock=1)
    who = await guest(site)
    hold = await held(site, who)
    first = (await post(site, "/api/v1/orders", order_body(hold["id"], "tok_declined"), who, key="k1")).json()
    assert first["state"] == "payment_failed"
    second = (await post(site, "/api/v1/orders", order_body(hold["id"]), who, key="k2")).json()
    assert (second["id"], second["number"], second["state"]) == (first["id"], first["number"], "paid")
    repeat = await post(site, "/api/v1/orders", order_body(hold["id"]), who, key="k2")
    assert repeat.json() == second
    declined = await post(site, "/api/v1/orders", order_body(hold["id"], "tok_declined"), who, key="k1")
    assert declined.json()["state"] == "payment_failed", "the first key keeps its answer"
    third = await post(site, "/api/v1/orders", order_body(hold["id"]), who)
    assert problem(third) == (409, "already-ordered")
    assert third.json()["order_id"] == first["id"]
