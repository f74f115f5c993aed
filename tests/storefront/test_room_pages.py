"""The pages of a waiting room and of its draw: what they say, and what they ask of the database."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.gate.rooms import a_room
from tests.statements import statements
from tests.storefront.conftest import (
    Open,
    Reader,
    Sell,
    WaitFor,
    account_of,
    open_drop,
    other,
    reader,
    sell,
    text_of,
)
from tests.storefront.test_kept import answers_of, app
from tests.waiting import eventually
from tidegate.entrypoints.admission import shop_admission
from tidegate.gate import Phase, Place, PlaceState, Room, RoomMode, open_rooms_once
from tidegate.gate.status import status_of
from tidegate.platform.database import Database
from tidegate.platform.ids import DropId, PersonId, PlaceId, RoomId, new_id
from tidegate.platform.settings import Settings
from tidegate.platform.settings_gate import GateSettings
from tidegate.storefront.room_line import ahead_of, minutes_until, part_of, prospect_of, stage_of

__all__ = ["app", "open_drop", "other", "reader", "sell"]


NOW = datetime(2030, 1, 1, tzinfo=UTC)
ROOM = Room(
    id=RoomId(new_id()), drop_id=DropId(new_id()), slug="boots", mode=RoomMode.DRAW, guests=False, phase=Phase.OPEN,
    paused=False, lobby_opens_at=NOW, opens_at=NOW + timedelta(hours=1), size=500, cut=400, serving=101, pace_per_s=0.5,
    stock_left=50, commitment=b"", seed=None, beacon_source="", beacon=None, root=b"", cut_root=b"", drawn_at=NOW,
)  # fmt: skip
PLACE = Place(PlaceId(new_id()), ROOM.id, PersonId(new_id()), 7, 221, PlaceState.WAITING, 1)


def room(**other: Any) -> Room:
    return Room(**{name: getattr(ROOM, name) for name in ROOM.__struct_fields__} | other)


def test_what_somebody_in_line_is_told() -> None:
    assert (ahead_of(ROOM, PLACE), minutes_until(ROOM, 120)) == (120, 4)
    assert prospect_of(ROOM, 120) == "short"
    assert prospect_of(ROOM, 49) == ""
    assert prospect_of(room(stock_left=0), 1) == "held"
    for silent in (room(paused=True), room(stock_left=0), room(pace_per_s=0.0), room(phase=Phase.SOLD_OUT)):
        assert minutes_until(silent, 120) is None
    assert part_of(ROOM, PLACE) == "number"
    assert part_of(room(phase=Phase.SOLD_OUT), PLACE) == "sold_out"
    assert stage_of(room(phase=Phase.SOLD_OUT), PLACE) == "line", "whoever waits keeps their place"
    assert stage_of(room(phase=Phase.SOLD_OUT), None) == "sold_out"
    unnumbered = Place(PLACE.id, ROOM.id, PLACE.buyer_id, 7, None, PlaceState.WAITING, 1)
    assert part_of(room(phase=Phase.LOBBY, cut=None), unnumbered) == "lobby"
    assert part_of(room(drawn_at=None), unnumbered) == "drawing"


@pytest.mark.anyio
async def test_a_crowd_reads_next_to_nothing(
    app: Any, reader: Reader, sell: Sell, open_drop: Open, database: Database
) -> None:
    await open_drop("lamp-night", (await sell("Night Lamp")).upper(), stock=3, in_s=-1)
    customer = await account_of(database)
    async with database.transaction() as conn:
        await a_room(conn, slug="lamp-night", buyers=[PersonId(new_id()), customer.person.id])

    async def shown() -> bool:
        return "Sign in and take a place" in text_of(await reader.get("/drops/lamp-night/room"))

    await eventually(shown, timeout_s=5)

    async def from_memory() -> bool:
        with statements() as seen:
            for address in ("/drops/lamp-night/room", "/drops/lamp-night/draw"):
                await reader.get(address)
        return not by_pages(seen)

    await eventually(from_memory, timeout_s=5)
    reader.client.cookies.set("tidegate_session", customer.token)
    page = await reader.get("/drops/lamp-night/room")
    assert "You are number 2 of 2 ." in text_of(page)
    with statements() as seen:
        await reader.get("/drops/lamp-night/room")
    assert len(by_pages(seen)) == 1, by_pages(seen)
    draw = await reader.get("/drops/lamp-night/draw")
    assert "tgr1." in draw.text
    assert "Order of arrival" in text_of(draw)


@pytest.mark.anyio
async def test_people_are_asked_to_sign_in_when_they_look_at_the_drop(
    app: Any, reader: Reader, sell: Sell, wait_for: WaitFor, database: Database
) -> None:
    await wait_for((await sell("Night Lamp")).upper(), in_s=18_000)
    guest = (await reader.client.post("/api/v1/guests")).json()["token"]
    customer = (await account_of(database)).token

    async def kept() -> bool:
        await reader.get("/drops/lamp-night")
        return len(answers_of(app)) > 0 and "lamp-night" in app.app.state.gate.statuses

    await eventually(kept, timeout_s=5)
    for page in ("/drops/lamp-night", "/drops/lamp-night/room"):
        for token in ("", guest):
            reader.client.cookies.set("tidegate_session", token)
            asked = shown_of(await reader.get(page))
            assert "belongs to an account" in asked, (page, token)
            assert "Sign in now" in asked
            assert f'href="/login?next={page}"' in asked
            assert "You are signed in" not in asked
        reader.client.cookies.set("tidegate_session", customer)
        ready = shown_of(await reader.get(page))
        assert "You are signed in, so you are ready to take a place." in ready, page
        assert "/login" not in ready


@pytest.mark.anyio
async def test_a_copy_from_before_the_sign_in_is_not_good_after_it(
    app: Any, reader: Reader, sell: Sell, wait_for: WaitFor, database: Database
) -> None:
    await wait_for((await sell("Night Lamp")).upper(), in_s=-1)
    first = await reader.get("/drops/lamp-night")
    tag = {"if-none-match": first.headers["etag"]}
    assert (await reader.client.get("/drops/lamp-night", headers=tag)).status_code == 304
    reader.client.cookies.set("tidegate_session", (await account_of(database)).token)
    assert (await reader.client.get("/drops/lamp-night", headers=tag)).status_code == 200


@pytest.mark.anyio
async def test_guests_wait_and_buy_where_the_merchant_lets_them(
    app: Any, reader: Reader, other: Reader, sell: Sell, wait_for: WaitFor, database: Database, settings: Settings
) -> None:
    await wait_for((await sell("Night Lamp")).upper(), in_s=-1, guests=True)
    await open_rooms_once(database)
    page = "/drops/lamp-night/room"

    async def open_to_all() -> bool:
        return "Take a place" in text_of(await reader.get(page))

    await eventually(open_to_all, timeout_s=5)
    assert "Sign in now" not in shown_of(await reader.get("/drops/lamp-night"))
    assert "You need no account here" in text_of(await reader.get(page))
    for each in (reader, other):
        assert (await each.send(page, page)).headers["location"] == page
        assert (await each.send(page, page)).headers["location"] == page, "the same place again"
        assert "Your place is kept in this browser" in text_of(await each.get(page))
    async with database.connection() as conn:
        rows = await conn.execute("SELECT count(*) FROM gate.places")
        assert await rows.fetchone() == (2,)

    async def turn() -> bool:
        await shop_admission(database, settings).once()
        return "It is your turn." in text_of(await reader.get(page))

    await eventually(turn, timeout_s=15)
    held = await reader.send(page, "/holds", sku="NIGHT-LAMP", quantity="1")
    assert held.headers["location"].startswith("/checkout/")


def shown_of(response: httpx.Response) -> str:
    """What of a page's main part is not hidden, with its marks."""
    return re.sub(r"<(\w+) [^>]*\bhidden>.*?</\1>", "", response.text.split("<main", 1)[-1].split("</main>", 1)[0])


def by_pages(seen: list[str]) -> list[str]:
    """What was not asked by what runs in the background, once a second for everybody."""
    return [each for each in seen if "gate.places" in each or ("catalog." in each and "revision" not in each)]


@pytest.mark.anyio
async def test_a_drop_without_a_room_is_led_to(reader: Reader, sell: Sell, open_drop: Open) -> None:
    await open_drop("lamp-night", (await sell("Night Lamp")).upper(), stock=3, in_s=-1)
    for page in ("room", "draw"):
        answer = await reader.client.get(f"/drops/lamp-night/{page}")
        assert (answer.status_code, answer.headers["location"]) == (303, "/drops/lamp-night")
    assert (await reader.get("/drops/nothing/draw")).status_code == 404


def test_the_more_people_wait_the_rarer_each_asks() -> None:
    limits = GateSettings()

    def far_s(phase: Phase, size: int) -> int:
        return status_of(room(phase=phase, size=size), now=ROOM.opens_at, limits=limits).poll.far_s

    sizes = (0, 1_000, 1_001, 30_000, 1_000_000)
    assert [far_s(Phase.LOBBY, size) for size in sizes] == [1, 1, 2, 30, 60]
    assert far_s(Phase.SCHEDULED, 0) == 60, "nobody knows how many look before the lobby opens"

    def near_s(phase: Phase, size: int, **other: Any) -> int:
        return status_of(room(phase=phase, size=size, **other), now=ROOM.opens_at, limits=limits).poll.near_s

    assert [near_s(Phase.LOBBY, size) for size in (0, 5_000, 5_001, 100_000, 1_000_000)] == [1, 1, 2, 20, 60]
    assert near_s(Phase.OPEN, 1_000_000) == 1, "then few are near the front"
    assert near_s(Phase.OPEN, 100_000, drawn_at=None) == 20, "while a value is awaited nobody has a number"
