"""Joining, leaving and coming back, on a real database with joins at the same time."""

from __future__ import annotations

import asyncio

import pytest
import redis

from tests.gate.conftest import MakeRoom, join, let_open, room_of, somebody
from tidegate.gate import (
    AccountNeeded,
    Gate,
    JoinedTooOften,
    LobbyNotOpen,
    Phase,
    PlaceState,
    RoomClosed,
    RoomMode,
    RoomSoldOut,
    close_room,
    leave_all_rooms,
    open_gate,
    take_over_places,
)
from tidegate.gate.entries import read_entries
from tidegate.gate.log import Log
from tidegate.gate.places import Joined, PlaceQuestion, leave
from tidegate.gate.rooms import open_room
from tidegate.gate.rules import draw_of, index_of
from tidegate.gate.tickets import claim_of, entry_of, ticket_of
from tidegate.platform.database import Connection, Database
from tidegate.platform.ids import PersonId, RoomId
from tidegate.platform.settings import Settings


async def root_from_rows(database: Database, slug: str = "boots") -> bytes:
    """The root of all entries as they are in the tables."""
    room = await room_of(database, slug)
    async with database.connection() as conn:
        entries = await read_entries(conn, room_id=room.id, start=0, end=room.size)
    return Log().extended(entries).root


async def go(gate: Gate, buyer_id: PersonId, slug: str = "boots") -> PlaceState:
    place = (await join(gate, buyer_id, slug)).place
    async with gate.database.transaction() as conn:
        return await leave(conn, place_id=place.id, buyer_id=buyer_id)


async def test_joins_get_consecutive_indices_and_the_root_of_all_of_them(
    gate: Gate, make_room: MakeRoom, database: Database
) -> None:
    await make_room()
    joined = await asyncio.gather(*(join(gate) for _ in range(700)))
    assert sorted(each.place.index for each in joined) == list(range(700))
    assert all(each.place.number is None for each in joined)
    room = await room_of(database)
    assert room.size == 700
    assert room.root == await root_from_rows(database)
    for each in joined:
        assert each.receipt.index == each.place.index
        assert each.receipt.entry == entry_of(each.place.id, 1)
        assert each.place.index < each.receipt.size
    assert {each.receipt.root for each in joined if each.receipt.size == 700} == {room.root}


async def test_one_person_joining_ten_thousand_times_has_one_place(
    gate: Gate, make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    await make_room()
    me = somebody()
    mine: list[Joined] = []
    async with open_gate(database, settings) as second:  # another process
        for _ in range(5):  # what a slow machine cannot do within a batch's deadline is refused
            mine += await asyncio.gather(*(join((gate, second)[turn % 2], me) for turn in range(2_000)))
    other = await join(gate, somebody())
    assert len({each.place.id for each in mine}) == 1
    assert {each.place.index for each in (*mine, other)} == {0, 1}
    assert (await room_of(database)).size == 2


async def test_who_leaves_the_lobby_and_comes_back_has_the_same_entry(
    gate: Gate, make_room: MakeRoom, database: Database
) -> None:
    await make_room()
    me = somebody()
    first = await join(gate, me)
    await join(gate)
    assert await go(gate, me) is PlaceState.LEFT
    back = await join(gate, me)
    assert (back.place.id, back.place.index, back.place.state) == (first.place.id, first.place.index, "waiting")
    assert (await room_of(database)).size == 2


async def test_who_leaves_an_open_room_comes_back_at_the_end(
    gate: Gate, make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    await make_room()
    me = somebody()
    first = await join(gate, me)
    await asyncio.gather(*(join(gate) for _ in range(4)))
    opened = await let_open(database, settings)
    assert await go(gate, me) is PlaceState.LEFT
    late = await join(gate)
    back = await join(gate, me)
    assert (late.place.number, back.place.number) == (6, 7)
    assert back.place.id == first.place.id
    assert back.receipt.entry != first.receipt.entry
    room = await room_of(database)
    assert (room.size, room.cut, room.cut_root) == (7, 5, opened.cut_root)
    assert room.root == await root_from_rows(database), "the log keeps the entry that was given up"


async def test_in_order_of_arrival_leaving_costs_the_place_also_in_the_lobby(gate: Gate, make_room: MakeRoom) -> None:
    await make_room(mode=RoomMode.ARRIVAL)
    me = somebody()
    assert (await join(gate, me)).place.number == 1
    assert (await join(gate)).place.number == 2
    await go(gate, me)
    assert (await join(gate, me)).place.number == 3


async def test_nobody_comes_back_without_end(gate: Gate, make_room: MakeRoom, settings: Settings) -> None:
    await make_room(mode=RoomMode.ARRIVAL)
    me = somebody()
    for _ in range(settings.gate.max_joins):
        await go(gate, me)
    with pytest.raises(JoinedTooOften):
        await join(gate, me)


async def test_who_cannot_join_is_told_why(
    gate: Gate, make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    await make_room("early", lobby_in_s=60)
    with pytest.raises(LobbyNotOpen):
        await join(gate, slug="early")
    await make_room()
    with pytest.raises(AccountNeeded):
        await join(gate, guest=True)
    me = somebody()
    await join(gate, me)
    await let_open(database, settings)
    async with database.transaction() as conn:
        await conn.execute("UPDATE gate.rooms SET phase = 'sold_out' WHERE slug = 'boots'")
    with pytest.raises(RoomSoldOut):
        await join(gate)
    assert (await join(gate, me)).place.number == 1, "who has a place keeps it: stock may come back"
    async with database.transaction() as conn:
        await close_room(conn, slug="boots")
        await close_room(conn, slug="boots")
    assert (await room_of(database)).phase is Phase.CLOSED
    with pytest.raises(RoomClosed):
        await join(gate)


async def test_guests_join_where_the_merchant_lets_them(gate: Gate, make_room: MakeRoom) -> None:
    await make_room(guests=True)
    assert (await join(gate, guest=True)).place.index == 0


async def test_rooms_in_one_batch_are_kept_apart(gate: Gate, make_room: MakeRoom, database: Database) -> None:
    await make_room("a")
    await make_room("b")
    me = somebody()
    joined = await asyncio.gather(*(join(gate, me if turn < 2 else None, "ab"[turn % 2]) for turn in range(60)))
    for slug in "ab":
        mine = [each.place for each in joined if each.room.slug == slug]
        assert sorted(place.index for place in mine) == list(range(30))
        assert (await room_of(database, slug)).root == await root_from_rows(database, slug)


async def test_a_place_is_found_with_its_number_and_the_number_leads_back(
    gate: Gate, make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    await make_room()
    people = [somebody() for _ in range(40)]
    await asyncio.gather(*(join(gate, person) for person in people))
    room = await let_open(database, settings)
    found = await asyncio.gather(*(gate.find(PlaceQuestion(room.id, person)) for person in people))
    numbers = sorted(each.place.number or 0 for each in found if each)
    assert numbers == list(range(1, 41))
    for each in found:
        assert each is not None and each.place.number is not None
        assert index_of(room, each.place.number, draw=draw_of(room)) == each.place.index
    assert await gate.find(PlaceQuestion(room.id, somebody())) is None


async def test_a_guest_who_signs_in_keeps_the_place(gate: Gate, make_room: MakeRoom, database: Database) -> None:
    room = await make_room(guests=True)
    guest, person, settled = somebody(), somebody(), somebody()
    place = (await join(gate, guest, guest=True)).place
    own = (await join(gate, settled)).place
    async with database.transaction() as conn:
        await take_over_places(conn, guest, settled)
    assert (await join(gate, settled)).place.id == own.id, "who has a place keeps that one"
    async with database.transaction() as conn:
        await take_over_places(conn, guest, person)
    assert (await join(gate, person)).place.id == place.id
    assert await gate.find(PlaceQuestion(room.id, guest)) is None
    async with database.transaction() as conn:
        await leave_all_rooms(conn, person)
    found = await gate.find(PlaceQuestion(room.id, person))
    assert found is not None and found.place.state is PlaceState.LEFT


async def open_and_die(conn: Connection, room_id: RoomId) -> None:
    """T0 in a process that ends before its commit."""
    async with conn.transaction():
        await conn.execute("UPDATE gate.rooms SET opens_at = clock_timestamp()")
        assert await open_room(conn, room_id=room_id)
        raise ConnectionError


async def test_a_restart_keeps_places_numbers_and_tickets(
    make_room: MakeRoom, database: Database, settings: Settings, valkey_url: str
) -> None:
    """Every process ends in the middle, one of them in its draw, and Valkey forgets everything."""
    await make_room()
    people = [somebody() for _ in range(20)]
    async with open_gate(database, settings) as before:
        places = [(await join(before, who)).place for who in people]
        tickets = [ticket_of(before.ring, place) for place in places]
    room = await room_of(database)
    async with database.connection() as conn:
        with pytest.raises(ConnectionError):
            await open_and_die(conn, room.id)
    assert (await room_of(database)).drawn_at is None
    with redis.Redis.from_url(valkey_url) as valkey:
        valkey.flushall()
    drawn = await let_open(database, settings)
    async with open_gate(database, settings) as after:
        found = [(await join(after, who)).place for who in people]
        for place, ticket in zip(places, tickets, strict=True):
            assert claim_of(after.ring, ticket, place_id=place.id) == (room.id, place.buyer_id)
    assert [place.id for place in found] == [place.id for place in places]
    draw = draw_of(drawn)
    assert draw is not None
    assert [place.number for place in found] == [draw.number(place.index) for place in places]
    assert (await let_open(database, settings)).drawn_at == drawn.drawn_at
