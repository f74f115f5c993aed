"""One key, one effect, one answer: many copies at once in several processes, and buyers who hang up halfway."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from tests.faults.buyers import Buyer, Receipts, Request, guests
from tests.faults.recount import Opening, recount
from tests.faults.wire import Line
from tests.servers import Shop
from tests.sizes import sized

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

SKU, RARE_SKU = "22423", "23166"
KEYS, COPIES, LINES = sized(full=1_000, brief=100), 50, 200
KEYS_PER_GUEST = 5
LEAVERS = sized(full=60, brief=20)

SetStock = Callable[[dict[str, int]], None]


async def test_many_keys_of_fifty_copies(sale: Shop, stock: SetStock, dice: random.Random) -> None:
    stock({SKU: 10_000, RARE_SKU: 40})
    opening = Opening.of(sale)
    receipts = Receipts()
    buyers = await guests(sale.port, KEYS // KEYS_PER_GUEST, dice, receipts)
    requests = [wanted(buyer, dice) for buyer in buyers for _ in range(KEYS_PER_GUEST)]
    copies: asyncio.Queue[tuple[Buyer, Request]] = asyncio.Queue()
    for each in requests:
        for _ in range(COPIES):
            copies.put_nowait(each)

    async def send_copies() -> None:
        with Line(sale.port) as line:
            while not copies.empty():
                buyer, request = copies.get_nowait()
                await buyer.get(request, line=line)

    await asyncio.gather(*(send_copies() for _ in range(LINES)))
    assert len(receipts.answered) == KEYS * COPIES
    answers = {(request.headers["idempotency-key"], answer) for request, answer in receipts.answered}
    assert len(answers) == KEYS, "copies of one key got different answers"
    await recount(sale, opening, receipts)


async def test_buyers_who_hang_up_in_the_middle_of_a_purchase(sale: Shop, stock: SetStock, dice: random.Random) -> None:
    stock({SKU: 5_000, RARE_SKU: 20})
    opening = Opening.of(sale)
    receipts = Receipts()
    buyers = await guests(sale.port, LEAVERS, dice, receipts)

    async def buy(buyer: Buyer) -> None:
        for _ in range(KEYS_PER_GUEST):
            _, request = wanted(buyer, dice)
            await buyer.leave_and_come_back(request)
        buyer.line.hang_up()

    await asyncio.gather(*(buy(buyer) for buyer in buyers))
    assert len(receipts.answered) == LEAVERS * KEYS_PER_GUEST
    await recount(sale, opening, receipts)


def wanted(buyer: Buyer, dice: random.Random) -> tuple[Buyer, Request]:
    """A purchase; some want what will be sold out, some cards are declined or answer late."""
    sku = RARE_SKU if dice.random() < 0.1 else SKU
    token = dice.choice(("tok_ok",) * 6 + ("tok_declined", "tok_error_after_charge", "tok_webhook_twice"))
    return buyer, buyer.purchase([(sku, 1)], token)
