"""One hold or order that cannot be ended, and all the others that are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from prometheus_client import REGISTRY

from tests.checkout.conftest import Stock
from tests.checkout.test_purchase import hold, order, stock
from tests.logs import caught_logs
from tidegate import checkout
from tidegate.checkout import HoldView, Shop
from tidegate.platform.ids import HoldId, OrderId, PersonId, new_id
from tidegate.platform.set_aside import PAUSE_S, SetAside

pytestmark = pytest.mark.anyio


async def held(shop: Shop, count: int) -> list[HoldView]:
    return [await hold(shop, PersonId(new_id()), "NOW") for _ in range(count)]


async def set_used(shop: Shop, broken: Sequence[HoldId], used: int) -> None:
    """What the limits of some live holds' buyers count; 0 is less than what the holds will give back."""
    async with shop.database.transaction() as conn:
        await conn.execute(
            "UPDATE inventory.buyer_limits SET used = %s WHERE live_hold_id = ANY(%s)", (used, list(broken))
        )


async def let_time_pass(shop: Shop) -> None:
    async with shop.database.transaction() as conn:
        await conn.execute("UPDATE checkout.orders SET pay_until = clock_timestamp()")
        await conn.execute("UPDATE inventory.holds SET expires_at = clock_timestamp()")


def counted(sweep: str) -> float:
    return REGISTRY.get_sample_value("tidegate_set_aside_total", {"sweep": sweep}) or 0.0


async def test_holds_that_cannot_be_ended_keep_no_others(shop: Shop, sell: Stock) -> None:
    variant = await sell("NOW", stock=9, drop_in_s=-1)
    holds = await held(shop, 9)
    broken = [holds[0].id, holds[5].id]
    await set_used(shop, broken, 0)
    await let_time_pass(shop)
    now_s, before = 0.0, counted("expire-holds")
    aside: SetAside[HoldId] = SetAside("expire-holds", clock=lambda: now_s)
    with caught_logs(shop.settings) as logs:
        assert await checkout.expire_holds_once(shop, aside) == 7
        assert await checkout.expire_holds_once(shop, aside) == 0
        told = logs.events("row_set_aside")
    assert await stock(shop, variant) == (7, 2, 0)
    assert [line["id"] for line in told] == [str(each) for each in broken], "once each"
    assert {line["level"] for line in told} == {"error"}
    assert counted("expire-holds") - before == 2
    await set_used(shop, broken, 1)
    assert await checkout.expire_holds_once(shop, aside) == 0, "it has its time"
    now_s += PAUSE_S
    assert await checkout.expire_holds_once(shop, aside) == 2
    assert await stock(shop, variant) == (9, 0, 0)


async def test_orders_that_cannot_be_cancelled_keep_no_others(shop: Shop, sell: Stock) -> None:
    variant = await sell("NOW", stock=6, drop_in_s=-1)
    holds = await held(shop, 6)
    methods = ("tok_declined", "hosted") * 3
    orders = [await order(shop, h.buyer_id, h.id, how) for h, how in zip(holds, methods, strict=True)]
    broken = [holds[0].id, holds[3].id]
    await set_used(shop, broken, 0)
    await let_time_pass(shop)
    now_s, before = 0.0, counted("expire-orders")
    aside: SetAside[OrderId] = SetAside("expire-orders", clock=lambda: now_s)
    assert await checkout.expire_orders_once(shop, aside) == 4
    assert await checkout.expire_orders_once(shop, aside) == 0
    assert set(aside.ids) == {orders[0].id, orders[3].id}
    assert await stock(shop, variant) == (4, 2, 0)
    assert counted("expire-orders") - before == 2
    await set_used(shop, broken, 1)
    now_s += PAUSE_S
    assert await checkout.expire_orders_once(shop, aside) == 2
    assert await stock(shop, variant) == (6, 0, 0)


async def test_broken_holds_take_no_places_of_a_batch(shop: Shop, sell: Stock) -> None:
    variant = await sell("NOW", stock=4, drop_in_s=-1)
    holds = await held(shop, 4)
    await set_used(shop, [each.id for each in holds[:2]], 0)
    await let_time_pass(shop)
    small = shop.settings.holds.model_copy(update={"sweep_batch": 2})
    shop = replace(shop, settings=shop.settings.model_copy(update={"holds": small}))
    aside: SetAside[HoldId] = SetAside("expire-holds")
    assert [await checkout.expire_holds_once(shop, aside) for _ in range(3)] == [0, 2, 0]
    assert await stock(shop, variant) == (2, 2, 0)
