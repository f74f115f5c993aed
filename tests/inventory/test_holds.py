"""Holds on a real database, with real concurrent connections."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from psycopg.errors import CheckViolation, LockNotAvailable

from tidegate import inventory
from tidegate.inventory import Confirmation, DropRule, Granted, HoldLine, HoldRequest, VoucherRule, VoucherSpent
from tidegate.inventory.placing import PLENTY, AskedRoom
from tidegate.inventory.stock import lock_stock
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection, Database
from tidegate.platform.ids import DropId, HoldId, OrderId, PersonId, VariantId, VoucherId, new_id
from tidegate.platform.money import Money

pytestmark = pytest.mark.anyio

PENNY = Money(1, "GBP")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def request(
    variants: Sequence[VariantId],
    *,
    quantity: int = 1,
    buyer: PersonId | None = None,
    drop: DropRule | None = None,
    voucher: VoucherRule | None = None,
) -> HoldRequest:
    lines = tuple(HoldLine(variant, quantity, PENNY) for variant in variants)
    discount = 1 if voucher else 0
    return HoldRequest(HoldId(new_id()), buyer or PersonId(new_id()), lines, drop, voucher, discount=discount)


async def stocked(database: Database, *levels: int) -> list[VariantId]:
    variants = [VariantId(new_id()) for _ in levels]
    async with database.transaction() as conn:
        await inventory.set_stock(conn, levels=dict(zip(variants, levels, strict=True)))
    return variants


async def settled(
    conn: Connection, requests: Sequence[HoldRequest], room: AskedRoom, *, ttl_s: int = 60, max_loose_holds: int = 1
) -> list[Any]:
    """Place holds and apply what that does to the stock."""
    moves = inventory.StockMoves()
    decisions = await inventory.place_holds(
        conn, requests, ttl_s=ttl_s, max_loose_holds=max_loose_holds, asked=room, moves=moves
    )
    await moves.apply(conn)
    return list(decisions)


async def confirmed(conn: Connection, orders: Mapping[HoldId, OrderId]) -> dict[HoldId, Confirmation]:
    """Turn holds into sales and apply what that does to the stock."""
    known = await inventory.load_holds(conn, list(orders))
    asked, moves = await inventory.ask_hold_states(conn, known), inventory.StockMoves()
    outcome = await inventory.confirm_holds(conn, orders, known=known, asked=asked, moves=moves)
    await moves.apply(conn)
    return outcome


async def place(database: Database, *requests: HoldRequest, ttl_s: int = 60) -> list[Any]:
    async with database.transaction() as conn:
        room = await inventory.ask_room(conn, requests)
        return await settled(conn, requests, room, ttl_s=ttl_s, max_loose_holds=100)


async def levels(database: Database, *variants: VariantId) -> list[tuple[int, int, int]]:
    async with database.connection() as conn:
        found = await inventory.stock_levels(conn, variant_ids=variants)
    return [(found[v].available, found[v].held, found[v].sold) for v in variants]


async def order(database: Database, hold_id: HoldId, *, window_s: int = 60) -> OrderId:
    order_id = OrderId(new_id())
    async with database.transaction() as conn:
        holds = await inventory.read_holds(await inventory.ask_holds(conn, [hold_id]))
        ends_at = await database_now(conn) + timedelta(seconds=window_s)
        await inventory.attach_holds(conn, {hold_id: order_id}, holds=holds, ends_at=ends_at)
    return order_id


async def sweep(conn: Connection) -> int:
    """A round of the sweeper."""
    return await inventory.expire_holds(conn, await inventory.due_holds(conn, limit=10))


async def expire_now(conn: Connection, hold_id: HoldId) -> None:
    await conn.execute("UPDATE inventory.holds SET expires_at = clock_timestamp() WHERE id = %s", (hold_id,))


async def test_many_buyers_at_once_get_exactly_what_there_is(database: Database) -> None:
    (variant,) = await stocked(database, 7)
    decisions = await asyncio.gather(*(place(database, request([variant])) for _ in range(40)))
    assert sum(isinstance(each[0], Granted) for each in decisions) == 7
    assert await levels(database, variant) == [(0, 7, 0)]


async def test_plenty_is_decided_without_a_lock_and_the_constraint_has_the_last_word(database: Database) -> None:
    (variant,) = await stocked(database, PLENTY + 10)
    async with database.transaction() as slow:
        room = await inventory.ask_room(slow, [wish := request([variant], quantity=5)])
        await place(database, request([variant], quantity=PLENTY - 5))  # waits for nobody: nothing is locked yet
        moves = inventory.StockMoves()
        (decision,) = await inventory.place_holds(slow, [wish], ttl_s=60, max_loose_holds=1, asked=room, moves=moves)
        assert isinstance(decision, Granted)
        await moves.apply(slow)
    assert await levels(database, variant) == [(10, PLENTY, 0)]
    beyond = inventory.StockMoves()
    beyond.add(variant, held=11)
    async with database.connection() as conn:
        with pytest.raises(CheckViolation) as refused:
            await beyond.apply(conn)
    assert refused.value.diag.constraint_name == inventory.STOCK_RACE
    assert await levels(database, variant) == [(10, PLENTY, 0)]


async def test_baskets_in_every_order_do_not_deadlock(database: Database) -> None:
    variants = await stocked(database, 500, 500, 500)
    orders = list(itertools.permutations(variants)) * 10
    random.Random(7).shuffle(orders)
    await asyncio.gather(*(place(database, request(each), request(each[::-1])) for each in orders))
    assert await levels(database, *variants) == [(380, 120, 0)] * 3


async def test_a_basket_gets_all_or_nothing(database: Database) -> None:
    plenty, few = await stocked(database, 10, 1)
    first, second = await place(database, request([plenty, few], quantity=2), request([plenty]))
    assert first == inventory.SoldOut(first.hold_id, few, 1)
    assert isinstance(second, Granted)
    assert await levels(database, plenty, few) == [(9, 1, 0), (1, 0, 0)]


async def test_the_database_itself_refuses_to_oversell(database: Database) -> None:
    (variant,) = await stocked(database, 1)
    with pytest.raises(CheckViolation, match="stock_within_on_hand"):
        async with database.transaction() as conn:
            await conn.execute("UPDATE inventory.stock SET held = 2 WHERE variant_id = %s", (variant,))


async def test_less_than_nothing_is_no_race(database: Database) -> None:
    (variant,) = await stocked(database, 5)
    await place(database, request([variant], drop=DropRule(DropId(new_id()), LONG_AGO, 2)))
    for bug in ("UPDATE inventory.stock SET held = -1", "UPDATE inventory.buyer_limits SET used = -1"):
        with pytest.raises(CheckViolation) as refused:
            async with database.transaction() as conn:
                await conn.execute(bug)
        assert refused.value.diag.constraint_name not in (inventory.STOCK_RACE, inventory.LIMIT_RACE)


async def test_released_and_expired_holds_give_back_once(database: Database) -> None:
    (variant,) = await stocked(database, 5)
    wish, late = request([variant], quantity=2), request([variant], quantity=3)
    await place(database, wish, late)
    async with database.transaction() as conn:
        assert await inventory.release_holds(conn, [wish.id]) == [wish.id]
        assert await inventory.release_holds(conn, [wish.id]) == []
        await expire_now(conn, late.id)
    assert await levels(database, variant) == [(2, 3, 0)]
    async with database.transaction() as conn:
        assert await sweep(conn) == 1
        assert await sweep(conn) == 0
    assert await levels(database, variant) == [(5, 0, 0)]


async def test_sweepers_at_once_end_each_hold_once(database: Database) -> None:
    (variant,) = await stocked(database, 30)
    wishes = [request([variant]) for _ in range(30)]
    await place(database, *wishes)
    async with database.transaction() as conn:
        await conn.execute("UPDATE inventory.holds SET expires_at = clock_timestamp()")

    async def rounds() -> int:
        ended = 0
        while True:
            async with database.transaction() as conn:
                if not await inventory.due_holds(conn, limit=1):
                    return ended
                ended += await sweep(conn)

    ended = await asyncio.gather(*(rounds() for _ in range(6)))
    assert sum(ended) == 30
    assert await levels(database, variant) == [(30, 0, 0)]


async def test_a_buyer_has_one_live_hold_in_a_drop(database: Database) -> None:
    (variant,) = await stocked(database, 50)
    buyer, rule = PersonId(new_id()), DropRule(DropId(new_id()), LONG_AGO, 3)
    wishes = [request([variant], buyer=buyer, drop=rule) for _ in range(12)]
    decisions = await asyncio.gather(*(place(database, wish) for wish in wishes))
    granted = [each[0] for each in decisions if isinstance(each[0], Granted)]
    assert len(granted) == 1
    refused = next(each[0] for each in decisions if not isinstance(each[0], Granted))
    assert refused == inventory.OverLimit(refused.hold_id, 3, 1, granted[0].hold_id)
    async with database.transaction() as conn:
        await inventory.release_holds(conn, [granted[0].hold_id])
    assert isinstance((await place(database, request([variant], quantity=3, buyer=buyer, drop=rule)))[0], Granted)


async def test_the_limit_counts_what_was_bought(database: Database) -> None:
    (variant,) = await stocked(database, 50)
    buyer, rule = PersonId(new_id()), DropRule(DropId(new_id()), LONG_AGO, 3)
    wish = request([variant], quantity=2, buyer=buyer, drop=rule)
    await place(database, wish)
    order_id = await order(database, wish.id)
    async with database.transaction() as conn:
        await confirmed(conn, {wish.id: order_id})
    again, fits = request([variant], quantity=2, buyer=buyer, drop=rule), request([variant], buyer=buyer, drop=rule)
    assert (await place(database, again)) == [inventory.OverLimit(again.id, 3, 2, None)]
    assert isinstance((await place(database, fits))[0], Granted)
    async with database.transaction() as conn:
        await inventory.release_holds(conn, [fits.id])
        await inventory.clear_limits(conn, rule_id=rule.drop_id)
    assert isinstance((await place(database, again))[0], Granted)


async def test_erasing_gives_back_what_the_limit_still_counts(database: Database) -> None:
    """One sale from before the drop was opened again, one that was live then, one from after."""
    (variant,) = await stocked(database, 50)
    buyer, rule = PersonId(new_id()), DropRule(DropId(new_id()), LONG_AGO, 9)
    wishes = [request([variant], quantity=quantity, buyer=buyer, drop=rule) for quantity in (4, 2, 1)]
    orders = {}
    for number, wish in enumerate(wishes):
        await place(database, wish)
        if number == 1:
            async with database.transaction() as conn:
                await inventory.clear_limits(conn, rule_id=rule.drop_id)
        orders[wish.id] = await order(database, wish.id)
        async with database.transaction() as conn:
            await confirmed(conn, {wish.id: orders[wish.id]})
    left = []
    for wish in wishes:
        async with database.transaction() as conn:
            await inventory.erase_holds(conn, order_ids=[orders[wish.id]], variant_ids=[])
            left.append(await inventory.taken_in_drop(conn, drop_id=rule.drop_id))
    assert left == [3, 1, 0]


async def test_an_own_expired_hold_never_blocks(database: Database) -> None:
    (variant,) = await stocked(database, 1)
    buyer, rule = PersonId(new_id()), DropRule(DropId(new_id()), LONG_AGO, 1)
    first = request([variant], buyer=buyer, drop=rule)
    await place(database, first)
    async with database.transaction() as conn:
        await expire_now(conn, first.id)
    assert isinstance((await place(database, request([variant], buyer=buyer, drop=rule)))[0], Granted)
    assert await levels(database, variant) == [(0, 1, 0)]


async def test_a_drop_opens_by_the_databases_clock(database: Database) -> None:
    (variant,) = await stocked(database, 1)
    rule = DropRule(DropId(new_id()), datetime.now(UTC) + timedelta(minutes=5), 1)
    wish = request([variant], drop=rule)
    assert await place(database, wish) == [inventory.NotYetOpen(wish.id, rule.opens_at)]


async def test_ordering_moves_the_end_and_happens_once(database: Database) -> None:
    (variant,) = await stocked(database, 1)
    wish = request([variant])
    granted = (await place(database, wish, ttl_s=5))[0]
    order_id = await order(database, wish.id, window_s=600)
    async with database.connection() as conn:
        held = (await inventory.load_holds(conn, [wish.id]))[wish.id]
    assert (held.state, held.order_id) == (inventory.HoldState.ORDERED, order_id)
    assert held.expires_at > granted.expires_at + timedelta(minutes=9)
    with pytest.raises(AssertionError, match="only a live hold"):
        await order(database, wish.id)
    async with database.transaction() as conn:
        await expire_now(conn, wish.id)
        assert await sweep(conn) == 0, "an ordered hold ends through its order"


async def test_a_hold_that_ends_late_keeps_its_end(database: Database) -> None:
    (variant,) = await stocked(database, 1)
    wish = request([variant])
    granted = (await place(database, wish, ttl_s=600))[0]
    await order(database, wish.id, window_s=5)
    async with database.connection() as conn:
        assert (await inventory.load_holds(conn, [wish.id]))[wish.id].expires_at == granted.expires_at


async def test_paid_late_takes_stock_again_or_is_told_that_it_is_gone(database: Database) -> None:
    (variant,) = await stocked(database, 2)
    wishes = [request([variant]) for _ in range(2)]
    await place(database, *wishes)
    orders = {wish.id: await order(database, wish.id) for wish in wishes}
    async with database.transaction() as conn:
        await inventory.release_holds(conn, list(orders))
    await place(database, request([variant]))
    async with database.transaction() as conn:
        outcome = await confirmed(conn, orders)
    assert sorted(outcome.values()) == [Confirmation.GONE, Confirmation.RETAKEN]
    assert await levels(database, variant) == [(0, 1, 1)]
    async with database.transaction() as conn:
        assert Confirmation.CONFIRMED in (await confirmed(conn, orders)).values()
    assert await levels(database, variant) == [(0, 1, 1)]


async def test_stock_can_be_set_beside_holds_and_sales(database: Database) -> None:
    (variant,) = await stocked(database, 3)
    await place(database, request([variant], quantity=2))
    async with database.transaction() as conn:
        await inventory.set_stock(conn, levels={variant: 10})
        assert await inventory.add_missing_stock(conn, levels={variant: 99}) == 0
    assert await levels(database, variant) == [(10, 2, 0)]


@pytest.mark.parametrize("in_drop", [False, True])
async def test_ending_own_holds_of_other_goods_waits_for_nobody(database: Database, in_drop: bool) -> None:
    """Two batches, each with a buyer whose ended hold keeps what the other batch has locked."""
    variants = await stocked(database, 5, 5)
    rules = [DropRule(DropId(new_id()), LONG_AGO, 3) if in_drop else None for _ in variants]
    old = [request([variant], drop=rule) for variant, rule in zip(variants, rules, strict=True)]
    await place(database, *old)
    async with database.connection() as conn:
        for each in old:
            await expire_now(conn, each.id)
    new = [
        request([variant], buyer=before.buyer_id, drop=before.drop)
        for variant, before in zip(reversed(variants), old, strict=True)
    ]
    async with database.transaction() as first, database.transaction() as second:
        room = await inventory.ask_room(first, new[:1])
        await lock_stock(second, [line.variant_id for line in new[1].lines])
        placed = settled(first, new[:1], room)
        if in_drop:
            with pytest.raises(LockNotAvailable):
                await placed
        else:
            assert isinstance((await placed)[0], Granted)


def a_voucher(*, total: int, per_buyer: int = 1) -> VoucherRule:
    return VoucherRule(VoucherId(new_id()), total, per_buyer)


async def redeemed(database: Database, voucher: VoucherRule) -> int:
    async with database.connection() as conn:
        return (await inventory.redemptions(conn, [voucher.voucher_id])).get(voucher.voucher_id, 0)


async def test_a_voucher_raced_by_many_is_redeemed_exactly_as_often_as_it_may_be(database: Database) -> None:
    (variant,) = await stocked(database, 100)
    voucher = a_voucher(total=3)
    wishes = [request([variant], voucher=voucher) for _ in range(50)]
    # Five at a time in ten transactions on connections of their own, as processes batch them.
    decisions = await asyncio.gather(*(place(database, *wishes[n : n + 5]) for n in range(0, 50, 5)))
    flat = [decision for batch in decisions for decision in batch]
    assert sum(isinstance(each, Granted) for each in flat) == 3
    assert all(isinstance(each, Granted) or each == VoucherSpent(each.hold_id, own=False) for each in flat)
    assert await redeemed(database, voucher) == 3
    assert await levels(database, variant) == [(97, 3, 0)], "a refused code takes no stock"


async def test_a_buyer_redeems_a_voucher_as_often_as_each_may(database: Database) -> None:
    (variant,) = await stocked(database, 100)
    voucher, buyer = a_voucher(total=50), PersonId(new_id())
    wishes = [request([variant], buyer=buyer, voucher=voucher) for _ in range(20)]
    decisions = await asyncio.gather(*(place(database, wish) for wish in wishes))
    assert sum(isinstance(each[0], Granted) for each in decisions) == 1
    assert all(isinstance(each[0], Granted) or each[0].own for each in decisions)
    assert await redeemed(database, voucher) == 1
    assert isinstance((await place(database, request([variant], voucher=voucher)))[0], Granted)


async def test_a_redemption_is_given_back_when_the_hold_ends(database: Database) -> None:
    (variant,) = await stocked(database, 9)
    voucher, buyer = a_voucher(total=2, per_buyer=2), PersonId(new_id())
    first, second = (request([variant], buyer=buyer, voucher=voucher) for _ in range(2))
    await place(database, first, second)
    assert await redeemed(database, voucher) == 2
    async with database.transaction() as conn:
        await inventory.release_holds(conn, [first.id])
        await expire_now(conn, second.id)
    assert await redeemed(database, voucher) == 1
    async with database.transaction() as conn:
        assert await sweep(conn) == 1
    assert await redeemed(database, voucher) == 0
    again = [request([variant], buyer=buyer, voucher=voucher) for _ in range(3)]
    assert [isinstance(each, Granted) for each in await place(database, *again)] == [True, True, False]


async def test_an_own_expired_hold_elsewhere_does_not_keep_the_voucher(database: Database) -> None:
    one, other = await stocked(database, 9, 9)
    voucher, buyer = a_voucher(total=1), PersonId(new_id())
    first = request([one], buyer=buyer, drop=DropRule(DropId(new_id()), LONG_AGO, 1), voucher=voucher)
    await place(database, first)
    async with database.transaction() as conn:
        await expire_now(conn, first.id)
    assert isinstance((await place(database, request([other], buyer=buyer, voucher=voucher)))[0], Granted)
    assert await levels(database, one, other) == [(9, 0, 0), (8, 1, 0)]


@pytest.mark.parametrize("in_drop", [False, True])
async def test_ending_own_holds_with_another_voucher_waits_for_nobody(database: Database, in_drop: bool) -> None:
    """Another batch has locked the voucher of a buyer's ended hold, and will want the stock that this one has."""
    mine, theirs = await stocked(database, 5, 5)
    voucher, rule = a_voucher(total=9), DropRule(DropId(new_id()), LONG_AGO, 3) if in_drop else None
    old = request([mine], drop=rule, voucher=voucher)
    await place(database, old)
    async with database.connection() as conn:
        await expire_now(conn, old.id)
    new = request([mine], buyer=old.buyer_id, drop=rule)
    async with database.transaction() as first, database.transaction() as second:
        await inventory.ask_room(second, [request([theirs], voucher=voucher)])
        placed = settled(first, [new], await inventory.ask_room(first, [new]))
        if in_drop:
            with pytest.raises(LockNotAvailable):
                await placed
        else:
            assert isinstance((await placed)[0], Granted)


@pytest.mark.parametrize("taken_meanwhile", [False, True])
async def test_a_redemption_stays_when_confirmed_and_is_taken_again_when_paid_late(
    database: Database, *, taken_meanwhile: bool
) -> None:
    (variant,) = await stocked(database, 9)
    voucher = a_voucher(total=1)
    wish = request([variant], voucher=voucher)
    await place(database, wish)
    order_id = await order(database, wish.id)
    async with database.transaction() as conn:
        await inventory.release_holds(conn, [wish.id])
    if taken_meanwhile:
        assert isinstance((await place(database, request([variant], voucher=voucher)))[0], Granted)
    async with database.transaction() as conn:
        outcome = await confirmed(conn, {wish.id: order_id})
        held = (await inventory.load_holds(conn, [wish.id]))[wish.id]
    assert outcome[wish.id] is (Confirmation.GONE if taken_meanwhile else Confirmation.RETAKEN)
    assert (held.voucher_id, held.discount) == (voucher.voucher_id, 1)
    assert await redeemed(database, voucher) == 1


async def test_a_voucher_has_its_time_by_the_databases_clock(database: Database) -> None:
    (variant,) = await stocked(database, 9)
    async with database.connection() as conn:
        now = await database_now(conn)
    hour = timedelta(hours=1)
    early = request([variant], voucher=VoucherRule(VoucherId(new_id()), 9, 9, starts_at=now + hour))
    late = request([variant], voucher=VoucherRule(VoucherId(new_id()), 9, 9, starts_at=now - hour, ends_at=now))
    within = request([variant], voucher=VoucherRule(VoucherId(new_id()), 9, 9, starts_at=now, ends_at=now + hour))
    decisions = await place(database, early, late, within)
    assert decisions[0] == inventory.VoucherNotNow(early.id, starts_at=now + hour)
    assert decisions[1] == inventory.VoucherNotNow(late.id, ended_at=now)
    assert isinstance(decisions[2], Granted)


async def test_the_database_itself_refuses_a_discount_without_a_voucher(database: Database) -> None:
    (variant,) = await stocked(database, 9)
    with pytest.raises(CheckViolation, match="hold_discount_needs_voucher"):
        await place(database, replace(request([variant]), discount=1))
