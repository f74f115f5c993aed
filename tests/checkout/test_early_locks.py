"""Batches of buying are seen before they are on the disk: who acts on them at a provider waits for it first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from tests.checkout.conftest import Stock
from tests.checkout.test_purchase import hold, order, run_out
from tidegate import checkout
from tidegate.checkout import Actor, NotCancellable, OrderView, Shop
from tidegate.payments import Providers
from tidegate.payments.contracts import Answer, Charge
from tidegate.payments.sandbox import SandboxProvider
from tidegate.platform.database import Database
from tidegate.platform.ids import PersonId, new_id
from tidegate.platform.pipelines import PipelinedConnection
from tidegate.platform.transactions import MAKE_DURABLE

pytestmark = pytest.mark.anyio

STAFF = Actor(PersonId(new_id()), "staff")


class Noting(SandboxProvider):
    """The sandbox, which notes in `said` that it was asked, or asked to end a payment."""

    said: list[str]

    async def ask(self, charge: Charge) -> Answer:
        self.said.append("the provider")
        return await super().ask(charge)

    async def end(self, charge: Charge) -> Answer:
        self.said.append("the provider")
        return await super().end(charge)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Statements of all connections, batches' included, as they are said."""
    said: list[str] = []
    for kind in (psycopg.AsyncConnection, PipelinedConnection):
        monkeypatch.setattr(kind, "execute", _noted(kind.execute, said))
    return said


def _noted(execute: Callable[..., Awaitable[Any]], said: list[str]) -> Callable[..., Awaitable[Any]]:
    async def noted(self: Any, query: Any, *args: Any, **options: Any) -> Any:
        said.append(str(query))
        return await execute(self, query, *args, **options)

    return noted


@pytest.fixture
def noting(shop: Shop, database: Database, said: list[str]) -> Shop:
    provider = Noting(database, shop.settings)
    provider.said = said
    return replace(shop, providers=Providers([provider], timeout_s=5))


async def look_again(shop: Shop, placed: OrderView, buyer: PersonId) -> None:
    await checkout.find_order(shop, buyer_id=buyer, order_id=placed.id, ask=True)


async def cancel(shop: Shop, placed: OrderView, buyer: PersonId) -> None:
    with suppress(NotCancellable):  # where it was paid, as the provider then said
        await checkout.cancel(shop, order_id=placed.id, by=STAFF)


async def expire(shop: Shop, placed: OrderView, buyer: PersonId) -> None:
    await run_out(shop, placed.id)
    await checkout.expire_orders_once(shop)


@pytest.mark.parametrize("act", [look_again, cancel, expire], ids=["looked at", "cancelled", "expired"])
async def test_what_was_only_read_is_waited_for_before_the_provider_hears_of_it(
    noting: Shop,
    said: list[str],
    sell: Stock,
    buyer: PersonId,
    act: Callable[[Shop, OrderView, PersonId], Awaitable[None]],
) -> None:
    await sell("LAMP", stock=2)
    placed = await order(noting, buyer, (await hold(noting, buyer)).id, "hosted")
    said.clear()
    await act(noting, placed, buyer)
    before = said[: said.index("the provider")]
    read = max(place for place, statement in enumerate(before) if "payments.charges" in statement)
    assert MAKE_DURABLE in before[read:]


async def test_each_batch_of_buying_is_made_durable_behind_its_commit(
    noting: Shop, said: list[str], sell: Stock, buyer: PersonId
) -> None:
    await sell("LAMP", stock=2)
    await order(noting, buyer, (await hold(noting, buyer)).id, "tok_ok")
    commits = [place for place, statement in enumerate(said) if statement == "COMMIT"]
    assert len(commits) == 3, "a hold, an order and a settlement"
    assert [said[place + 1] for place in commits] == [MAKE_DURABLE] * 3
