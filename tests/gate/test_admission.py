"""The line of a room moves: exactly the next ones enter, no one blocks it, and one room's trouble is its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.checkout.conftest import put_on_sale
from tests.gate.rooms import a_key, a_pass, a_room, database_url
from tests.waiting import eventually
from tidegate.checkout import FreshHold, HoldWish, Line, Shop, expire_holds_once, open_shop, settle_hold
from tidegate.entrypoints.admission import shop_admission
from tidegate.gate.contracts import Room
from tidegate.gate.rooms import find_room
from tidegate.gate.rules import draw_of, number_of
from tidegate.ops.books import check_books
from tidegate.payments import make_providers
from tidegate.platform.database import Database
from tidegate.platform.ids import DropId, PersonId, PlaceId, RoomId, new_id
from tidegate.platform.settings import Settings

__all__ = ["database_url"]

pytestmark = pytest.mark.anyio


class Queue:
    """People who wait in one room, and what tests do with them."""

    def __init__(self, database: Database, settings: Settings, shop: Shop, sku: str) -> None:
        self.database, self.shop, self.sku, self.slug = database, shop, sku, f"{sku.lower()}-drop"
        self.loop = shop_admission(database, settings)
        self.people: list[PersonId] = []
        self.places: list[PlaceId] = []
        self.room_id: RoomId
        self.drop_id: DropId

    async def begin(self, *, people: int, mode: str = "arrival", **terms: Any) -> Queue:
        await put_on_sale(self.database, self.sku, **({"drop_in_s": -5} | terms))
        self.people = [PersonId(new_id()) for _ in range(people)]
        async with self.database.transaction() as conn:
            self.room_id, self.drop_id, self.places = await a_room(conn, slug=self.slug, buyers=self.people, mode=mode)
        return self

    async def tick(self, times: int = 1) -> None:
        for _ in range(times):
            await self.loop.once()

    async def room(self) -> Room:
        async with self.database.connection() as conn:
            found = await find_room(conn, slug=self.slug)
        assert found is not None
        return found

    async def states(self) -> str:
        """How each stands, in the order of the line: w, a, s, e or l."""
        room, draw = await self.room(), draw_of(await self.room())
        async with self.database.connection() as conn:
            rows = await conn.execute("SELECT index, state FROM gate.places WHERE room_id = %s", (self.room_id,))
            found = {number_of(room, index, draw=draw): state for index, state in await rows.fetchall()}
        return "".join(found[number][0] for number in range(1, room.size + 1))

    async def change(self, what: str, *arguments: object) -> None:
        async with self.database.transaction() as conn:
            await conn.execute(what, arguments)

    async def let_lapse(self, *who: int) -> None:
        """Let the time of these people's passes be over."""
        await self.change(
            "UPDATE gate.places SET expires_at = clock_timestamp() - interval '1 minute' WHERE id = ANY(%s)",
            [self.places[each] for each in who],
        )

    async def buy(self, who: int) -> FreshHold:
        wish = HoldWish(
            self.people[who],
            (Line(self.sku, 1),),
            admission=a_pass(self.drop_id, self.places[who], self.people[who]),
        )
        placed, _ = await settle_hold(self.shop, wish)
        assert isinstance(placed, FreshHold)
        return placed

    async def all_paid(self) -> None:
        """Let everything that is held count as sold."""
        await self.change("UPDATE inventory.stock SET sold = sold + held, held = 0")


@pytest.fixture
async def shop(database: Database, settings: Settings) -> AsyncIterator[Shop]:
    demo = settings.model_copy(update={"demo": True})
    async with database.transaction() as conn:
        await a_key(conn)
    async with open_shop(database, demo, make_providers(database, demo)) as shop:
        yield shop


@pytest.fixture
def line(database: Database, settings: Settings, shop: Shop) -> Queue:
    return Queue(database, settings, shop, "LAMP")


async def test_as_many_enter_as_there_is_something_for_and_then_exactly_the_next(
    line: Queue, settings: Settings
) -> None:
    await line.begin(people=8, stock=3)
    await line.tick(3)
    assert await line.states() == "aaawwwww"
    room = await line.room()
    assert (room.serving, room.stock_left) == (4, 3)
    assert room.pace_per_s > 0
    await line.buy(0)
    await line.tick(2)
    assert await line.states() == "saawwwww", "what is held is not free"
    await line.let_lapse(2)
    await line.tick(2)
    assert await line.states() == "saeawwww", "a no-show makes room for exactly one"
    await line.change("UPDATE inventory.holds SET expires_at = clock_timestamp()")
    assert await expire_holds_once(line.shop) == 1
    await line.tick(2)
    assert await line.states() == "saeaawww", "what came back is the next one's"
    await line.buy(1)
    await line.buy(3)
    await line.buy(4)
    await line.tick(2)
    assert await line.states() == "ssesswww"
    assert (await check_books(line.database, settings)).broken == ()


async def test_sold_out_is_said_in_the_next_round_and_taken_back_when_something_comes_back(line: Queue) -> None:
    await line.begin(people=4, stock=1)
    await line.tick()
    await line.buy(0)
    await line.tick()
    assert (await line.room()).phase == "open", "what is held may come back"
    await line.all_paid()
    await line.tick()
    assert ((await line.room()).phase, (await line.room()).stock_left) == ("sold_out", 0)
    await line.change("UPDATE inventory.stock SET on_hand = on_hand + 1")
    await line.tick(10)
    assert ((await line.room()).phase, await line.states()) == ("open", "saww")


async def test_a_line_of_people_who_never_come_moves_on_to_its_end(line: Queue) -> None:
    await line.begin(people=40, stock=2)
    for _ in range(40):
        await line.tick()
        await line.let_lapse(*range(40))
    assert await line.states() == "e" * 40
    await line.tick()
    assert (await line.room()).serving == 41


async def test_two_schedulers_at_once_let_in_no_more_than_one(line: Queue, settings: Settings) -> None:
    await line.begin(people=60, stock=25)
    others = [shop_admission(line.database, settings) for _ in range(4)]
    for _ in range(5):
        await asyncio.gather(*(each.once() for each in others))
    assert await line.states() == "a" * 25 + "w" * 35


async def test_people_who_left_are_passed_over(line: Queue) -> None:
    await line.begin(people=2_000, stock=2)
    await line.change("UPDATE gate.places SET state = 'left' WHERE index > 0 AND index < 1998")
    await line.tick(2)
    assert (await line.states()).count("a") == 2
    assert (await line.room()).serving == 2_000


async def test_a_drawn_room_goes_by_the_numbers_of_the_draw(line: Queue) -> None:
    await line.begin(people=50, stock=20, mode="draw")
    await line.tick(2)
    assert await line.states() == "a" * 20 + "w" * 30
    async with line.database.connection() as conn:
        rows = await conn.execute("SELECT index FROM gate.places WHERE state = 'admitted'")
        indices = {row[0] for row in await rows.fetchall()}
    assert indices != set(range(20))


async def test_a_room_that_is_not_drawn_lets_nobody_in(line: Queue) -> None:
    await line.begin(people=5, stock=5, mode="draw")
    await line.change("UPDATE gate.rooms SET drawn_at = NULL")
    await line.tick(2)
    assert (await line.room()).serving == 1


async def test_staff_pause_go_on_and_limit_the_speed(line: Queue) -> None:
    await line.begin(people=300, stock=300)
    await line.change("UPDATE gate.rooms SET paused = true")
    await line.tick(3)
    assert "a" not in await line.states()
    await line.change("UPDATE gate.admissions SET speed_limit_per_min = 60")
    await line.change("UPDATE gate.rooms SET paused = false")
    started = time.monotonic()

    async def two_entered() -> bool:
        await line.tick()
        return (await line.states()).count("a") >= 2

    await eventually(two_entered, timeout_s=20)
    assert time.monotonic() - started >= 1.0, "one a second"


async def test_whoever_spent_a_pass_that_had_just_ended_counts_as_a_buyer(line: Queue) -> None:
    await line.begin(people=3, stock=1)
    await line.tick()
    await line.buy(0)
    await line.let_lapse(0)
    await line.tick()
    assert await line.states() == "sww"


async def test_one_broken_room_stops_no_other_and_mends_itself(
    line: Queue, database: Database, settings: Settings, shop: Shop
) -> None:
    await line.begin(people=5, stock=2)
    other = await Queue(database, settings, shop, "VASE").begin(people=5, stock=2)
    await line.change("INSERT INTO gate.admissions (room_id, memory) VALUES (%s, '{}')", line.room_id)
    await line.tick(2)
    assert (await line.states(), await other.states()) == ("wwwww", "aawww")
    async with database.transaction() as conn:
        await conn.execute("SELECT 1 FROM gate.rooms WHERE id = %s FOR UPDATE", (other.room_id,))
        hurried = settings.model_copy(
            update={"admission": settings.admission.model_copy(update={"round_timeout_s": 1})}
        )
        await line.change("UPDATE gate.admissions SET memory = NULL WHERE room_id = %s", line.room_id)
        await shop_admission(database, hurried).once()
    assert await line.states() == "aawww", "a room that somebody has locked holds up no other"
    await other.let_lapse(0)
    await other.tick(2)
    assert await other.states() == "eaaww"


async def test_a_room_before_what_this_shop_does_not_sell_goes_at_the_pace_that_staff_set(line: Queue) -> None:
    await line.begin(people=20, stock=1)
    await line.change("UPDATE gate.rooms SET slug = 'elsewhere', drop_id = gen_random_uuid()")
    line.slug = "elsewhere"
    await line.change("INSERT INTO gate.admissions (room_id, speed_limit_per_min) VALUES (%s, 300)", line.room_id)
    await line.tick()
    assert await line.states() == "a" * 5 + "w" * 15


async def test_a_closed_drop_closes_its_room(line: Queue) -> None:
    await line.begin(people=3, stock=3)
    await line.tick()
    await line.change("UPDATE catalog.drops SET closed_at = clock_timestamp()")
    await line.tick()
    assert (await line.room()).phase == "closed"
