"""The staff's stock: found, corrected with a reason, never below what is taken, and every change in its history."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.admin.test_orders import bought, send_form
from tests.admin.test_pages import sign_in
from tests.storefront.conftest import Sell, app, open_drop, reading, sell, text_of
from tidegate import accounts, inventory
from tidegate.admin.pages_stock import _items
from tidegate.inventory import MoveCause, MoveReason, StockChanged
from tidegate.ops.merchant import set_available, start_drop
from tidegate.platform.clock import database_now
from tidegate.platform.database import Database
from tidegate.platform.ids import PersonId, VariantId, new_id
from tidegate.platform.problems import InvalidRequest

__all__ = ["app", "open_drop", "sell"]

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(app) as client:
        yield client


async def variant_of(database: Database, sku: str) -> VariantId:
    async with database.connection() as conn:
        row = await (await conn.execute("SELECT id FROM catalog.variants WHERE sku = %s", (sku,))).fetchone()
    assert row is not None
    return VariantId(row[0])


async def correct(client: httpx.AsyncClient, variant: UUID, on_hand: str, why: str) -> httpx.Response:
    page = f"/admin/stock/{variant}"
    return await send_form(client, page, page, {}, on_hand=on_hand, note=why)


async def test_a_correction_is_in_the_history(client: httpx.AsyncClient, database: Database, sell: Sell) -> None:
    await sell("Night Lamp", stock=7)
    variant = await variant_of(database, "NIGHT-LAMP")
    await sign_in(client, database)
    sent = await correct(client, variant, "1,005", "Counted on Monday")
    assert sent.headers["location"] == f"/admin/stock/{variant}?saved=1"
    words = text_of(await client.get(sent.headers["location"]))
    assert f"7 1,005 +998 Corrected: Counted on Monday {accounts.ADMIN_EMAIL}" in words
    assert "0 7 +7 Set The shop" in words


async def test_never_below_what_is_taken(client: httpx.AsyncClient, database: Database, sell: Sell) -> None:
    await bought(client, database, sell)
    variant = await variant_of(database, "LAMP")
    await sign_in(client, database)
    refused = await correct(client, variant, "1", "Counted")
    assert refused.status_code == 409
    words = text_of(refused)
    assert "There cannot be fewer than are held and sold together." in words
    assert 'value="Counted"' in refused.text, "what was typed is kept"
    assert (await correct(client, variant, "2", "All others broke")).status_code == 303
    assert "On hand 2 Held 0 Sold 2 Free 0" in text_of(await client.get(f"/admin/stock/{variant}"))


@pytest.mark.parametrize(
    ("on_hand", "why", "says"),
    [("-1", "Counted", "a whole number"), ("many", "Counted", "a whole number"), ("3", " ", "in a few words why")],
)
async def test_bad_input(
    client: httpx.AsyncClient, database: Database, sell: Sell, on_hand: str, why: str, says: str
) -> None:
    await sell("Lamp")
    variant = await variant_of(database, "LAMP")
    await sign_in(client, database)
    refused = await correct(client, variant, on_hand, why)
    assert refused.status_code == 422
    assert says in text_of(refused)
    assert f'value="{on_hand}"' in refused.text
    assert "0 5 +5 Set The shop" in text_of(refused), "the history is as it was"


async def test_of_two_corrections_at_once_one_is_told(database: Database, sell: Sell) -> None:
    await sell("Lamp")
    variant = await variant_of(database, "LAMP")

    async def correct_once(on_hand: int) -> bool:
        try:
            async with database.transaction() as conn:
                await inventory.correct_stock(
                    conn, variant_id=variant, on_hand=on_hand, seen=5, by=PersonId(new_id()), note="Counted"
                )
        except StockChanged:
            return False
        return True

    assert sorted(await asyncio.gather(*(correct_once(6 + n) for n in range(4)))) == [False, False, False, True]


async def test_found_by_sku_title_and_scarcity(client: httpx.AsyncClient, database: Database, sell: Sell) -> None:
    await sell("Night Lamp", stock=5)
    await sell("Day Lamp", stock=60, sizes=("S", "M"))
    await sell("Chair", stock=0)
    await sign_in(client, database)
    assert "4 shown 125 0 0 125" in text_of(await client.get("/admin/stock"))
    assert "3 shown" in text_of(await client.get("/admin/stock?q=lamp"))
    assert "1 shown" in text_of(await client.get("/admin/stock?q=day-lamp-m"))
    few = text_of(await client.get("/admin/stock?low=1"))
    assert "2 shown" in few
    assert "None left" in few
    assert "Few left" in few
    assert "1 shown" in text_of(await client.get("/admin/stock?low=1&q=chair"))
    assert "Nothing fits." in text_of(await client.get("/admin/stock?q=100%25"))
    assert (await client.get(f"/admin/stock?q={'x' * 201}")).status_code == 422
    assert (await client.get(f"/admin/stock/{new_id()}")).status_code == 404


async def test_pages_follow_one_another(client: httpx.AsyncClient, database: Database, sell: Sell) -> None:
    sizes = tuple(f"{n:02}" for n in range(60))
    await sell("Lamp", sizes=sizes)
    await sign_in(client, database)
    first = await client.get("/admin/stock?q=lamp")
    assert "50 shown" in text_of(first)
    second = text_of(await client.get("/admin/stock?q=lamp&after=LAMP-49"))
    assert "after=LAMP-49" in first.text
    assert "10 shown" in second


async def test_whatever_changes_stock_is_written_down(database: Database, sell: Sell) -> None:
    await sell("Lamp")
    variant, person = await variant_of(database, "LAMP"), PersonId(new_id())
    async with database.transaction() as conn:
        await set_available(conn, sku="LAMP", quantity=9)
        await set_available(conn, sku="LAMP", quantity=9)
        opens_at = await database_now(conn)
        await start_drop(
            conn, slug="night", title="", sku="LAMP", quantity=3, opens_at=opens_at, per_buyer=1, by=person
        )
        other = VariantId(new_id())
        reason = MoveReason(MoveCause.IMPORT)
        assert await inventory.add_missing_stock(conn, levels={variant: 99, other: 4}, reason=reason) == 1
        moves = await inventory.list_movements(conn, variant_id=variant, limit=10)
        first = await inventory.list_movements(conn, variant_id=other, limit=10)
    assert [(move.cause, move.note, move.person_id, move.on_hand_before, move.on_hand_after) for move in moves] == [
        (MoveCause.DROP, "night", person, 9, 3),
        (MoveCause.COMMAND, "", None, 5, 9),
        (MoveCause.SET, "", None, 0, 5),
    ]
    assert [(move.cause, move.change) for move in first] == [(MoveCause.IMPORT, 4)]
    async with database.transaction() as conn:
        await inventory.erase_stock(conn, variant_ids=[other])
        assert await inventory.list_movements(conn, variant_id=other, limit=10) == ()


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=15))
def test_only_whole_numbers_are_stock(text: str) -> None:
    try:
        number = _items(text)
    except InvalidRequest:
        return
    assert str(number) == text.replace(",", "").replace(" ", "").lstrip("0") or number == 0
