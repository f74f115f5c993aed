"""The staff's view of a waiting room: how its line moves, the speed, a word to all, and a pause."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx
import pytest

from tests.admin.test_orders import send_form
from tests.admin.test_pages import sign_in
from tests.gate.rooms import a_room
from tests.storefront.conftest import Sell, app, open_drop, reading, sell, text_of
from tidegate.entrypoints.admission import shop_admission
from tidegate.gate import draw_rooms_once, fetch_beacon
from tidegate.platform.database import Database
from tidegate.platform.ids import PersonId, new_id
from tidegate.platform.settings import Settings

__all__ = ["app", "open_drop", "sell"]

pytestmark = pytest.mark.anyio

NEW = {
    "title": "Lamp night",
    "slug": "lamp-night",
    "sku": "NIGHT-LAMP",
    "quantity": "3",
    "per_buyer": "1",
    "opens_at": "2099-11-30T12:00",
}
PAGE = "/admin/drops/lamp-night/room"


@pytest.fixture
async def client(app: Any, database: Database, sell: Sell) -> AsyncIterator[httpx.AsyncClient]:
    """A member of the staff, in a shop with one lamp."""
    await sell("Night Lamp", price=1000, stock=50)
    async with reading(app) as client:
        await sign_in(client, database)
        yield client


async def test_a_drop_is_made_with_its_room_and_led_from_there(
    client: httpx.AsyncClient, database: Database, settings: Settings
) -> None:
    made = await send_form(client, "/admin/drops/new", "/admin/drops/new", {}, **(NEW | {"room": "draw"}))
    assert made.headers["location"] == "/admin/drops/lamp-night?changed=1"
    assert "The waiting room" in text_of(await client.get("/admin/drops/lamp-night"))
    words = text_of(await client.get(PAGE))
    assert "Waiting room: Lamp night" in words
    assert "Lots are drawn among all who are there when it opens" in words
    async with database.transaction() as conn:
        await conn.execute("DELETE FROM gate.rooms")
        await conn.execute("UPDATE catalog.drops SET opens_at = now()")
        await a_room(conn, slug="lamp-night", buyers=[PersonId(new_id()) for _ in range(5)])
    await shop_admission(database, settings).once()
    assert "Waiting 2 Let in 3 Choosing 3 Took something 0 Never came 0 Held 0 Sold 0 Left 3" in text_of(
        await client.get(PAGE)
    )
    wrong = await send_form(client, PAGE, PAGE, {}, speed="fast", message="Soon")
    assert wrong.status_code == 422
    assert "A speed limit is a whole number" in text_of(wrong)
    assert 'value="fast"' in wrong.text
    assert 'value="Soon"' in wrong.text
    saved = await send_form(client, PAGE, PAGE, {}, speed="1,200", message=" Soon. ")
    assert (saved.status_code, saved.headers["location"]) == (303, f"{PAGE}?changed=1")
    paused = await send_form(client, PAGE, f"{PAGE}/pause", {}, paused="1")
    assert paused.status_code == 303
    page = await client.get(PAGE)
    assert 'value="1200"' in page.text
    assert 'value="Soon."' in page.text
    assert "Nobody is let in." in text_of(page)
    on = await send_form(client, PAGE, f"{PAGE}/pause", {}, paused="0")
    assert on.status_code == 303
    assert "A pause lets nobody in." in text_of(await client.get(PAGE))
    async with database.transaction() as conn:
        await conn.execute("UPDATE gate.rooms SET phase = 'closed', closed_at = now()")
    assert "Message to all who wait" not in (await client.get(PAGE)).text


async def test_staff_type_in_what_they_drew_in_public_after_the_opening(
    client: httpx.AsyncClient, database: Database, settings: Settings
) -> None:
    await send_form(client, "/admin/drops/new", "/admin/drops/new", {}, **(NEW | {"room": "draw"}))
    assert 'name="value"' not in (await client.get(PAGE)).text, "this room's draw takes no value"
    async with database.transaction() as conn:
        await conn.execute("UPDATE gate.rooms SET beacon_source = 'staff'")
    early = await send_form(client, PAGE, f"{PAGE}/beacon", {}, value="4 2 6")
    assert early.status_code == 422
    assert "type it in right after the room has opened" in text_of(early)
    assert 'value="4 2 6"' in early.text, "and nothing has to be typed again"
    await send_form(client, f"{PAGE}/open", f"{PAGE}/open", {})
    assert "they wait for the value that you draw in public" in text_of(await client.get(PAGE))
    assert (await send_form(client, PAGE, f"{PAGE}/beacon", {}, value="")).status_code == 422
    given = await send_form(client, PAGE, f"{PAGE}/beacon", {}, value="4 2 6")
    assert (given.status_code, given.headers["location"]) == (303, f"{PAGE}?changed=1")
    assert await draw_rooms_once(database, settings.gate, partial(fetch_beacon, timeout_s=1)) == 1
    page = await client.get(PAGE)
    assert 'name="value"' not in page.text and "they wait for" not in text_of(page)


async def test_drops_without_a_room_and_no_drops(client: httpx.AsyncClient) -> None:
    await send_form(client, "/admin/drops/new", "/admin/drops/new", {}, **NEW)
    assert (await client.get(PAGE)).headers["location"] == "/admin/drops/lamp-night"
    assert (await client.get("/admin/drops/nothing/room")).status_code == 404
    wrong = await send_form(client, "/admin/drops/new", "/admin/drops/new", {}, **(NEW | {"room": "queue"}))
    assert wrong.status_code == 422
