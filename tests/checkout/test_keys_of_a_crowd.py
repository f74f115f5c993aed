"""Keys of a crowd are not looked up: whoever sends one again is answered all the same, in another process too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace as altered

from tests.checkout.conftest import Stock
from tests.checkout.test_purchase import form, hold, key
from tests.checkout.test_purchasing import rows, stock, wish
from tidegate import checkout
from tidegate.checkout import FreshHold, HoldWish, Line, OrderView, Replay, Shop, open_shop
from tidegate.checkout.ordering import OrderWish, Started
from tidegate.checkout.purchasing import settle_purchases
from tidegate.ops.books import check_books
from tidegate.payments import make_providers
from tidegate.platform.idempotency import CROWD, StoredAnswer
from tidegate.platform.ids import PersonId, new_id
from tidegate.platform.problems import KeyInFlight, KeyReused

pytestmark = pytest.mark.anyio

MANY = 3 * CROWD


@pytest.fixture
async def other(shop: Shop) -> AsyncIterator[Shop]:
    """Another process of the same shop, which has heard of no key."""
    async with open_shop(shop.database, shop.settings, make_providers(shop.database, shop.settings)) as other:
        yield other


@pytest.fixture
def buyers() -> list[PersonId]:
    return [PersonId(new_id()) for _ in range(MANY)]


def looked_up(shop: Shop) -> bool:
    """Whether a race has made this process look every key up."""
    return shop.desk.keys._careful_until_s > 0


async def assert_books(shop: Shop) -> None:
    assert (await check_books(shop.database, shop.settings)).broken == ()


async def test_purchases_are_not_repeated(shop: Shop, other: Shop, sell: Stock, buyers: list[PersonId]) -> None:
    variant = await sell("LAMP", stock=MANY + 10)
    wishes = [wish(each, key="k") for each in buyers]
    bought = await asyncio.gather(*(checkout.purchase(shop, each) for each in wishes))
    assert {type(each) for each in bought} == {OrderView}
    assert not looked_up(shop)
    late = [wish(PersonId(new_id()), key="k") for _ in range(5)]
    again = await asyncio.gather(*(checkout.purchase(other, each) for each in [*wishes, *late]))
    assert looked_up(other)
    assert {type(each) for each in again[:MANY]} == {Replay}
    for first, repeat in zip(bought, again, strict=False):
        assert isinstance(first, OrderView)
        assert isinstance(repeat, Replay)
        assert f'"id":"{first.id}"'.encode() in repeat.answer.body
    assert {type(each) for each in again[MANY:]} == {OrderView}
    assert await stock(shop.database, variant) == (5, 0, MANY + 5)
    await assert_books(shop)


async def test_another_request_under_the_same_key_is_refused(
    shop: Shop, other: Shop, sell: Stock, buyers: list[PersonId]
) -> None:
    variant = await sell("LAMP", stock=MANY)
    await asyncio.gather(*(checkout.purchase(shop, wish(each, key="k")) for each in buyers[: MANY // 2]))
    outcomes = await asyncio.gather(
        *(checkout.purchase(other, wish(each, key="k", body=2)) for each in buyers), return_exceptions=True
    )
    assert {type(each) for each in outcomes[: MANY // 2]} == {KeyReused}
    assert {type(each) for each in outcomes[MANY // 2 :]} == {OrderView}
    assert await stock(shop.database, variant) == (0, 0, MANY)
    await assert_books(shop)


async def test_a_kept_refusal_is_heard_again(shop: Shop, other: Shop, sell: Stock, buyers: list[PersonId]) -> None:
    await sell("LAMP", stock=0)
    refused = await asyncio.gather(
        *(checkout.purchase(shop, wish(each, key="k")) for each in buyers), return_exceptions=True
    )
    assert {type(each) for each in refused} == {checkout.SoldOut}
    again = await asyncio.gather(
        *(checkout.purchase(other, wish(each, key="k")) for each in buyers), return_exceptions=True
    )
    assert {each.answer.status for each in again if isinstance(each, Replay)} == {409}
    assert {type(each) for each in again} == {Replay}


async def test_what_is_still_being_paid_is_waited_for(
    shop: Shop, other: Shop, sell: Stock, buyers: list[PersonId]
) -> None:
    variant = await sell("LAMP", stock=MANY)
    started = await asyncio.gather(*(shop.batches.purchases.submit(wish(each, key="k")) for each in buyers))
    assert {type(each) for each in started} == {Started}
    twins = await asyncio.gather(
        *(other.batches.purchases.submit(wish(each, key="k")) for each in buyers), return_exceptions=True
    )
    assert {type(each) for each in twins} == {KeyInFlight}
    assert await stock(shop.database, variant) == (0, MANY, 0)
    assert await rows(shop.database, "SELECT count(*) FROM inventory.holds") == [MANY]


async def test_holds_and_orders_are_not_repeated(shop: Shop, other: Shop, sell: Stock, buyers: list[PersonId]) -> None:
    variant = await sell("LAMP", stock=2 * MANY)
    wants = [HoldWish(each, (Line("LAMP", 1),), key=key(each, "hold")) for each in buyers]
    held = await asyncio.gather(*(checkout.settle_hold(shop, each) for each in wants))
    repeats = await asyncio.gather(*(checkout.settle_hold(other, each) for each in wants))
    assert {type(outcome) for outcome, _ in held} == {FreshHold}
    assert {type(outcome) for outcome, _ in repeats} == {StoredAnswer}
    assert await stock(shop.database, variant) == (MANY, MANY, 0)
    hold_ids = [(await hold(shop, each)).id for each in buyers]
    wishes = [OrderWish(each, form(held_id), key(each)) for each, held_id in zip(buyers, hold_ids, strict=True)]
    placed = await asyncio.gather(*(shop.batches.orders.submit(each) for each in wishes))
    assert {type(each) for each in placed} == {Started}
    again = await asyncio.gather(*(other.batches.orders.submit(each) for each in wishes), return_exceptions=True)
    assert {type(each) for each in again} == {KeyInFlight}


async def test_who_may_not_buy_any_more_still_hears_of_what_they_bought(
    shop: Shop, sell: Stock, buyers: list[PersonId]
) -> None:
    """The drop was closed to guests meanwhile: a refusal that no key keeps."""
    await sell("NOW", stock=MANY, drop_in_s=-1, guests=True)
    wishes = [altered(wish(each, ("NOW", 1), key="k"), guest=True) for each in buyers[:CROWD]]
    for each in wishes[:3]:
        assert isinstance(await checkout.purchase(shop, each), OrderView)
    async with shop.database.transaction() as conn:
        await conn.execute("UPDATE catalog.drops SET guests = false")
        outcomes = await settle_purchases(conn, wishes, desk=shop.desk)
    assert {type(each) for each in outcomes[:3]} == {StoredAnswer}
    assert {type(each) for each in outcomes[3:]} == {checkout.DropNeedsAccount}


async def test_the_limits_of_many_are_free_once_they_have_paid(shop: Shop, sell: Stock, buyers: list[PersonId]) -> None:
    await sell("NOW", stock=4 * MANY, drop_in_s=-1, per_buyer=2)
    for turn in range(2):
        bought = await asyncio.gather(
            *(checkout.purchase(shop, wish(each, ("NOW", 1), key=str(turn))) for each in buyers)
        )
        assert {type(each) for each in bought} == {OrderView}
        assert await rows(shop.database, "SELECT DISTINCT used FROM inventory.buyer_limits") == [turn + 1]
        assert await rows(shop.database, "SELECT DISTINCT live_hold_id FROM inventory.buyer_limits") == [None]
    await assert_books(shop)
