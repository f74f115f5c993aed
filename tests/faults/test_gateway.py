"""The payment gateway slow, down, erring after the charge, and telling its webhooks in any order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from tests.faults.buyers import Buyer, Crowd, Receipts
from tests.faults.faults import gateway_down, ledger, lie, tell
from tests.faults.recount import Opening, recount, rows
from tests.servers import Shop
from tests.waiting import eventually

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

SKU = "22423"
BUYERS = 40

SetStock = Callable[[dict[str, int]], None]


async def bought_with(sale: Shop, dice: random.Random, receipts: Receipts, token: str) -> list[str]:
    """Orders of as many buyers, each paying with `token`."""

    async def buy() -> str:
        buyer = Buyer(sale.port, dice, receipts)
        await buyer.become_guest()
        answer = await buyer.get(buyer.purchase([(SKU, 1)], token))
        buyer.line.hang_up()
        assert answer is not None, receipts.strange
        order_id: str = answer.json()["id"]
        return order_id

    return list(await asyncio.gather(*(buy() for _ in range(BUYERS))))


def states(shop: Shop, orders: list[str]) -> set[str]:
    return {
        row[0] for row in rows(shop, "SELECT DISTINCT state FROM checkout.orders WHERE id = ANY(%s::uuid[])", orders)
    }


async def test_a_slow_gateway_and_one_that_errs_after_the_charge(
    sale: Shop, stock: SetStock, dice: random.Random
) -> None:
    stock({SKU: 1_000})
    opening = Opening.of(sale)
    receipts = Receipts()
    slow, erring = await asyncio.gather(
        bought_with(sale, dice, receipts, "tok_slow"), bought_with(sale, dice, receipts, "tok_error_after_charge")
    )
    await recount(sale, opening, receipts)
    assert states(sale, slow + erring) == {"paid"}


async def test_a_gateway_that_is_down_for_a_while(sale: Shop, stock: SetStock, seed: int) -> None:
    stock({SKU: 5_000})
    opening = Opening.of(sale)
    async with Crowd(sale.port, [SKU], seed=seed, size=16) as crowd:
        await eventually(lambda: crowd.bought > 50)
        async with gateway_down(sale):
            waiting = "SELECT 1 FROM payments.charges WHERE state = 'intent' AND created_at < now() - interval '4 s'"
            await eventually(lambda: asyncio.to_thread(rows, sale, waiting), timeout_s=30)
        bought = crowd.bought
        await eventually(lambda: crowd.bought > bought + 50, timeout_s=60)
    await recount(sale, opening, crowd.receipts)


async def test_webhooks_in_any_order_and_number(sale: Shop, stock: SetStock, dice: random.Random) -> None:
    stock({SKU: 1_000})
    opening = Opening.of(sale)
    receipts = Receipts()
    paid, late = await asyncio.gather(
        bought_with(sale, dice, receipts, "tok_webhook_never"), bought_with(sale, dice, receipts, "tok_webhook_late")
    )
    await lie(sale, ledger(sale, paid + late), dice)
    await recount(sale, opening, receipts)
    assert states(sale, paid + late) == {"paid"}


async def test_money_of_a_second_payment_goes_back(sale: Shop, stock: SetStock, dice: random.Random) -> None:
    """A gateway says "failed" of what it has charged, the buyer pays with another card, then it tells the truth."""
    stock({SKU: 1_000})
    opening = Opening.of(sale)
    receipts = Receipts()
    buyer = Buyer(sale.port, dice, receipts)
    await buyer.become_guest()
    held = await buyer.get(buyer.hold([(SKU, 1)]))
    assert held is not None
    first = await buyer.get(buyer.order(held.json()["id"], "tok_webhook_never"))
    assert first is not None
    order_id = first.json()["id"]
    (payment,) = ledger(sale, [order_id])
    await tell(sale, payment, "failed", event=f"evt_{payment['id']}_lie")
    second = await buyer.get(buyer.order(held.json()["id"], "tok_ok"))
    assert second is not None and (second.status, second.json()["id"]) == (201, order_id)
    await tell(sale, payment, "succeeded", event=f"evt_{payment['id']}_truth")
    buyer.line.hang_up()
    await recount(sale, opening, receipts, refunded=1)
    assert states(sale, [order_id]) == {"paid"}
