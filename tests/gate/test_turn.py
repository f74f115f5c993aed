"""From the line to the till over HTTP: join, wait, be let in, buy; and what thieves and latecomers get."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.checkout.buying import guest, post, problem, purchase_body
from tests.checkout.conftest import put_on_sale
from tests.gate.rooms import database_url
from tidegate import gate
from tidegate.catalog import Room, close_drop, find_drop
from tidegate.entrypoints.admission import shop_admission
from tidegate.ops import change_drop, replay_drop, start_drop
from tidegate.ops.books import check_books
from tidegate.platform.clock import database_now
from tidegate.platform.database import Database
from tidegate.platform.ids import PersonId, new_id
from tidegate.platform.settings import Settings

__all__ = ["database_url"]

pytestmark = pytest.mark.anyio

PLACES = "/api/v1/drops/lamp-drop/places"


async def open_for_guests(database: Database, settings: Settings, *, stock: int) -> None:
    """A drop with a room, which opens now and takes guests."""
    await put_on_sale(database, "LAMP", stock=0)
    async with database.transaction() as conn:
        await start_drop(
            conn,
            slug="lamp-drop",
            title="",
            sku="LAMP",
            quantity=stock,
            opens_at=await database_now(conn),
            per_buyer=1,
            room=Room.ARRIVAL,
            guests=True,
        )
    assert await gate.open_rooms_once(database) == 1


async def joined(site: httpx.AsyncClient) -> tuple[dict[str, str], dict[str, Any]]:
    who = await guest(site)
    answer = await site.post(PLACES, headers=who)
    assert answer.status_code == 201, answer.text
    return who, answer.json()


async def place(site: httpx.AsyncClient, who: dict[str, str], mine: dict[str, Any]) -> dict[str, Any]:
    answer = await site.get(f"{PLACES}/{mine['id']}", headers=who | {"tidegate-ticket": mine["ticket"]})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_wait_be_let_in_and_buy(site: httpx.AsyncClient, database: Database, settings: Settings) -> None:
    await open_for_guests(database, settings, stock=1)
    app: Any = site._transport.app  # type: ignore[attr-defined]
    await app.app.state.gate.refresh()
    (ada, ada_s), (bob, bob_s) = await joined(site), await joined(site)
    assert (ada_s["number"], bob_s["number"]) == (1, 2)
    assert (await place(site, ada, ada_s))["pass"] is None
    line = shop_admission(database, settings)
    await line.once()
    first, second = await place(site, ada, ada_s), await place(site, bob, bob_s)
    assert (first["state"], second["state"], second["pass"]) == ("admitted", "waiting", None)
    turn = {"tidegate-pass": first["pass"]}
    assert problem(await post(site, "/api/v1/purchases", purchase_body(), ada)) == (409, "pass-required")
    assert problem(await post(site, "/api/v1/purchases", purchase_body(), bob | turn)) == (403, "pass-foreign")
    bought = await post(site, "/api/v1/purchases", purchase_body(), ada | turn)
    assert (bought.status_code, bought.json()["state"]) == (201, "paid")
    await line.once()
    assert (await place(site, ada, ada_s))["state"] == "spent"
    await app.app.state.gate.refresh()
    status = (await site.get("/api/v1/drops/lamp-drop/status")).json()
    assert (status["phase"], status["left"], status["serving"]) == ("sold_out", 0, 2)
    assert problem(await post(site, "/api/v1/holds", {"lines": purchase_body()["lines"]}, ada | turn)) == (
        409,
        "pass-spent",
    )
    assert (await check_books(database, settings)).broken == ()


async def test_where_there_is_a_room_it_says_whether_guests_take_part(
    site: httpx.AsyncClient, database: Database, settings: Settings
) -> None:
    await open_for_guests(database, settings, stock=1)
    async with database.transaction() as conn:
        await conn.execute("UPDATE catalog.drops SET guests = false")  # as drops have it that were made before
    assert (await site.get("/api/v1/drops/lamp-drop")).json()["guests"] is True


async def test_a_room_follows_its_drop(database: Database, settings: Settings) -> None:
    await put_on_sale(database, "LAMP", stock=0)
    async with database.transaction() as conn:
        opens_at = await database_now(conn) + timedelta(hours=5)
        terms: dict[str, Any] = {"slug": "lamp-drop", "title": "Lamps", "quantity": 5, "per_buyer": 1}
        drop = await start_drop(conn, sku="LAMP", opens_at=opens_at, room=Room.DRAW, guests=True, **terms)
        room = await gate.find_room(conn, slug="lamp-drop")
        assert room is not None
        assert (room.drop_id, room.mode, room.opens_at, room.guests) == (drop.id, gate.RoomMode.DRAW, opens_at, True)
        assert room.opens_at - room.lobby_opens_at == timedelta(minutes=settings.gate.lobby_minutes)
        await conn.execute("UPDATE catalog.drops SET guests = false")  # as drops have it that were made before
        later = opens_at + timedelta(hours=1)
        await change_drop(conn, opens_at=later, guests=False, by=PersonId(new_id()), **terms)
        moved = await gate.find_room(conn, slug="lamp-drop")
        assert moved is not None
        assert (moved.id, moved.opens_at, moved.commitment) == (room.id, later, room.commitment)
        await close_drop(conn, slug="lamp-drop")
    await shop_admission(database, settings).once()
    async with database.transaction() as conn:
        closed = await gate.find_room(conn, slug="lamp-drop")
        assert closed is not None
        assert closed.phase is gate.Phase.CLOSED
        await replay_drop(conn, slug="lamp-drop", opens_at=await database_now(conn))
        again = await gate.find_room(conn, slug="lamp-drop")
        reopened = await find_drop(conn, slug="lamp-drop")
        assert again is not None and reopened is not None
        assert again.id != room.id
        assert again.commitment != room.commitment
        assert again.phase is gate.Phase.SCHEDULED
        assert again.guests, "who may wait stays as it was"
        assert reopened.guests, "and the drop says the same"
