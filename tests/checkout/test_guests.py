"""Who may buy in a drop without a room: people with an account, for a limit binds nobody who is free to be another."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.checkout.buying import customer, guest, post, problem, purchase_body
from tests.checkout.conftest import Stock
from tests.statements import statements
from tidegate.platform.database import Database

pytestmark = pytest.mark.anyio

HOLDS, PURCHASES = "/api/v1/holds", "/api/v1/purchases"
BODIES: dict[str, dict[str, Any]] = {
    HOLDS: {"lines": [{"sku": "LAMP", "quantity": 1}]},
    PURCHASES: purchase_body(),
}
ROUTES = pytest.mark.parametrize("route", [HOLDS, PURCHASES])

LEFT_BEHIND = """
SELECT (SELECT count(*) FROM inventory.holds) + (SELECT count(*) FROM inventory.buyer_limits)
    + (SELECT count(*) FROM checkout.orders) + (SELECT count(*) FROM platform.idempotency_keys)
    + (SELECT sum(held + sold) FROM inventory.stock)
"""


async def left_behind(database: Database) -> int:
    async with database.connection() as conn:
        row = await (await conn.execute(LEFT_BEHIND)).fetchone()
    assert row is not None
    return int(row[0])


@ROUTES
async def test_guests_are_refused_and_nothing_is_kept_of_it(
    site: httpx.AsyncClient, sell: Stock, database: Database, route: str
) -> None:
    await sell("LAMP", stock=5, drop_in_s=-1)
    who = await guest(site)
    for _ in range(2):
        refused = await post(site, route, BODIES[route], who, key="k")
        assert problem(refused) == (403, "drop-needs-account")
        assert refused.json()["drop"] == "lamp-drop"
        assert "sign in" in refused.json()["detail"]
    assert await left_behind(database) == 0
    document = (await site.get("/openapi.json")).json()
    assert "`drop-needs-account`" in document["paths"][route]["post"]["responses"]["403"]["description"]


@ROUTES
async def test_people_with_an_account_buy_up_to_their_limit(
    site: httpx.AsyncClient, sell: Stock, database: Database, route: str
) -> None:
    await sell("LAMP", stock=5, drop_in_s=-1)
    who = await customer(database)
    assert (await post(site, route, BODIES[route], who)).status_code == 201
    assert problem(await post(site, route, BODIES[route], who))[1] in ("limit-reached", "holds-open")


@ROUTES
async def test_guests_buy_where_the_merchant_says_so(site: httpx.AsyncClient, sell: Stock, route: str) -> None:
    await sell("LAMP", stock=5, drop_in_s=-1, guests=True)
    assert (await post(site, route, BODIES[route], await guest(site))).status_code == 201


@ROUTES
async def test_ordinary_goods_are_for_everybody(site: httpx.AsyncClient, sell: Stock, route: str) -> None:
    await sell("LAMP", stock=5)
    assert (await post(site, route, BODIES[route], await guest(site))).status_code == 201


async def test_the_rule_asks_the_database_nothing(site: httpx.AsyncClient, sell: Stock, database: Database) -> None:
    """What a refused guest costs is in what an admitted customer costs: the session and the terms are known anyhow."""
    await sell("LAMP", stock=5, drop_in_s=-1, per_buyer=3)
    who, other = await guest(site), await customer(database)
    for each in (who, other):
        await post(site, HOLDS, BODIES[HOLDS], each)
    with statements() as refused:
        await post(site, HOLDS, BODIES[HOLDS], who)
    with statements() as taken:
        await post(site, HOLDS, BODIES[HOLDS], other)
    assert len(refused) <= len(taken)


@ROUTES
async def test_no_twin_is_looked_for_when_a_guest_was_refused(site: httpx.AsyncClient, sell: Stock, route: str) -> None:
    """The batch has its locks by then, and others wait for them."""
    await sell("LAMP", stock=5, drop_in_s=-1)
    who = await guest(site)
    with statements() as sent:
        assert problem(await post(site, route, BODIES[route], who)) == (403, "drop-needs-account")
    assert sum("platform.idempotency_keys" in each for each in sent) == 1
