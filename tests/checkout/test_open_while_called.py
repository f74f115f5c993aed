"""While a payment provider is called, the shop has no transaction open and holds no lock: a slow one stops nobody."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from standardwebhooks import Webhook

from tests.checkout.conftest import Stock
from tests.checkout.test_purchase import form, hold, key, order, run_out
from tidegate import checkout
from tidegate.checkout import Actor, Line, OrderState, OrderView, PurchaseWish, Shop, open_shop
from tidegate.checkout.purchasing import NO_HOLD
from tidegate.checkout.webhooks import take_webhook
from tidegate.payments import Providers
from tidegate.payments.contracts import (
    Answer,
    Charge,
    ChargeIntent,
    ChargeRef,
    Refund,
    RefundAnswer,
)
from tidegate.payments.sandbox import SandboxProvider
from tidegate.platform.database import Database
from tidegate.platform.ids import OrderId, PersonId, new_id
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

STAFF = Actor(PersonId(new_id()), "staff")

OPEN = """
SELECT pid, state, query FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
  AND (xact_start IS NOT NULL OR state LIKE 'idle in transaction%')
"""

LOCKS = """
SELECT l.pid, l.locktype, l.relation::regclass::text, l.mode FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
WHERE a.datname = current_database() AND a.backend_type = 'client backend' AND l.pid <> pg_backend_pid()
"""


@dataclass(slots=True)
class Watchful:
    """The sandbox, which looks at the shop's sessions whenever it is called, and notes what is open in them."""

    sandbox: SandboxProvider
    database_url: str
    name: str = "sandbox"
    calls: list[str] = field(default_factory=list)
    seen: list[tuple[Any, ...]] = field(default_factory=list)

    async def charge(self, intent: ChargeIntent) -> Answer:
        await self._look("charge")
        return await self.sandbox.charge(intent)

    async def ask(self, charge: Charge) -> Answer:
        await self._look("ask")
        return await self.sandbox.ask(charge)

    async def end(self, charge: Charge) -> Answer:
        await self._look("end")
        return await self.sandbox.end(charge)

    async def refund(self, refund: Refund, *, provider_ref: str) -> RefundAnswer:
        await self._look("refund")
        return await self.sandbox.refund(refund, provider_ref=provider_ref)

    def check_method(self, method: str) -> None:
        self.sandbox.check_method(method)

    def verify(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> str:
        return self.sandbox.verify(headers, body, now=now)

    def read_event(self, body: bytes) -> tuple[ChargeRef, Answer] | None:
        return self.sandbox.read_event(body)

    async def close(self) -> None:
        await self.sandbox.close()

    async def _look(self, call: str) -> None:
        self.calls.append(call)
        async with await psycopg.AsyncConnection.connect(self.database_url, autocommit=True) as conn:
            for look in (OPEN, LOCKS):
                self.seen += [(call, *row) for row in await (await conn.execute(look)).fetchall()]


@dataclass(frozen=True, slots=True)
class Stage:
    """A shop with 20 lamps, and the provider that watches it."""

    shop: Shop
    provider: Watchful
    buyer: PersonId

    async def ordered(self, method: str = "tok_ok", *, over: bool = False) -> OrderView:
        """An order of a hold; with `over` its time is over."""
        placed = await order(self.shop, self.buyer, (await hold(self.shop, self.buyer)).id, method)
        if over:
            await run_out(self.shop, placed.id)
        return placed

    async def webhook(self, order_id: OrderId) -> None:
        """The provider tells that the first attempt was paid."""
        paid = {"id": "sp_1", "reference": f"{order_id}.1", "amount": 250, "currency": "GBP"}
        body = json.dumps({"type": "payment.succeeded", "payment": paid})
        secret = self.shop.settings.security.sandbox_webhook_secret.get_secret_value()
        now, event = datetime.now(UTC), str(new_id())
        headers = {
            "webhook-id": event,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(secret).sign(msg_id=event, timestamp=now, data=body),
        }
        await take_webhook(self.shop, provider="sandbox", headers=headers, body=body.encode())


@pytest.fixture
async def stage(
    database: Database, database_url: str, settings: Settings, sell: Stock, buyer: PersonId
) -> AsyncIterator[Stage]:
    quick = settings.payments.model_copy(update={"reconcile_after_s": 0})
    demo = settings.model_copy(update={"demo": True, "payments": quick})
    provider = Watchful(SandboxProvider(database, demo), database_url)
    await sell("LAMP", stock=20)
    async with open_shop(database, demo, Providers([provider], timeout_s=10)) as shop:
        yield Stage(shop, provider, buyer)


async def express(stage: Stage) -> None:
    who = form(NO_HOLD)
    wish = PurchaseWish(
        stage.buyer,
        (Line("LAMP", 1),),
        key=key(stage.buyer),
        email=who.email,
        address=who.address,
        provider="sandbox",
        method="tok_ok",
    )
    bought = await checkout.purchase(stage.shop, wish)
    assert isinstance(bought, OrderView)
    assert bought.state == OrderState.PAID


async def hold_then_order(stage: Stage) -> None:
    assert (await stage.ordered()).state == OrderState.PAID


async def another_card(stage: Stage) -> None:
    held = await hold(stage.shop, stage.buyer)
    await order(stage.shop, stage.buyer, held.id, "tok_declined")
    assert (await order(stage.shop, stage.buyer, held.id)).state == OrderState.PAID


async def another_card_by_the_page(stage: Stage) -> None:
    declined = await stage.ordered("tok_declined")
    await checkout.pay_again(
        stage.shop, buyer_id=stage.buyer, order_id=declined.id, provider="sandbox", method="tok_ok"
    )


async def answer_lost(stage: Stage) -> None:
    await stage.ordered("tok_error_after_charge")
    await checkout.reconcile_once(stage.shop)


async def not_paid_in_time(stage: Stage) -> None:
    await stage.ordered("hosted", over=True)
    await checkout.expire_orders_once(stage.shop)


async def paid_after_all_and_sold_out(stage: Stage) -> None:
    late = await stage.ordered("hosted", over=True)
    await checkout.expire_orders_once(stage.shop)
    async with stage.shop.database.transaction() as conn:
        await conn.execute("UPDATE inventory.stock SET on_hand = held + sold")
    await stage.webhook(late.id)
    await checkout.reconcile_once(stage.shop)


async def second_attempt_of_a_paid_order(stage: Stage) -> None:
    first = await stage.ordered("tok_declined")
    await checkout.pay_again(stage.shop, buyer_id=stage.buyer, order_id=first.id, provider="sandbox", method="hosted")
    await stage.webhook(first.id)
    await checkout.reconcile_once(stage.shop)


async def given_back(stage: Stage) -> None:
    await checkout.give_back(stage.shop, order_id=(await stage.ordered()).id, by=STAFF, key="a")


async def cancelled_paid(stage: Stage) -> None:
    await checkout.cancel(stage.shop, order_id=(await stage.ordered()).id, by=STAFF)


async def cancelled_unpaid(stage: Stage) -> None:
    await checkout.cancel(stage.shop, order_id=(await stage.ordered("hosted")).id, by=STAFF)


CASES: tuple[tuple[Callable[[Stage], Awaitable[None]], list[str]], ...] = (
    (express, ["charge"]),
    (hold_then_order, ["charge"]),
    (another_card, ["charge", "charge"]),
    (another_card_by_the_page, ["charge", "charge"]),
    (answer_lost, ["charge", "ask"]),
    (not_paid_in_time, ["charge", "end"]),
    (paid_after_all_and_sold_out, ["charge", "end", "refund"]),
    (second_attempt_of_a_paid_order, ["charge", "charge", "end"]),
    (given_back, ["charge", "refund"]),
    (cancelled_paid, ["charge", "refund"]),
    (cancelled_unpaid, ["charge", "end"]),
)


@pytest.mark.parametrize(("play", "calls"), [pytest.param(*case, id=case[0].__name__) for case in CASES])
async def test_nothing_is_open_while_a_provider_is_called(
    stage: Stage, play: Callable[[Stage], Awaitable[None]], calls: list[str]
) -> None:
    await play(stage)
    assert stage.provider.calls == calls
    assert stage.provider.seen == []


async def test_what_is_open_would_be_seen(stage: Stage) -> None:
    async with stage.shop.database.transaction() as conn:
        await conn.execute("SELECT FROM catalog.products")
        await hold_then_order(stage)
    assert {row[2] for row in stage.provider.seen} >= {"idle in transaction", "relation"}
