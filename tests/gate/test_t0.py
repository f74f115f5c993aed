"""T0: one cut and one draw, whatever happens around them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs
from psycopg.errors import CheckViolation

from tests.gate.conftest import MakeRoom, join, let_open, room_of, somebody
from tests.statements import statements
from tests.waiting import eventually
from tidegate.gate import (
    DrawIsOver,
    Gate,
    Phase,
    Room,
    RoomClock,
    RoomExists,
    RoomMode,
    ValueTooEarly,
    close_room,
    draw_answer,
    draw_rooms_once,
    open_gate,
    open_rooms_once,
    pause_room,
    reschedule,
    set_beacon,
)
from tidegate.gate.draw import commitment_of
from tidegate.gate.places import Joined, PlaceQuestion
from tidegate.gate.rooms import lock_room
from tidegate.gate.rules import draw_of
from tidegate.platform.clock import database_now
from tidegate.platform.database import Database
from tidegate.platform.ids import PersonId
from tidegate.platform.problems import InvalidRequest
from tidegate.platform.settings import Settings


async def test_a_room_goes_through_its_phases(
    gate: Gate, make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    room = await make_room(lobby_in_s=60)
    assert room.phase is Phase.SCHEDULED and room.seed is None and len(room.commitment) == 32
    async with database.transaction() as conn:
        await conn.execute("UPDATE gate.rooms SET lobby_opens_at = clock_timestamp()")
    await open_rooms_once(database)
    assert (await room_of(database)).phase is Phase.LOBBY
    await join(gate)
    room = await let_open(database, settings)
    assert room.phase is Phase.OPEN and room.cut == 1 and room.may_admit
    assert room.seed is not None and commitment_of(room.seed) == room.commitment
    async with database.connection() as conn:
        row = await (await conn.execute("SELECT seed_sealed FROM gate.rooms")).fetchone()
    assert row == (None,)


async def test_two_schedulers_at_once_make_one_draw(
    gate: Gate, make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    for slug in ("a", "b", "c"):
        await make_room(slug)
        await join(gate, slug=slug)
    async with database.transaction() as conn:
        await conn.execute("UPDATE gate.rooms SET opens_at = clock_timestamp()")
    opened = await asyncio.gather(*(open_rooms_once(database) for _ in range(6)))
    assert sum(opened) == 3
    before = [await room_of(database, slug) for slug in ("a", "b", "c")]
    assert await open_rooms_once(database) == 0
    assert [await room_of(database, slug) for slug in ("a", "b", "c")] == before


async def test_between_two_times_the_rooms_are_looked_at_once_a_second(
    make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    now = 100.0
    clock = RoomClock(database, monotonic=lambda: now)
    await make_room(opens_in_s=30)
    with statements() as seen:
        assert await clock.once() == 0
        asked = len(seen)
        for later in (100.1, 100.5, 100.9):
            now = later
            assert await clock.once() == 0
        assert len(seen) == asked > 0
        now = 101.1
        assert await clock.once() == 0
        assert len(seen) == 2 * asked
    await make_room("soon", opens_in_s=0.9)
    now = 102.2
    opened = await clock.once()  # none, but on a machine that is slow to get here
    async with database.connection() as conn:
        await conn.execute("SELECT pg_sleep(0.9)")
    now = 103.15
    assert opened + await clock.once() == 1
    assert (await room_of(database, "soon")).phase is Phase.OPEN
    assert (await room_of(database, "boots")).phase is Phase.LOBBY


async def test_who_got_the_lock_before_the_cut_is_in_the_draw(
    gate: Gate, make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    """The order of the lock decides, not a clock: T0 is long past when this join comes, and it is in all the same."""
    await make_room()
    on_time = await join(gate)
    async with database.transaction() as conn:
        await conn.execute(
            "UPDATE gate.rooms SET opens_at = clock_timestamp() - interval '1 hour', lobby_opens_at = "
            "clock_timestamp() - interval '2 hours'"
        )
    by_lock = await join(gate)
    await open_rooms_once(database)
    late = await join(gate)
    room = await room_of(database)
    assert room.cut == 2 and {on_time.place.index, by_lock.place.index} == {0, 1}
    assert late.place.number == 3


async def test_joins_around_t0_are_either_in_the_draw_or_behind_it(
    gate: Gate, make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    """Joins that wait for the lock together with T0, from two processes: each gets one number, and none is lost."""
    await make_room()
    people = [somebody() for _ in range(300)]
    async with open_gate(database, settings) as other, database.transaction() as conn:
        await lock_room(conn, slug="boots")
        await conn.execute("UPDATE gate.rooms SET opens_at = clock_timestamp()")
        waiting = [asyncio.create_task(join((gate, other)[turn % 2], who)) for turn, who in enumerate(people[:150])]
        opening = asyncio.create_task(open_rooms_once(database))
        waiting += [asyncio.create_task(join((gate, other)[turn % 2], who)) for turn, who in enumerate(people[150:])]

        async def somebody_waits_for_the_lock() -> bool:
            async with database.connection() as looking:
                row = await (
                    await looking.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
                ).fetchone()
            return row is not None and row[0] >= 2

        await eventually(somebody_waits_for_the_lock)
        await conn.execute("COMMIT")
        await conn.execute("BEGIN")
        await asyncio.gather(*waiting, opening)
    while (await room_of(database)).cut is None:  # the round found the room's time not come yet
        await open_rooms_once(database)
    room = await room_of(database)
    found = await asyncio.gather(*(gate.find(PlaceQuestion(room.id, who)) for who in people))
    numbers = [each.place.number for each in found if each]
    assert sorted(number or 0 for number in numbers) == list(range(1, 301))
    for each in found:
        assert each is not None and room.cut is not None and each.place.number is not None
        assert (each.place.index < room.cut) == (each.place.number <= room.cut)


@pytest.mark.parametrize("mode", [RoomMode.DRAW, RoomMode.ARRIVAL])
async def test_a_millisecond_before_t0_and_after_it(
    gate: Gate, make_room: MakeRoom, database: Database, settings: Settings, mode: RoomMode
) -> None:
    """Whatever the clocks say: who is in the cut is drawn, the others stand behind it as they came, each once."""
    opens_at = (await make_room(mode=mode, opens_in_s=0.7)).opens_at
    offsets_ms = [-300, *(step / 5 for step in range(-10, 11)), -1, -1, -1, 1, 1, 1, 300]
    people = [(offset_ms, somebody()) for offset_ms in offsets_ms for _ in range(3)]

    async def come(turn: int, offset_ms: float, who: PersonId) -> Joined:
        await asyncio.sleep((opens_at - datetime.now(UTC)).total_seconds() + offset_ms / 1000)
        return await join((gate, other)[turn % 2], who)

    async def keep_looking() -> None:
        while (await room_of(database)).cut is None:
            await open_rooms_once(database)

    async with open_gate(database, settings) as other:
        coming = [come(turn, *each) for turn, each in enumerate(people)]
        *joined, _, _ = await asyncio.gather(*coming, keep_looking(), keep_looking())
        room, draw = await room_of(database), draw_of(await room_of(database))
        assert room.cut is not None and room.size == len(people)
        numbers = []
        for (_, who), first in zip(people, joined, strict=True):
            assert isinstance(first, Joined)
            found = await other.find(PlaceQuestion(room.id, who))
            assert found is not None
            again = await join(gate, who)
            for each in (found, again):
                assert (each.place.id, each.place.index) == (first.place.id, first.place.index), "kept, and not doubled"
            index, number = found.place.index, found.place.number
            assert number == (draw.number(index) if draw is not None and index < room.cut else index + 1)
            assert (number <= room.cut) == (index < room.cut)
            assert first.place.number in (None, number), "a number that was told stays"
            numbers.append(number)
    assert sorted(numbers) == list(range(1, len(people) + 1))
    assert (await room_of(database)).size == len(people)


async def test_a_pause_stops_admission_and_neither_joins_nor_the_draw(
    gate: Gate, make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    await make_room()
    async with database.transaction() as conn:
        assert (await pause_room(conn, slug="boots", paused=True)).paused
    await join(gate)
    room = await let_open(database, settings)
    assert room.has_numbers and not room.may_admit
    async with database.transaction() as conn:
        assert (await pause_room(conn, slug="boots", paused=False)).may_admit


async def test_times_move_until_the_room_opens(make_room: MakeRoom, database: Database, settings: Settings) -> None:
    room = await make_room(lobby_in_s=60)
    later = room.opens_at + timedelta(hours=1)
    async with database.transaction() as conn:
        moved = await reschedule(conn, slug="boots", opens_at=later)
    assert moved.opens_at == later and moved.lobby_opens_at == room.lobby_opens_at + timedelta(hours=1)
    await let_open(database, settings)
    async with database.transaction() as conn:
        with pytest.raises(DrawIsOver):
            await reschedule(conn, slug="boots", opens_at=later)


@pytest.mark.parametrize("beacon_source", ["", "staff"])
async def test_moved_to_now_it_opens_at_once(
    make_room: MakeRoom, gate: Gate, database: Database, settings: Settings, beacon_source: str
) -> None:
    await make_room(beacon_source=beacon_source)
    await join(gate)
    async with database.transaction() as conn:
        moved = await reschedule(conn, slug="boots", opens_at=await database_now(conn))
    assert (moved.phase, moved.cut) == (Phase.OPEN, 1)
    assert (moved.drawn_at is None) == bool(beacon_source), "a draw waits for its beacon"
    assert await open_rooms_once(database) == 0


async def test_a_drop_has_one_live_room(make_room: MakeRoom, database: Database) -> None:
    first = await make_room()
    with pytest.raises(RoomExists):
        await make_room()
    async with database.transaction() as conn:
        await close_room(conn, slug="boots")
    assert (await make_room()).commitment != first.commitment


async def test_a_room_without_people_is_drawn_too(make_room: MakeRoom, database: Database, settings: Settings) -> None:
    await make_room()
    await make_room("arrivals", mode=RoomMode.ARRIVAL)
    room = await let_open(database, settings)
    assert room.cut == 0 and room.drawn_at is not None
    assert (await let_open(database, settings, "arrivals")).may_admit


async def test_a_room_that_cannot_be_drawn_stops_no_other(
    make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    await make_room("broken")
    await make_room("sound")
    async with database.transaction() as conn:
        await conn.execute("UPDATE gate.rooms SET seed_sealed = 'x' WHERE slug = 'broken'")
        await conn.execute("UPDATE gate.rooms SET opens_at = clock_timestamp()")
    assert await open_rooms_once(database) == 1
    assert (await room_of(database, "sound")).drawn_at is not None
    assert (await room_of(database, "broken")).phase is Phase.LOBBY


URL = "https://beacon.example/latest"


class Beacon:
    """An address whose values come one by one; None: it is away."""

    def __init__(self, *values: str | None) -> None:
        self.values = list(values)

    async def __call__(self, url: str) -> str | None:
        assert url == URL
        return self.values.pop(0) if len(self.values) > 1 else self.values[0]


async def unasked(url: str) -> str | None:
    raise AssertionError(f"nothing is asked for a value that staff type in, but {url} was")


async def let_pass(database: Database, seconds: float, column: str) -> None:
    """As if what is noted in a column of the rooms had been so much earlier."""
    async with database.transaction() as conn:
        await conn.execute(f"UPDATE gate.rooms SET {column} = {column} - make_interval(secs => {seconds})".encode())


async def opened(make_room: MakeRoom, database: Database, settings: Settings, *, source: str) -> Room:
    await make_room(beacon_source=source)
    return await let_open(database, settings)


async def test_the_first_value_after_the_cut_goes_into_the_draw(
    gate: Gate, make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    room = await opened(make_room, database, settings, source=URL)
    assert room.phase is Phase.OPEN and room.cut == 0 and room.drawn_at is None and not room.may_admit
    assert (await join(gate)).place.number is None, "numbers come with the draw"
    beacon = Beacon("round 1", None, "round 1", "round 2", "round 3")
    drawn = [await draw_rooms_once(database, settings.gate, beacon) for _ in range(5)]
    assert drawn == [0, 0, 0, 1, 0]
    room = await room_of(database)
    assert room.beacon == "round 2"
    assert room.cut_at and room.beacon_at and room.drawn_at and room.cut_at < room.beacon_at < room.drawn_at
    told = draw_answer(room)
    assert (told.cut_at, told.beacon_at) == (room.cut_at.isoformat(), room.beacon_at.isoformat())
    assert (await join(gate)).place.number == 2


async def test_two_schedulers_with_different_values_make_one_draw(
    make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    await opened(make_room, database, settings, source=URL)
    beacons = [Beacon("1", value) for value in ("2", "3")]
    for beacon in beacons:
        await draw_rooms_once(database, settings.gate, beacon)
    drawn = await asyncio.gather(*(draw_rooms_once(database, settings.gate, beacon) for beacon in beacons))
    assert sorted(drawn) == [0, 1]
    assert (await room_of(database)).beacon in ("2", "3")


async def test_a_silent_beacon_delays_a_draw_for_a_while_only(
    make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    await opened(make_room, database, settings, source=URL)
    assert await draw_rooms_once(database, settings.gate, Beacon(None)) == 0
    await let_pass(database, settings.gate.beacon_wait_s, "beacon_since")
    assert await draw_rooms_once(database, settings.gate, Beacon(None)) == 1
    assert (await room_of(database)).beacon is None


async def test_a_scheduler_that_was_away_at_t0_waits_for_the_beacon_all_the_same(
    make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    """The wait begins when the source is asked, not at the cut; what another process was shown is known to this one."""
    await opened(make_room, database, settings, source=URL)
    await let_pass(database, 86_400, "cut_at")
    assert await draw_rooms_once(database, settings.gate, Beacon("round 7")) == 0
    await let_pass(database, 86_400, "beacon_since")
    assert await draw_rooms_once(database, settings.gate, Beacon("round 8")) == 1, "started anew, long after"
    assert (await room_of(database)).beacon == "round 8"


async def test_a_beacon_that_answers_late_is_awaited_from_then_on(
    make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    await opened(make_room, database, settings, source=URL)
    assert await draw_rooms_once(database, settings.gate, Beacon(None)) == 0
    await let_pass(database, 86_400, "beacon_since")
    assert await draw_rooms_once(database, settings.gate, Beacon("round 1")) == 0
    await let_pass(database, settings.gate.beacon_wait_s, "beacon_since")
    assert await draw_rooms_once(database, settings.gate, Beacon("round 1")) == 1, "and not for ever"
    assert (await room_of(database)).beacon is None


async def test_staff_type_in_one_value_and_never_a_second(
    make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    assert (await opened(make_room, database, settings, source="staff")).awaits_value
    assert await draw_rooms_once(database, settings.gate, unasked) == 0
    async with database.transaction() as conn:
        with pytest.raises(InvalidRequest):
            await set_beacon(conn, slug="boots", value="two\nlines")
        assert (await set_beacon(conn, slug="boots", value=" 4 8 15 ")).beacon == "4 8 15"
        with pytest.raises(DrawIsOver, match="one only"):
            await set_beacon(conn, slug="boots", value="16")
    assert await draw_rooms_once(database, settings.gate, unasked) == 1
    drawn = await room_of(database)
    assert (drawn.beacon, drawn.awaits_value, draw_answer(drawn).assurance) == ("4 8 15", False, "verifiable")


async def test_nobody_can_know_the_value_while_people_join(
    make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    """Whoever knows the seed and the value could add places until the order suits them."""
    await make_room(beacon_source="staff")
    async with database.transaction() as conn:
        with pytest.raises(ValueTooEarly, match="right after the room has opened"):
            await set_beacon(conn, slug="boots", value="4 8 15")
    assert (await room_of(database)).beacon is None
    async with database.connection() as conn:
        with pytest.raises(CheckViolation, match="room_beacon_after_cut"):
            await conn.execute("UPDATE gate.rooms SET beacon = '4 8 15', beacon_at = clock_timestamp()")
    await let_open(database, settings)
    async with database.transaction() as conn:
        assert (await set_beacon(conn, slug="boots", value="4 8 15")).beacon == "4 8 15"


async def test_the_staffs_value_is_awaited_for_a_while_of_its_own(
    make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    await opened(make_room, database, settings, source="staff")
    await let_pass(database, settings.gate.beacon_staff_wait_s - 10, "cut_at")
    assert await draw_rooms_once(database, settings.gate, unasked) == 0
    await let_pass(database, 10, "cut_at")
    assert await draw_rooms_once(database, settings.gate, unasked) == 1
    assert draw_answer(await room_of(database)).assurance == "reproducible"
    async with database.transaction() as conn:
        with pytest.raises(DrawIsOver, match="too late"):
            await set_beacon(conn, slug="boots", value="4 8 15")


async def test_a_value_that_was_kept_before_the_cut_is_not_called_verifiable(
    make_room: MakeRoom, database: Database, settings: Settings
) -> None:
    """As rooms of earlier versions have it."""
    room = await opened(make_room, database, settings, source="staff")
    assert room.cut_at is not None
    early = structs.replace(
        room, beacon="4 8 15", beacon_at=room.cut_at - timedelta(seconds=1), seed=b"s" * 32, drawn_at=room.cut_at
    )
    assert draw_answer(early).assurance == "reproducible"


async def test_a_room_that_promised_no_value_takes_none(make_room: MakeRoom, database: Database) -> None:
    await make_room()
    async with database.transaction() as conn:
        with pytest.raises(InvalidRequest):
            await set_beacon(conn, slug="boots", value="1")
