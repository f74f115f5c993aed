"""A shop with goods, for buying from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

import httpx
import pytest

from tidegate import inventory
from tidegate.checkout import Shop, open_shop
from tidegate.entrypoints.site import create_app
from tidegate.payments import make_providers
from tidegate.platform.database import Database
from tidegate.platform.ids import PersonId, VariantId, new_id
from tidegate.platform.settings import Settings

Stock = Callable[..., Awaitable[VariantId]]


@pytest.fixture
async def shop(database: Database, settings: Settings) -> AsyncIterator[Shop]:
    """A demo shop, with the sandbox to pay through."""
    demo = settings.model_copy(update={"demo": True})
    async with open_shop(database, demo, make_providers(database, demo)) as shop:
        yield shop


@pytest.fixture
async def site(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the whole site application."""
    app: Any = create_app(settings.model_copy(update={"demo": True}))
    transport = httpx.ASGITransport(app=app)
    lifespan = app.app.router.lifespan_context(app.app)
    async with lifespan, httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        yield client


@pytest.fixture
def buyer() -> PersonId:
    return PersonId(new_id())


async def put_on_sale(
    database: Database,
    sku: str,
    *,
    stock: int,
    price: int = 250,
    drop_in_s: float | None = None,
    per_buyer: int = 1,
    guests: bool = False,
) -> VariantId:
    """A product on sale; with `drop_in_s` as a drop, which `guests` may buy in."""
    product, variant, drop = new_id(), VariantId(new_id()), new_id()
    async with database.transaction() as conn:
        await conn.execute(
            "INSERT INTO catalog.products (id, slug, title) VALUES (%s, %s, %s)",
            (product, sku.lower(), f"The {sku}"),
        )
        await conn.execute(
            "INSERT INTO catalog.variants (id, product_id, sku) VALUES (%s, %s, %s)", (variant, product, sku)
        )
        await conn.execute(
            "INSERT INTO catalog.prices (variant_id, currency, amount) VALUES (%s, 'GBP', %s)", (variant, price)
        )
        await inventory.set_stock(conn, levels={variant: stock})
        if drop_in_s is not None:
            await conn.execute(
                "INSERT INTO catalog.drops (id, slug, title, opens_at, per_buyer, room, guests)"
                " VALUES (%s, %s, %s, clock_timestamp() + %s, %s, 'none', %s)",
                (drop, f"{sku.lower()}-drop", f"The {sku} drop", timedelta(seconds=drop_in_s), per_buyer, guests),
            )
            await conn.execute(
                "INSERT INTO catalog.drop_items (drop_id, variant_id, quantity) VALUES (%s, %s, %s)",
                (drop, variant, stock),
            )
    return variant


@pytest.fixture
def sell(database: Database) -> Stock:
    """Put a product on sale: `await sell("SKU", stock=3, price=250)`; with `drop_in_s` as a drop."""
    return partial(put_on_sale, database)
