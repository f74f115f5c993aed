"""The Python client waits in a real room: from before the lobby to its turn, asking no more than the room wants."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.client.conftest import Site
from tests.gate.conftest import MakeRoom, let_open, room_of
from tidegate import client, gate
from tidegate.client.draw import number_of
from tidegate.gate import PassDesk, RoomMode, close_room
from tidegate.gate.draw import Draw, draw_key
from tidegate.gate.pace import Pace
from tidegate.platform.database import Database
from tidegate.platform.problems import NotSignedIn, Overloaded, Problem, TooManyRequests
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio


async def open_lobby(database: Database, settings: Settings) -> None:
    async with database.transaction() as conn:
        await conn.execute("UPDATE gate.rooms SET lobby_opens_at = clock_timestamp() WHERE phase <> 'closed'")
    await gate.open_rooms_once(database)


async def let_in(database: Database, *, state: str = "admitted") -> None:
    """It is the turn of everybody who waits."""
    async with database.transaction() as conn:
        await conn.execute("UPDATE gate.rooms SET serving = size + 1")
        await conn.execute(
            "UPDATE gate.places SET state = %s, admitted_at = clock_timestamp(),"
            " expires_at = clock_timestamp() + interval '5 minutes'",
            (state,),
        )


async def test_from_before_the_lobby_to_the_turn(
    site: Site, make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    await make_room(opens_in_s=1_200, lobby_in_s=300)
    await site.gate.refresh()
    room = client.WaitingRoom(await site.shop(), "boots")
    site.time.events += [
        partial(open_lobby, database, settings),
        partial(let_open, database, settings),
        partial(let_in, database),
    ]
    turn = await room.wait_for_turn()
    assert [round(each) for each in site.time.slept] == [30, 1, 1], "a tenth of 300 s; then often: nobody else is there"
    assert [asked[:2] for asked in site.asked if asked[1] == "places"] == [
        ("POST", "places"),
        ("GET", "places"),
    ], "joined once; asked for the place at its turn only"
    assert (turn.place.number, turn.place.state) == (1, client.PlaceState.ADMITTED)
    assert timedelta(minutes=4) < turn.ends_at - datetime.now(UTC) <= timedelta(minutes=5)
    desk = PassDesk()
    async with database.connection() as conn:
        await desk.prepare(conn, [turn.admission])
    found = desk.read(turn.admission)
    assert found is not None
    assert (found.drop_id, found.place_id) == ((await room_of(database)).drop_id, turn.place.id)


async def test_a_large_room_is_asked_seldom(
    site: Site, make_room: MakeRoom, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.gate.status.ASKS_PER_S", 0.001)
    await make_room(opens_in_s=300)
    await site.gate.refresh()
    await client.WaitingRoom(await site.shop(), "boots").join()
    await site.gate.refresh()
    room = client.WaitingRoom(await site.shop(), "boots")
    site.time.events += [partial(let_open, database, settings), partial(let_in, database)]
    await room.wait_for_turn()
    assert [round(each) for each in site.time.slept] == [30, 1], "a tenth of 300 s, and 1 s near the front"


async def test_at_the_draw_nobody_asks_for_a_number(
    site: Site, make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    await make_room(opens_in_s=300)
    await site.gate.refresh()
    rooms = [client.WaitingRoom(await site.shop(), "boots") for _ in range(7)]
    for room in rooms:
        await room.join()
    await let_open(database, settings)
    await site.gate.refresh()
    late = client.WaitingRoom(await site.shop(), "boots")
    seen = [(await anext(room.watch()))[1] for room in [*rooms, late]]
    assert ("GET", "places") not in {asked[:2] for asked in site.asked}
    assert seen == [await room.place() for room in [*rooms, late]], "the shop says the same"
    assert {place.number for place in seen if place is not None} == {*range(1, 9)}


@given(seed=st.binary(min_size=32, max_size=32), beacon=st.none() | st.text(), size=st.integers(1, 10**6))
def test_a_number_is_computed_as_the_shop_does_it(seed: bytes, beacon: str | None, size: int) -> None:
    root = sha256(seed).digest()
    drawn = client.Drawn(seed.hex(), root.hex(), beacon, size)
    own = Draw(draw_key(seed, root=root, beacon=beacon), size)
    for index in {0, size // 2, size - 1}:
        assert number_of(drawn, index) == own.number(index)
    assert number_of(drawn, size) == size + 1


async def test_in_order_of_arrival_the_number_comes_with_the_place(
    site: Site, make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    await make_room(mode=RoomMode.ARRIVAL)
    await site.gate.refresh()
    first, second = [client.WaitingRoom(await site.shop(), "boots") for _ in range(2)]
    assert ((await first.join()).number, (await second.join()).number) == (1, 2)
    await let_open(database, settings)
    site.time.events += [partial(let_in, database)]
    await site.gate.refresh()
    assert (await second.wait_for_turn()).place.number == 2
    assert [asked for asked in site.asked if asked[0] == "GET"].count(("GET", "places", 200)) == 1


async def test_a_status_is_used_as_long_as_it_may_be(site: Site, make_room: MakeRoom, database: Database) -> None:
    await make_room()
    await site.gate.refresh()
    room = client.WaitingRoom(await site.shop(), "boots")
    first = await room.status()
    site.time.now_s += 0.9
    assert await room.status() is first
    site.time.now_s += 0.2
    assert await room.status() is first, "nothing has changed"
    assert site.asked == [("GET", "status", 200), ("GET", "status", 304)]
    await close_room_of(database)
    await site.gate.refresh()
    site.time.now_s += 1.0
    assert (await room.status()).phase is client.Phase.CLOSED


async def close_room_of(database: Database) -> None:
    async with database.transaction() as conn:
        await close_room(conn, slug="boots")


async def test_who_asks_too_often_waits_as_long_as_the_shop_says(
    site: Site, make_room: MakeRoom, database: Database
) -> None:
    await make_room()
    await site.gate.refresh()
    site.gate.pace = Pace(per_minute=2)
    room = client.WaitingRoom(await site.shop(), "boots")
    joined = await room.join()
    await room.place()

    async def a_while_later() -> None:
        site.gate.pace = Pace(per_minute=120)

    site.time.events += [a_while_later]
    assert (await room.place()).id == joined.id
    assert site.asked[-2:] == [("GET", "places", 429), ("GET", "places", 200)]
    assert 30 < site.time.slept[0] < 40, "half a minute, and a little by chance"
    site.gate.pace = Pace(per_minute=1)
    hasty = client.WaitingRoom(await site.shop(patience_s=10), "boots")
    await hasty.join()
    with pytest.raises(client.TooManyRequests) as refused:
        await hasty.place()
    assert refused.value.retry_after_s == 60


async def test_a_place_is_kept_by_whoever_lost_their_ticket(site: Site, make_room: MakeRoom) -> None:
    await make_room()
    await site.gate.refresh()
    shop = await site.shop()
    joined = await client.WaitingRoom(shop, "boots").join()
    broken = msgspec.structs.replace(joined, ticket="tgt1.aaaa0000.AAAA.AAAA")
    again = client.WaitingRoom(shop, "boots", joined=broken)
    assert (await again.place()).id == joined.id
    assert again.joined == joined
    await again.leave()
    assert again.joined is None
    assert (await client.WaitingRoom(shop, "boots", joined=joined).place()).state is client.PlaceState.LEFT


async def anew(database: Database, make_room: MakeRoom, **times: float) -> None:
    """The drop is opened anew, in another room."""
    await close_room_of(database)
    await make_room(**times)


async def test_with_a_place_of_an_earlier_room_it_joins_the_one_that_there_is_now(
    site: Site, make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    await make_room()
    await site.gate.refresh()
    people = [await site.shop() for _ in range(3)]
    old = [await client.WaitingRoom(shop, "boots").join() for shop in people]
    await let_open(database, settings)
    await let_in(database, state="spent")
    await anew(database, make_room)
    await site.gate.refresh()
    await client.WaitingRoom(people[2], "boots").join()
    room = client.WaitingRoom(people[0], "boots", joined=old[0])
    asks = room.watch()
    assert (await anext(asks))[1] is None
    assert room.joined is not None and room.joined.id != old[0].id, "joined in the lobby, so it is in the draw"
    site.time.events += [partial(let_open, database, settings), partial(let_in, database)]
    status, place = await anext(asks)
    assert status.draw is not None and status.draw.size == 2
    assert place is not None and place.number == number_of(status.draw, room.joined.index)
    assert (await room.wait_for_turn()).place.id == room.joined.id
    place = await client.WaitingRoom(people[1], "boots", joined=old[1]).place()
    assert (place.number, place.id == old[1].id) == (3, False), "who asks for the place only joins anew as well"


async def test_who_watches_a_drop_that_is_opened_anew_is_in_its_new_room(
    site: Site, make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    await make_room()
    await site.gate.refresh()
    others = [client.WaitingRoom(await site.shop(), "boots") for _ in range(4)]
    for other in others:
        await other.join()
    room = client.WaitingRoom(await site.shop(), "boots")
    await let_open(database, settings)
    await site.gate.refresh()
    asks = room.watch()
    _, place = await anext(asks)
    assert place is not None and place.number == 5
    site.time.events += [
        partial(anew, database, make_room, lobby_in_s=600),
        partial(open_lobby, database, settings),
        partial(let_open, database, settings),
    ]
    seen = [await anext(asks) for _ in range(3)]
    assert [(status.phase, each and each.number) for status, each in seen] == [
        (client.Phase.SCHEDULED, None),
        (client.Phase.LOBBY, None),
        (client.Phase.OPEN, 1),
    ]


async def test_refusals_are_types(site: Site, make_room: MakeRoom, database: Database, settings: Settings) -> None:
    shop = await site.shop()
    with pytest.raises(client.RoomUnknown):
        await client.WaitingRoom(shop, "nothing").status()
    await make_room(lobby_in_s=600)
    await site.gate.refresh()
    room = client.WaitingRoom(shop, "boots")
    with pytest.raises(client.LobbyNotOpen) as closed:
        await room.join()
    assert "opens_at" in closed.value.extra
    with pytest.raises(client.NotSignedIn):
        await client.WaitingRoom(await site.shop(token=None), "boots").join()
    guest = await site.shop(token=None)
    await guest.become_guest()
    await open_lobby(database, settings)
    await site.gate.refresh()
    with pytest.raises(client.AccountNeeded):
        await client.WaitingRoom(guest, "boots").join()
    await room.join()
    with pytest.raises(client.WrongCredentials):
        await guest.sign_in("ada@example.com", "not the password")
    await guest.sign_out()
    assert guest.token is None
    site.time.events += [partial(close_room_of, database)]
    with pytest.raises(client.RoomClosed):
        await room.wait_for_turn()


@pytest.mark.parametrize("state", ["spent", "expired", "left"])
async def test_a_place_that_is_over_ends_the_wait(
    site: Site, make_room: MakeRoom, database: Database, settings: Settings, state: str
) -> None:
    await make_room()
    await site.gate.refresh()
    room = client.WaitingRoom(await site.shop(), "boots")
    await room.join()
    await let_open(database, settings)
    await let_in(database, state=state)
    await site.gate.refresh()
    with pytest.raises(client.PlaceOver, match=state):
        await room.wait_for_turn()


async def test_sold_out_ends_the_wait_unless_one_stays(
    site: Site, make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    await make_room()
    await site.gate.refresh()
    room = client.WaitingRoom(await site.shop(), "boots")
    await room.join()
    await let_open(database, settings)
    async with database.transaction() as conn:
        await conn.execute("UPDATE gate.rooms SET phase = 'sold_out'")
    await site.gate.refresh()
    with pytest.raises(client.RoomSoldOut):
        await room.wait_for_turn()
    site.time.events += [partial(let_in, database)]
    assert (await room.wait_for_turn(stay=True)).place.number == 1


async def test_a_shop_that_is_away_is_waited_for_and_not_for_ever(site: Site, make_room: MakeRoom) -> None:
    await make_room()
    await site.gate.refresh()
    away = client.Shop("http://127.0.0.1:1", pace=site.time.pace, patience_s=10)
    with pytest.raises(client.ShopUnreachable):
        await client.WaitingRoom(away, "boots").status()
    assert site.time.slept == pytest.approx([1.15, 2.3, 4.6]), "doubling, and a little by chance"
    await away.aclose()


def test_kinds_of_refusals_are_those_of_the_shop() -> None:
    named = [getattr(gate, name) for name in gate.__all__]
    of_gate: list[type[Problem]] = [each for each in named if isinstance(each, type) and issubclass(each, Problem)]
    kinds: list[type[Problem]] = [*of_gate, NotSignedIn, TooManyRequests, Overloaded]
    slugs = {each.__name__: (each.slug, each.status) for each in kinds}
    for name in ("RoomUnknown", "RoomClosed", "RoomSoldOut", "LobbyNotOpen", "AccountNeeded", "JoinedTooOften",
                 "TicketNotGood", "PlaceUnknown", "NotSignedIn", "TooManyRequests", "Overloaded"):  # fmt: skip
        slug, status = slugs[name]
        kind = type(client.ShopProblem.of({"type": f"/problems/{slug}"}, status=status, retry_after_s=None))
        assert kind.__name__ == {"Overloaded": "ShopBusy"}.get(name, name)


def test_the_client_imports_nothing_of_the_server() -> None:
    code = (
        "import sys, tidegate.client\n"
        "names = [n for n in sys.modules if n.startswith('tidegate.') and not n.startswith('tidegate.client')]\n"
        "print(names, 'starlette' in sys.modules, 'psycopg' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] False False"
