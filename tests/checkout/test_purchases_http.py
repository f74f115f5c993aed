"""Express purchases over HTTP: one request, its repeats to the letter, and the ways on from each answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest

from tests.checkout.buying import guest, order_body, post, problem, purchase_body
from tests.checkout.conftest import Stock
from tests.waiting import eventually
from tidegate import checkout, inventory
from tidegate.checkout import Shop
from tidegate.entrypoints.site import create_app
from tidegate.payments.sandbox_cards import CARDS
from tidegate.payments.sandbox_page import act_on_payment, pay_with
from tidegate.platform.database import Database
from tidegate.platform.edge.stack import OnlyHttp
from tidegate.platform.ids import VariantId
from tidegate.platform.problems import Overloaded
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

PURCHASES = "/api/v1/purchases"


async def stock(database: Database, variant: VariantId) -> tuple[int, int, int]:
    async with database.connection() as conn:
        level = (await inventory.stock_levels(conn, variant_ids=[variant]))[variant]
    return level.available, level.held, level.sold


async def test_bought_in_one_request(site: httpx.AsyncClient, sell: Stock, database: Database) -> None:
    variant = await sell("LAMP", stock=3, price=1299)
    who = await guest(site)
    first = await post(site, PURCHASES, purchase_body(("LAMP", 2)), who, key="k")
    assert first.status_code == 201, first.text
    assert "idempotent-replayed" not in first.headers
    order = first.json()
    assert (order["state"], order["next_action"], order["failure"]) == ("paid", None, None)
    assert order["total"] == {"amount": 2598, "currency": "GBP"}
    assert order["lines"] == [
        {"sku": "LAMP", "title": "The LAMP", "quantity": 2, "unit_price": {"amount": 1299, "currency": "GBP"}}
    ]
    found = await site.get(f"/api/v1/orders/{order['id']}", headers=who)
    assert found.json() == order
    assert "ada@example.com" not in first.text, "answers are stored: no personal data in them"
    repeat = await post(site, PURCHASES, purchase_body(("LAMP", 2)), who, key="k")
    assert (repeat.status_code, repeat.content) == (201, first.content)
    assert repeat.headers["idempotent-replayed"] == "true"
    assert await stock(database, variant) == (1, 0, 2)
    other = await post(site, PURCHASES, purchase_body(("LAMP", 1)), who, key="k")
    assert problem(other) == (422, "key-reused")
    stranger = await post(site, PURCHASES, purchase_body(("LAMP", 1)), await guest(site), key="k")
    assert stranger.status_code == 201, "keys belong to a buyer"


async def test_sold_out_is_repeated_to_the_letter(site: httpx.AsyncClient, sell: Stock, database: Database) -> None:
    variant = await sell("LAMP", stock=0)
    who = await guest(site)
    first = await post(site, PURCHASES, purchase_body(), who, key="k")
    assert problem(first) == (409, "sold-out")
    async with database.transaction() as conn:
        await inventory.set_stock(conn, levels={variant: 5})
    repeat = await post(site, PURCHASES, purchase_body(), who, key="k")
    assert problem(repeat) == (409, "sold-out")
    assert repeat.content == first.content
    assert repeat.headers["idempotent-replayed"] == "true"
    assert (await post(site, PURCHASES, purchase_body(), who, key="k2")).json()["state"] == "paid"


async def test_declined_and_paid_with_another_card(site: httpx.AsyncClient, sell: Stock, database: Database) -> None:
    variant = await sell("LAMP", stock=1)
    who = await guest(site)
    declined = (await post(site, PURCHASES, purchase_body(token="tok_declined"), who)).json()
    assert (declined["state"], declined["failure"]) == ("payment_failed", "card_declined")
    paid = (await post(site, "/api/v1/orders", order_body(declined["hold_id"]), who)).json()
    assert (paid["id"], paid["number"], paid["state"]) == (declined["id"], declined["number"], "paid")
    assert await stock(database, variant) == (0, 0, 1)
    again = await post(site, "/api/v1/orders", order_body(declined["hold_id"]), who)
    assert problem(again) == (409, "already-ordered")
    hold = await site.get(f"/api/v1/holds/{declined['hold_id']}", headers=await guest(site))
    assert problem(hold) == (404, "not-found"), "only its buyer knows the hold"


async def test_paid_on_the_providers_page(site: httpx.AsyncClient, sell: Stock, shop: Shop) -> None:
    variant = await sell("LAMP", stock=1)
    who = await guest(site)
    order = (await post(site, PURCHASES, purchase_body(token="hosted"), who)).json()
    assert (order["state"], order["next_action"]["type"]) == ("awaiting_payment", "redirect")
    page = order["next_action"]["url"]
    assert (await site.get(page)).status_code == 200
    async with shop.database.transaction() as conn:
        pay = pay_with(CARDS["tok_ok"], late_s=0)
        assert await act_on_payment(conn, payment_id=page.rpartition("/")[2], move=pay)
    quick = shop.settings.payments.model_copy(update={"reconcile_after_s": 0})
    await checkout.reconcile_once(replace(shop, settings=shop.settings.model_copy(update={"payments": quick})))
    paid = (await site.get(f"/api/v1/orders/{order['id']}", headers=who)).json()
    assert (paid["state"], paid["next_action"]) == ("paid", None)
    assert await stock(shop.database, variant) == (0, 0, 1)


async def test_a_payment_that_is_not_written_down_yet_is_accepted(
    site: httpx.AsyncClient, sell: Stock, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer of a key is for good; this one is none yet, and says so."""
    await sell("LAMP", stock=1)
    who = await guest(site)

    async def is_away(*_: object) -> None:
        raise Overloaded()

    app: Any = site._transport.app  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        patch.setattr(app.app.state.shop.batches.settlements, "submit", is_away)
        unsure = await post(site, PURCHASES, purchase_body(), who, key="k")
    assert (unsure.status_code, unsure.json()["state"]) == (202, "awaiting_payment")
    assert unsure.headers["retry-after"] == "1"
    assert "idempotent-replayed" not in unsure.headers
    quick = shop.settings.payments.model_copy(update={"reconcile_after_s": 0})
    await checkout.reconcile_once(replace(shop, settings=shop.settings.model_copy(update={"payments": quick})))
    repeat = await post(site, PURCHASES, purchase_body(), who, key="k")
    assert (repeat.status_code, repeat.json()["state"]) == (201, "paid")
    assert repeat.json()["id"] == unsure.json()["id"]


async def test_twins_over_http_get_one_answer(site: httpx.AsyncClient, sell: Stock, database: Database) -> None:
    variant = await sell("LAMP", stock=5)
    who = await guest(site)
    answers = await asyncio.gather(*(post(site, PURCHASES, purchase_body(), who, key="k") for _ in range(10)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert await stock(database, variant) == (4, 0, 1)


async def test_a_full_shop_says_when_to_come_back(settings: Settings, sell: Stock, database: Database) -> None:
    variant = await sell("LAMP", stock=5)
    bounds = settings.engine.model_copy(update={"queue_max": 1, "deadline_s": 1.0})
    app = create_app(settings.model_copy(update={"demo": True, "engine": bounds}))
    assert isinstance(app, OnlyHttp)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8000")
    async with app.app.router.lifespan_context(app.app), client as site:
        buyers = [await guest(site) for _ in range(3)]
        batcher = app.app.state.shop.batches.purchases._batcher
        async with database.transaction() as conn:
            await conn.execute("SELECT FROM inventory.stock WHERE variant_id = %s FOR UPDATE", (variant,))
            running = asyncio.create_task(post(site, PURCHASES, purchase_body(), buyers[0], key="running"))
            await eventually(lambda: batcher._running)
            waiting = asyncio.create_task(post(site, PURCHASES, purchase_body(), buyers[1], key="waiting"))
            await eventually(lambda: batcher._queue)
            full = await post(site, PURCHASES, purchase_body(), buyers[2], key="full")
            late = await waiting
        assert problem(full) == problem(late) == (503, "overloaded")
        assert int(full.headers["retry-after"]) >= 1
        assert int(late.headers["retry-after"]) >= 1
        assert (await running).status_code in (201, 503)
        async with database.connection() as conn:
            kept = await conn.execute("SELECT key FROM platform.idempotency_keys WHERE key <> 'running'")
            assert await kept.fetchall() == []
        again = await post(site, PURCHASES, purchase_body(), buyers[2], key="full")
        assert again.json()["state"] == "paid"
        assert "idempotent-replayed" not in again.headers
