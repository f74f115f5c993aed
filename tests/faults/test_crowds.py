"""Many who want the same at the same moment: the last units, the same baskets, the last moment of a hold."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.faults.buyers import Basket, Buyer, Receipts, guests
from tests.faults.faults import paused
from tests.faults.recount import Opening, recount, rows
from tests.faults.wire import Answer, Line
from tests.servers import Shop
from tests.sizes import sized
from tests.waiting import eventually

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

SKU = "22423"
UNITS, BUYERS, AT_ONCE = 100, sized(full=2_000, brief=400), 250
BASKET = ("22423", "23166", "22960", "22720")
BACK_WITHIN_S = 2.5
"""Time from the end of a hold until its stock can be bought again: a second, the sweeper's pause, a busy machine."""

AVAILABLE = """
SELECT on_hand - held - sold FROM inventory.stock JOIN catalog.variants ON id = variant_id WHERE sku = %s
"""

SetStock = Callable[[dict[str, int]], None]


async def test_many_buyers_for_a_hundred_units(sale: Shop, stock: SetStock, dice: random.Random) -> None:
    stock({SKU: UNITS})
    opening = Opening.of(sale)
    receipts = Receipts()
    buyers = await guests(sale.port, BUYERS, dice, receipts)
    waiting = list(buyers)
    room = asyncio.Semaphore(AT_ONCE)

    async def buy(buyer: Buyer) -> Answer | None:
        async with room:
            answer = await want_one(buyer)
            buyer.line.hang_up()
            return answer

    async def is_sold() -> bool:
        """One round of all who have nothing yet; what declined cards had kept comes back for the next."""
        answers = await asyncio.gather(*(buy(buyer) for buyer in waiting))
        waiting[:] = [buyer for buyer, answer in zip(waiting, answers, strict=True) if not has_one(answer)]
        return BUYERS - len(waiting) >= UNITS

    await eventually(is_sold, timeout_s=100)
    assert BUYERS - len(waiting) == UNITS
    await recount(sale, opening, receipts)
    assert sum(state == "paid" for state in receipts.orders().values()) == UNITS
    assert rows(sale, AVAILABLE, SKU) == [(0,)]


def has_one(answer: Answer | None) -> bool:
    return answer is not None and answer.status == 201 and answer.json()["state"] == "paid"


async def want_one(buyer: Buyer) -> Answer | None:
    """One unit, by either way of buying; one card in ten is declined."""
    token = "tok_declined" if buyer.dice.random() < 0.1 else "tok_ok"
    if buyer.dice.random() < 0.5:
        return await buyer.get(buyer.purchase([(SKU, 1)], token))
    held = await buyer.get(buyer.hold([(SKU, 1)]))
    if held is None or held.status != 201:
        return held
    return await buyer.get(buyer.order(held.json()["id"], token))


async def test_the_same_baskets_in_every_order_do_not_deadlock(
    sale: Shop, stock: SetStock, dice: random.Random
) -> None:
    """Few buyers on many connections: their holds, orders, second cards and holds that nobody swept meet everywhere."""
    stock(dict.fromkeys(BASKET, 10_000))
    opening = Opening.of(sale)
    receipts = Receipts()
    buyers = await guests(sale.port, 12, dice, receipts)
    baskets = [skus for n in range(1, len(BASKET) + 1) for skus in itertools.permutations(BASKET, n)] * sized(
        full=10, brief=3
    )
    dice.shuffle(baskets)
    todo = iter(baskets)

    async def shop_on(buyer: Buyer) -> None:
        with Line(sale.port) as line:
            for skus in todo:
                await bait(buyer, line, [(sku, 1) for sku in skus])

    async with paused(sale, "scheduler"):
        await asyncio.gather(*(shop_on(buyer) for buyer in buyers for _ in range(4)))
    await recount(sale, opening, receipts)


async def bait(buyer: Buyer, line: Line, basket: Basket) -> None:
    """One basket: bought at once, left to expire, or ordered in three windows with a key each."""
    if buyer.dice.random() < 0.3:
        await buyer.get(buyer.purchase(basket), line=line)
        return
    held = await buyer.get(buyer.hold(basket), line=line)
    if held is None or held.status != 201 or buyer.dice.random() < 0.3:
        return
    with Line(buyer.port) as second, Line(buyer.port) as third:
        windows = [
            buyer.get(buyer.order(held.json()["id"], buyer.dice.choice(("tok_ok", "tok_declined"))), line=window)
            for window in (line, second, third)
        ]
        await asyncio.gather(*windows)


async def test_holds_ordered_at_their_last_moment(sale: Shop, stock: SetStock, dice: random.Random) -> None:
    holders = 80
    stock({SKU: holders})
    opening = Opening.of(sale)
    receipts = Receipts()
    buyers = await guests(sale.port, holders, dice, receipts)
    held = await asyncio.gather(*(buyer.get(buyer.hold([(SKU, 1)])) for buyer in buyers))
    ends = {}

    async def order(buyer: Buyer, hold: Answer) -> Answer | None:
        ends[hold.json()["id"]] = end = datetime.fromisoformat(hold.json()["expires_at"])
        moment = end + timedelta(milliseconds=buyer.dice.randint(-250, 50))
        await eventually(lambda: datetime.now(UTC) >= moment)
        answer = await buyer.get(buyer.order(hold.json()["id"]))
        buyer.line.hang_up()
        return answer

    holds = [answer for answer in held if answer is not None and answer.status == 201]
    assert len(holds) == holders
    answers = await asyncio.gather(*(order(*pair) for pair in zip(buyers, holds, strict=True)))
    sold = sum(has_one(answer) for answer in answers)
    expired = sum(answer is not None and answer.kind == "hold-expired" for answer in answers)
    assert sold + expired == holders
    back = max(ends.values()) + timedelta(seconds=BACK_WITHIN_S)
    await eventually(lambda: rows(sale, AVAILABLE, SKU) == [(holders - sold,)] or datetime.now(UTC) > back)
    assert rows(sale, AVAILABLE, SKU) == [(holders - sold,)], "stock of ended holds is not back in time"
    await recount(sale, opening, receipts)
