"""A gate before shops elsewhere, in this process: who is nobody costs the database nothing."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import httpx
import pytest

from tests.gate.conftest import MakeRoom, let_open, room_of
from tests.statements import statements
from tidegate.entrypoints.admission import gate_admission
from tidegate.entrypoints.gate import create_app
from tidegate.gate import (
    Gate,
    GoodsReport,
    Phase,
    add_foreign_room,
    draw_rooms_once,
    fetch_beacon,
    report_goods,
    set_beacon,
)
from tidegate.gate.shop_words import REPORT, ShopKey, make_shop_key
from tidegate.platform.database import Database
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

ROOM = "/drops/boots/room"
GOODS = "/api/v1/drops/boots/goods"
LOADS = 20


async def test_goods_that_are_gone_before_the_draw_do_not_stop_it(
    make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    """Whoever waits was promised a number, and what comes back goes to the next in line."""
    room = await make_room(beacon_source="staff")
    async with database.transaction() as conn:
        key = ShopKey(make_shop_key()).public
        await add_foreign_room(conn, room, title="Boots", shop="https://boots.example", shop_key=key)
    await let_open(database, settings)
    async with database.transaction() as conn:
        await report_goods(conn, room_id=room.id, report=GoodsReport(left=0))
    admission, ask = gate_admission(database, settings), partial(fetch_beacon, timeout_s=1)
    await admission.once()
    assert (await room_of(database)).phase is Phase.OPEN
    async with database.transaction() as conn:
        await set_beacon(conn, slug="boots", value="7 of hearts")
    assert await draw_rooms_once(database, settings.gate, ask) == 1
    await admission.once()
    drawn = await room_of(database)
    assert (drawn.phase, drawn.has_numbers) == (Phase.SOLD_OUT, True)


async def test_strangers_are_answered_without_the_database(
    make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    room, key = await make_room(), ShopKey(make_shop_key())
    async with database.transaction() as conn:
        await add_foreign_room(
            conn, room, title="Boots", shop="https://boots.example", shop_key=key.public, per_buyer=1
        )
    slow = settings.gate.model_copy(update={"status_refresh_ms": 60_000})
    app: Any = create_app(settings.model_copy(update={"gate": slow}))
    transport = httpx.ASGITransport(app=app)
    forged = ShopKey(make_shop_key()).say(REPORT, drop=room.drop_id, now_s=time.time())
    async with (
        app.app.router.lifespan_context(app.app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client,
    ):
        gate: Gate = app.app.state.gate
        assert gate.kept_foreign("boots")[1].title == "Boots"
        with statements() as seen:
            pages = [await client.get(address) for address in ("/", "/drops/boots/draw", *[ROOM] * LOADS)]
            refused = await client.put(GOODS, json={"left": 1}, headers={"authorization": f"Bearer {forged}"})
        assert {page.status_code for page in pages} == {200}
        assert all("Boots" in page.text for page in pages)
        assert refused.status_code in (401, 403)
        assert sum("gate.foreign_rooms" in each for each in seen) < LOADS / 2, "no more than the loops ask once"
