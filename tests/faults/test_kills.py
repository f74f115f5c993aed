"""kill -9 of every process in turn while buyers are in checkout: nothing is lost, doubled or stuck, nobody helps."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Callable

import pytest

from tests.faults.buyers import Crowd
from tests.faults.faults import DROP, DROP_SKU, kill, limit
from tests.faults.recount import Opening, recount, rows
from tests.servers import Shop
from tests.sizes import sized

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

SKUS = ("22423", "23166", "22960")
KILL, QUIT = signal.SIGKILL, signal.SIGQUIT

REDEMPTIONS = 60
"""Of each test's voucher: used up before the last fault, or not, as it comes."""

IN_USE = """
SELECT (SELECT sum(used) FROM inventory.buyer_limits WHERE rule_id = v.id)::int,
    (SELECT sum(used) FROM inventory.buyer_limits WHERE rule_id = d.id)::int
FROM catalog.vouchers AS v, catalog.drops AS d WHERE v.code = upper(%s) AND d.slug = %s
"""

FAULTS = {
    "sites": (("site-1", KILL), ("site-2", KILL), ("site-1", KILL)),
    "background": (
        ("valkey", KILL),
        ("worker-urgent", KILL),
        *sized(full=(("worker", KILL),), brief=()),
        ("scheduler", KILL),
        *sized(full=(("mail-catcher", KILL),), brief=()),
    ),
    "database": (("postgres", QUIT), ("postgres", KILL)),  # QUIT is `pg_ctl stop -m immediate`
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_processes_killed_in_turn(
    sale: Shop, stock: Callable[[dict[str, int]], None], seed: int, dice: random.Random, fault: str
) -> None:
    stock(dict.fromkeys(SKUS, 5_000))
    limit(sale, code=fault, redemptions=REDEMPTIONS)
    opening = Opening.of(sale)
    async with Crowd(sale.port, SKUS, seed=seed, size=16, drop_sku=DROP_SKU, code=fault) as crowd:
        for name, with_signal in FAULTS[fault]:
            await kill(sale, name, crowd, dice, with_signal=with_signal)
    await recount(sale, opening, crowd.receipts, told=True)
    assert crowd.receipts.orders()
    assert min(rows(sale, IN_USE, fault, DROP)[0]) > 0, "limits were in use"
    paid = len(rows(sale, "SELECT 1 FROM checkout.orders WHERE state = 'paid'"))
    status, body = sale.get("/dev/mail.json")
    assert status == 200
    if fault == "sites":  # the catcher forgets what it caught before it was killed
        assert len(json.loads(body)["items"]) >= min(paid, 100)
