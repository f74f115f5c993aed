"""Opening the shop: the batches of buying start, and are drained at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from tidegate import inventory
from tidegate.catalog import Snapshot
from tidegate.checkout.guessing import Codes
from tidegate.checkout.holding import settle_holds
from tidegate.checkout.ordering import settle_orders
from tidegate.checkout.orders import number_key
from tidegate.checkout.pending import is_race as is_order_race
from tidegate.checkout.purchasing import settle_purchases
from tidegate.checkout.settlement import settle_answers
from tidegate.checkout.shop import Batches, Desk, Shop
from tidegate.checkout.twins import Twins
from tidegate.gate import PassDesk
from tidegate.payments import Providers
from tidegate.platform.database import Database
from tidegate.platform.group_commit import GroupCommit, Settle
from tidegate.platform.idempotency import KeyDesk
from tidegate.platform.idempotency import is_race as is_key_race
from tidegate.platform.settings import Settings
from tidegate.platform.transactions import PostgresTransactions

Request = TypeVar("Request")
Result = TypeVar("Result")


@asynccontextmanager
async def open_shop(database: Database, settings: Settings, providers: Providers) -> AsyncIterator[Shop]:
    """A shop that takes requests for the length of a block; those that wait at its end are still settled.

    `providers` are closed with it.

    Raises: OUTAGE when PostgreSQL is away.
    """
    async with database.connection() as conn:
        key = await number_key(conn)
    desk = Desk(
        settings, Snapshot(currency=settings.currency, max_entries=settings.catalog.snapshot_max), key, PassDesk()
    )

    stock = asyncio.Lock()  # whoever changes stock would wait for the same hot rows

    def group(settle: Settle[Request, Result], name: str, turn: asyncio.Lock | None) -> GroupCommit[Request, Result]:
        transactions = PostgresTransactions(
            database.connect, is_race=partial(_is_race, keys=desk.keys), release_early=True
        )
        return GroupCommit(transactions, settle, name=name, limits=settings.engine, turn=turn)

    batches = Batches(
        holds=group(partial(settle_holds, desk=desk), "holds", stock),
        orders=group(partial(settle_orders, desk=desk), "orders", None),
        purchases=group(partial(settle_purchases, desk=desk), "purchases", stock),
        settlements=group(partial(settle_answers, desk=desk), "settlements", stock),
    )
    twins, codes = Twins(), Codes(database, settings, desk.snapshot)
    takers = (batches.holds, batches.orders, batches.purchases)
    for each in (codes, *takers, batches.settlements):
        each.start()
    try:
        yield Shop(database, settings, providers, desk, batches, twins, codes)
    finally:
        await codes.close()
        await asyncio.gather(*(each.drain() for each in takers))
        await twins.finish(within_s=settings.http.shutdown_grace_s)
        await batches.settlements.drain()
        await providers.close()


def _is_race(constraint: str, *, keys: KeyDesk) -> bool:
    if is_key_race(constraint):
        keys.note_race()
        return True
    return constraint in (inventory.LIMIT_RACE, inventory.STOCK_RACE) or is_order_race(constraint)
