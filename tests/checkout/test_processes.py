"""Two processes of one shop: what one of them is about to grant, the other counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.checkout.buying import ADDRESS
from tests.checkout.conftest import Stock
from tests.checkout.test_purchasing import so_many_wait
from tests.waiting import eventually
from tidegate import checkout
from tidegate.checkout import Address, FreshHold, HoldsOpen, HoldWish, Line, OrderView, PurchaseWish, Shop, open_shop
from tidegate.payments import make_providers
from tidegate.platform.database import Database
from tidegate.platform.ids import PersonId
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

LIMIT = 2


@pytest.fixture
async def shops(database: Database, settings: Settings) -> AsyncIterator[tuple[Shop, Shop]]:
    """Two engines on one database, which let a buyer have two holds outside drops."""
    few = settings.holds.model_copy(update={"max_live_per_buyer": LIMIT})
    demo = settings.model_copy(update={"demo": True, "holds": few})
    providers = make_providers(database, demo)
    async with open_shop(database, demo, providers) as one, open_shop(database, demo, providers) as other:
        yield one, other


async def hold(shop: Shop, buyer: PersonId) -> object:
    try:
        return (await checkout.settle_hold(shop, HoldWish(buyer, (Line("LAMP", 1),))))[0]
    except HoldsOpen as refused:
        return refused


async def purchase(shop: Shop, buyer: PersonId) -> object:
    wish = PurchaseWish(
        buyer,
        (Line("LAMP", 1),),
        email="ada@example.com",
        address=Address(**ADDRESS),
        provider="sandbox",
        method="hosted",
    )
    try:
        return await checkout.purchase(shop, wish)
    except HoldsOpen as refused:
        return refused


@pytest.mark.parametrize("ask", [hold, purchase])
@pytest.mark.parametrize("stock", [9, 9_000], ids=["scarce", "plenty"])
async def test_a_buyer_has_no_more_holds_than_one_may_have_though_two_processes_are_asked(
    shops: tuple[Shop, Shop], sell: Stock, database: Database, buyer: PersonId, ask: object, stock: int
) -> None:
    assert callable(ask)
    await sell("LAMP", stock=stock)
    assert isinstance(await ask(shops[0], buyer), FreshHold | OrderView)
    async with database.transaction() as conn:
        await conn.execute("LOCK TABLE inventory.stock IN SHARE MODE")
        asked = [asyncio.create_task(ask(shop, buyer)) for shop in shops]
        await eventually(lambda: so_many_wait(database, 2))
    answers = await asyncio.gather(*asked)
    assert sum(isinstance(each, HoldsOpen) for each in answers) == 1, answers
    async with database.connection() as conn:
        rows = await conn.execute("SELECT count(*) FROM inventory.holds WHERE state IN ('held', 'ordered')")
        assert await rows.fetchone() == (LIMIT,)
