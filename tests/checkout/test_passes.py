"""Buying in a drop with a room: with a pass that is one's own, for this drop, in time, and once."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.checkout.buying import guest, post, problem, purchase_body
from tests.checkout.conftest import Stock
from tests.checkout.test_purchasing import so_many_wait
from tests.gate.rooms import a_key, a_pass, a_room
from tests.statements import statements
from tests.waiting import eventually
from tidegate import inventory
from tidegate.catalog import close_drop
from tidegate.checkout import FreshHold, HoldWish, Line, Shop, SoldOut, expire_holds_once, open_shop, settle_hold
from tidegate.gate import Joined, JoinWish, PlaceState, leave, settle_joins
from tidegate.gate.contracts import PassExpired, PassForeign, PassRequired, PassSpent
from tidegate.ops import replay_drop
from tidegate.ops.books import check_books
from tidegate.payments import make_providers
from tidegate.platform.clock import database_now
from tidegate.platform.database import Database
from tidegate.platform.idempotency import RequestKey, StoredAnswer, fingerprint
from tidegate.platform.ids import DropId, PersonId, PlaceId, new_id
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

RULE = next(rule for rule in inventory.INVARIANTS if rule.name == "room-hold-has-pass")
ADMIT = (
    "UPDATE gate.places SET state = 'admitted', admitted_at = clock_timestamp(),"
    " expires_at = clock_timestamp() + interval '1 minute' WHERE id = ANY(%s)"
)
WISH = {"lines": [{"sku": "LAMP", "quantity": 1}]}


@pytest.fixture
def people() -> list[PersonId]:
    return [PersonId(new_id()) for _ in range(4)]


async def with_room(
    database: Database, sell: Stock, people: list[PersonId], sku: str = "LAMP", **terms: Any
) -> tuple[DropId, list[PlaceId]]:
    """A drop that is open and whose room lets these people in."""
    await sell(sku, **({"stock": 9, "drop_in_s": -5, "per_buyer": 3} | terms))
    async with database.transaction() as conn:
        _, drop_id, places = await a_room(conn, slug=f"{sku.lower()}-drop", buyers=people)
        await conn.execute(ADMIT, (places,))
    return drop_id, places


@pytest.fixture(autouse=True)
async def _key(database: Database) -> None:
    async with database.transaction() as conn:
        await a_key(conn)


async def hold(shop: Shop, buyer: PersonId, admission: str | None, key: str | None = None, sku: str = "LAMP") -> object:
    """What becomes of a wish for one lamp: its hold, or why there is none."""
    about = RequestKey(buyer, key, fingerprint("/api/v1/holds", sku)) if key else None
    try:
        return (await settle_hold(shop, HoldWish(buyer, (Line(sku, 1),), admission=admission, key=about)))[0]
    except (PassRequired, PassForeign, PassExpired, PassSpent) as refused:
        return refused


async def spent(database: Database) -> list[tuple[UUID, UUID]]:
    async with database.connection() as conn:
        rows = await conn.execute("SELECT place_id, hold_id FROM inventory.spent_passes ORDER BY place_id")
        return [(row[0], row[1]) for row in await rows.fetchall()]


async def test_a_twin_in_another_process_does_not_find_its_pass_used(
    shop: Shop, sell: Stock, database: Database, settings: Settings, people: list[PersonId]
) -> None:
    drop, places = await with_room(database, sell, people)
    admission = a_pass(drop, places[0], people[0])
    async with open_shop(database, settings, shop.providers) as other:
        async with database.transaction() as conn:
            await conn.execute("LOCK TABLE inventory.stock IN SHARE MODE")
            asked = [asyncio.create_task(hold(each, people[0], admission, key="k")) for each in (shop, other)]
            await eventually(lambda: so_many_wait(database, 2))
        first, second = sorted(await asyncio.gather(*asked), key=lambda each: isinstance(each, StoredAnswer))
    assert isinstance(first, FreshHold)
    assert second == first.answer


async def test_a_pass_is_good_once_and_only_in_time_for_its_owner_and_its_drop(
    shop: Shop, sell: Stock, database: Database, settings: Settings, people: list[PersonId]
) -> None:
    ada, bob, *_ = people
    drop, places = await with_room(database, sell, people)
    other, _ = await with_room(database, sell, [ada], sku="VASE")
    good = a_pass(drop, places[0], ada)
    assert isinstance(await hold(shop, ada, None), PassRequired)
    assert isinstance(await hold(shop, ada, ""), PassRequired)
    assert isinstance(await hold(shop, ada, "made-up"), PassForeign)
    assert isinstance(await hold(shop, ada, good[:-8] + "AAAAAAAA"), PassForeign)
    assert isinstance(await hold(shop, bob, good), PassForeign), "stolen"
    assert isinstance(await hold(shop, ada, good, sku="VASE"), PassForeign), "of another drop"
    assert isinstance(await hold(shop, ada, a_pass(drop, places[0], ada, in_s=-1)), PassExpired)
    assert await spent(database) == []
    placed = await hold(shop, ada, good)
    assert isinstance(placed, FreshHold)
    assert await spent(database) == [(places[0], placed.id)]
    assert isinstance(await hold(shop, ada, good), PassSpent)
    later = a_pass(drop, places[0], ada, in_s=500)
    assert isinstance(await hold(shop, ada, later), PassSpent), "another pass of the same place"
    assert other != drop
    assert (await check_books(database, settings)).broken == ()


async def test_a_pass_is_good_no_longer_than_its_place(
    shop: Shop, sell: Stock, database: Database, settings: Settings, people: list[PersonId]
) -> None:
    ada, bob, eve, dan = people
    drop, places = await with_room(database, sell, people, stock=5_000)
    passes = [a_pass(drop, place, buyer) for place, buyer in zip(places, people, strict=True)]
    assert isinstance(await hold(shop, dan, passes[3]), FreshHold)
    async with database.transaction() as conn:
        assert await leave(conn, place_id=places[0], buyer_id=ada) is PlaceState.LEFT
    assert isinstance(await hold(shop, ada, passes[0]), PassExpired), "given up"
    async with database.transaction() as conn:
        joined = await settle_joins(conn, [JoinWish("lamp-drop", ada)], max_joins=9)
    assert isinstance(joined[0], Joined)
    assert joined[0].place.id == places[0]
    with statements() as seen:
        both = await asyncio.gather(hold(shop, ada, passes[0]), hold(shop, bob, passes[1], key="k"))
    assert isinstance(both[0], PassExpired), "waits again"
    assert isinstance(both[1], FreshHold)
    asked = [each for each in seen if "gate.places" in each]
    assert len(asked) <= seen.count("SELECT place_id FROM inventory.spent_passes WHERE place_id = ANY(%b)"), seen
    async with database.transaction() as conn:
        await close_drop(conn, slug="lamp-drop")
        await replay_drop(conn, slug="lamp-drop", opens_at=await database_now(conn))
    assert isinstance(await hold(shop, eve, passes[2]), PassExpired), "of the run before"
    assert await hold(shop, bob, passes[1], key="k") == both[1].answer, "a repeat is answered as it was"
    assert (await check_books(database, settings)).broken == ()


async def test_the_same_key_gets_the_same_answer_though_its_pass_is_spent(
    shop: Shop, sell: Stock, database: Database, people: list[PersonId]
) -> None:
    ada, *_ = people
    drop, places = await with_room(database, sell, people)
    good = a_pass(drop, places[0], ada)
    first = await hold(shop, ada, good, key="k1")
    assert isinstance(first, FreshHold)
    assert await hold(shop, ada, good, key="k1") == first.answer
    assert await hold(shop, ada, a_pass(drop, places[0], ada, in_s=-1), key="k1") == first.answer
    assert isinstance(await hold(shop, ada, good, key="k2"), PassSpent)


async def test_what_was_refused_spends_nothing_and_what_ended_gives_nothing_back(
    shop: Shop, sell: Stock, database: Database, settings: Settings, people: list[PersonId]
) -> None:
    ada, bob, *_ = people
    drop, places = await with_room(database, sell, people, stock=1, per_buyer=1)
    placed = await hold(shop, ada, a_pass(drop, places[0], ada))
    assert isinstance(placed, FreshHold)
    late = a_pass(drop, places[1], bob)
    with pytest.raises(SoldOut):
        await hold(shop, bob, late)
    async with database.transaction() as conn:
        await conn.execute("UPDATE inventory.holds SET expires_at = clock_timestamp()")
    assert await expire_holds_once(shop) == 1
    assert isinstance(await hold(shop, ada, a_pass(drop, places[0], ada)), PassSpent)
    assert isinstance(await hold(shop, bob, late), FreshHold), "what came back is the next one's"
    assert [place for place, _ in await spent(database)] == places[:2]
    assert (await check_books(database, settings)).broken == ()


async def test_one_pass_at_many_doors_at_once_is_spent_once(
    shop: Shop, sell: Stock, database: Database, people: list[PersonId]
) -> None:
    ada, *_ = people
    drop, places = await with_room(database, sell, people, stock=5_000)
    good = a_pass(drop, places[0], ada)
    async with open_shop(database, shop.settings, make_providers(database, shop.settings)) as second:
        asked = [hold(each, ada, good, key=f"k{n} {each is shop}") for n in range(40) for each in (shop, second)]
        outcomes = await asyncio.gather(*asked)
    assert [type(each).__name__ for each in outcomes].count("FreshHold") == 1
    assert [type(each).__name__ for each in outcomes].count("PassSpent") == 79
    assert len(await spent(database)) == 1


async def test_a_key_that_was_retired_or_added_while_the_shop_runs(
    shop: Shop, sell: Stock, database: Database, people: list[PersonId]
) -> None:
    ada, bob, *_ = people
    drop, places = await with_room(database, sell, people)
    assert isinstance(await hold(shop, ada, a_pass(drop, places[0], ada)), FreshHold)
    async with database.transaction() as conn:
        await conn.execute("UPDATE gate.signing_keys SET retired_at = clock_timestamp()")
    async with open_shop(database, shop.settings, make_providers(database, shop.settings)) as second:
        assert isinstance(await hold(second, bob, a_pass(drop, places[1], bob)), PassForeign)


async def test_goods_without_a_room_take_no_pass_and_ask_for_none(
    shop: Shop, sell: Stock, database: Database, people: list[PersonId]
) -> None:
    ada, *_ = people
    await sell("LAMP", stock=3)
    assert isinstance(await hold(shop, ada, None), FreshHold)
    assert isinstance(await hold(shop, ada, "whatever"), FreshHold)
    assert await spent(database) == []


@pytest.mark.parametrize("path", ["/api/v1/holds", "/api/v1/purchases"])
async def test_over_http(
    site: httpx.AsyncClient, sell: Stock, database: Database, people: list[PersonId], path: str
) -> None:
    who = await guest(site)
    async with database.connection() as conn:
        row = await (await conn.execute("SELECT id FROM accounts.people")).fetchone()
    assert row is not None
    drop, places = await with_room(database, sell, [PersonId(row[0]), *people])
    body = WISH if path.endswith("holds") else purchase_body()
    refused = await post(site, path, body, who)
    assert problem(refused) == (409, "pass-required")
    assert refused.json()["drop"] == "lamp-drop"
    sent = who | {"tidegate-pass": a_pass(drop, places[0], PersonId(row[0]))}
    assert problem(await post(site, path, body, who | {"tidegate-pass": "x"})) == (403, "pass-foreign")
    late = who | {"tidegate-pass": a_pass(drop, places[0], PersonId(row[0]), in_s=-1)}
    assert problem(await post(site, path, body, late)) == (409, "pass-expired")
    bought = await post(site, path, body, sent, key="once")
    assert bought.status_code == 201, bought.text
    again = await post(site, path, body, sent, key="once")
    assert (again.status_code, again.json()["id"]) == (201, bought.json()["id"])
    assert problem(await post(site, path, body, sent)) == (409, "pass-spent")


async def test_the_books_find_a_hold_without_a_pass_and_a_pass_without_a_hold(
    shop: Shop, sell: Stock, database: Database, settings: Settings, people: list[PersonId]
) -> None:
    ada, bob, *_ = people
    drop, places = await with_room(database, sell, people)
    other, foreign = await with_room(database, sell, [ada], sku="VASE")
    for buyer, place in zip((ada, bob), places, strict=False):
        assert isinstance(await hold(shop, buyer, a_pass(drop, place, buyer)), FreshHold)
    assert (await check_books(database, settings)).broken == ()
    for change, arguments in (
        ("DELETE FROM inventory.spent_passes WHERE place_id = %s", (places[0],)),
        ("UPDATE inventory.spent_passes SET hold_id = %s WHERE place_id = %s", (new_id(), places[1])),
        ("UPDATE inventory.spent_passes SET place_id = %s WHERE place_id = %s", (foreign[0], places[0])),
        ("UPDATE inventory.spent_passes SET drop_id = %s WHERE place_id = %s", (other, places[0])),
    ):
        async with database.connection() as conn, conn.transaction(force_rollback=True):
            await conn.execute(change, arguments)
            found = await conn.execute(RULE.sql)
            assert await found.fetchall(), change
