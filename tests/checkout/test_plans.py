"""How PostgreSQL runs what batches of buying say: by keys, also where it expects few rows and there are many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from msgspec.structs import replace as altered

from tests.catalog.makers import a_voucher
from tests.checkout.conftest import Stock
from tests.checkout.test_purchase import form, key
from tests.checkout.test_purchasing import wish
from tidegate import checkout
from tidegate.checkout import FreshHold, HoldWish, Line, OrderView, Shop, open_shop
from tidegate.checkout.orders import UNPAID
from tidegate.checkout.settlement import settle
from tidegate.payments import charges, make_providers, refunds, sandbox_webhooks, webhooks
from tidegate.payments.contracts import Answer, ChargeRef, ChargeState, Notice
from tidegate.platform.database import Database
from tidegate.platform.ids import PersonId, new_id
from tidegate.platform.pipelines import PipelinedConnection
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

BUYERS = 40
OTHERS = 100
OF_SETTINGS = ("FROM catalog.revision", "FROM catalog.tax_settings")
"""What is read whole, and grows with a shop's settings only."""

MANY = """
INSERT INTO platform.idempotency_keys (buyer_id, key, fingerprint, state, subject_id, status, body)
SELECT gen_random_uuid(), 'k', sha256('k'), 'final', gen_random_uuid(), 201, '{}' FROM generate_series(1, 5000);
INSERT INTO inventory.holds (id, buyer_id, drop_id, state, order_id, expires_at)
SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'confirmed', gen_random_uuid(), now()
FROM generate_series(1, 5000);
INSERT INTO payments.webhook_events (provider, event_id, body, applied_at)
SELECT 'sandbox', 'old_' || n, '', now() FROM generate_series(1, 5000) AS n;
INSERT INTO checkout.order_taxes (order_id, line_no, name, rate_bp, base_amount, tax_amount)
SELECT gen_random_uuid(), 1, 'VAT', 2000, 100, 20 FROM generate_series(1, 5000)
"""
"""Keys, holds, notices and taxes of a while ago."""

SAID = (
    "array_position",
    "UPDATE payments.webhook_events",
    "voucher_id = ANY",
    "FOR NO KEY UPDATE NOWAIT",
    "UPDATE platform.idempotency_keys AS k\nSET state = 'final', status = a.status",
)
"""Parts of statements that must be among those looked at: seldom ones, and what was wrong before."""

READS_ALL = """
UPDATE platform.idempotency_keys AS k SET state = 'final' FROM unnest($1::uuid[]) AS a (subject_id)
WHERE k.subject_id = a.subject_id AND k.state = 'claimed'
"""
"""What this test must find, so that it can fail."""


class Watched(Database):
    """A pool that knows the connections which its batches use."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.made: list[PipelinedConnection] = []

    async def connect(self) -> PipelinedConnection:
        self.made.append(await super().connect())
        return self.made[-1]


@pytest.fixture
async def watched(settings: Settings) -> AsyncIterator[Watched]:
    database = Watched(settings)
    await database.open()
    yield database
    await database.close()


def unbounded(plan: dict[str, Any]) -> Iterator[str]:
    """Parts of a plan that read a whole table or a whole index."""
    if plan["Node Type"] == "Seq Scan" or ("Index" in plan["Node Type"] and "Index Cond" not in plan):
        yield f"{plan['Node Type']} of {plan.get('Index Name') or plan['Relation Name']}"
    for part in plan.get("Plans", ()):
        yield from unbounded(part)


async def plan_of(conn: PipelinedConnection, name: str, parameters: int) -> dict[str, Any]:
    arguments = f"({', '.join(['NULL'] * parameters)})" if parameters else ""
    row = await (await conn.execute(f"EXPLAIN (FORMAT JSON) EXECUTE {name}{arguments}")).fetchone()
    assert row is not None
    said = row[0][0]
    return {"Node Type": said} if isinstance(said, str) else said["Plan"]  # BEGIN and COMMIT have no plan


async def test_batches_read_no_table_and_no_index_as_a_whole(watched: Watched, settings: Settings, sell: Stock) -> None:
    demo = settings.model_copy(update={"demo": True})
    async with open_shop(watched, demo, make_providers(watched, demo)) as shop:
        for other in range(OTHERS):
            await sell(f"OTHER-{other}", stock=1)
        await sell("LAMP", stock=10_000)
        await sell("NOW", stock=10_000, drop_in_s=-1, per_buyer=5)
        await a_voucher(watched, "TEN", total=10_000)
        for _ in range(3):
            await asyncio.gather(*(live(shop) for _ in range(BUYERS)))
        async with watched.connection() as conn:
            await conn.execute(MANY)
            await conn.execute("ANALYZE")
        found: dict[str, list[str]] = {}
        said: set[str] = set()
        for own in watched.made:
            rows = await own.execute("SELECT name, statement, cardinality(parameter_types) FROM pg_prepared_statements")
            for name, statement, parameters in await rows.fetchall():
                said.add(statement)
                wrong = list(unbounded(await plan_of(own, name, parameters)))
                if wrong and not any(each in statement for each in OF_SETTINGS):
                    found[statement] = wrong
        await own.execute(f"PREPARE control AS {READS_ALL}")
        control = list(unbounded(await plan_of(own, "control", 1)))
    assert [part for part in SAID if not any(part in statement for statement in said)] == []
    assert found == {}
    assert control, "keys that are claimed are few, as PostgreSQL sees it"


@pytest.mark.parametrize(
    ("statement", "arguments"),
    [
        (UNPAID, ([], 50)),
        (charges.DUE, (10, 50)),
        (refunds.DUE, (50,)),
        (webhooks.UNAPPLIED, (50,)),
        (sandbox_webhooks.DUE, (3, 50)),
    ],
    ids=["orders", "charges", "refunds", "notices", "the sandbox's notices"],
)
async def test_what_is_due_is_found_by_its_time(
    statement: str, arguments: tuple[object, ...], database: Database
) -> None:
    async with database.transaction() as conn:
        await conn.execute("SET LOCAL enable_seqscan = off")  # tables are empty
        row = await (await conn.execute(f"EXPLAIN (FORMAT JSON) {statement}", arguments)).fetchone()
    assert row is not None
    assert list(unbounded(row[0][0]["Plan"])) == []


async def live(shop: Shop) -> None:
    """Some buy at once, one is declined; one holds again, orders, and a notice tells of the payment."""
    for sku, method in (("LAMP", "tok_ok"), ("NOW", "tok_ok"), ("LAMP", "tok_declined")):
        await checkout.purchase(shop, wish(PersonId(new_id()), (sku, 1), method=method, key="bought"))
    await checkout.purchase(shop, altered(wish(PersonId(new_id()), key="coded"), code="TEN"))
    buyer = PersonId(new_id())
    early, _ = await checkout.settle_hold(shop, HoldWish(buyer, (Line("NOW", 1),)))
    assert isinstance(early, FreshHold)
    async with shop.database.transaction() as conn:
        await conn.execute("UPDATE inventory.holds SET expires_at = now() WHERE id = %s", (early.id,))
    held, _ = await checkout.settle_hold(shop, HoldWish(buyer, (Line("NOW", 1),), key=key(buyer, "hold")))
    assert isinstance(held, FreshHold)
    order = await checkout.place_order(shop, buyer_id=buyer, form=form(held.id, "hosted"), key=key(buyer, "order"))
    assert isinstance(order, OrderView)
    ref, answer = ChargeRef(order.id, 1), Answer(ChargeState.CAPTURED, f"paid_{order.id}")
    await settle(shop, {ref: answer}, notices=[Notice("sandbox", str(order.id), ref, answer)])
