"""Where holds go: the table, and every move that the database sees on a day on which everything happens."""

from __future__ import annotations

import pytest

from tests.checkout.conftest import Stock, sell, shop  # noqa: F401 - fixtures
from tests.ops.market import buy, somebody, trade
from tidegate import checkout, inventory
from tidegate.checkout import Actor, Shop
from tidegate.inventory import HoldState
from tidegate.inventory.holds import set_states
from tidegate.inventory.rules import FIRST, TRANSITIONS, may_move
from tidegate.ops.books import check_books

pytestmark = pytest.mark.anyio

WATCH = """
CREATE TABLE public.seen (old_state text, new_state text);
CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.seen VALUES (CASE WHEN TG_OP = 'UPDATE' THEN OLD.state END, NEW.state);
    RETURN NULL;
END $$;
CREATE TRIGGER see_begin AFTER INSERT ON inventory.holds FOR EACH ROW EXECUTE FUNCTION public.see();
CREATE TRIGGER see_move AFTER UPDATE ON inventory.holds FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION public.see()
"""


def test_every_state_is_reached_and_what_expired_stays_so() -> None:
    assert set(TRANSITIONS) == set(HoldState)
    reached = set(FIRST)
    while more := {after for state in reached for after in TRANSITIONS[state]} - reached:
        reached |= more
    assert reached == set(HoldState)
    assert not any(may_move(HoldState.EXPIRED, state) for state in HoldState)
    assert not may_move(HoldState.ORDERED, HoldState.EXPIRED), "never released under a payment that may still succeed"
    assert not may_move(HoldState.CONFIRMED, HoldState.ORDERED)


async def test_the_database_sees_these_moves_and_no_others(shop: Shop, sell: Stock) -> None:  # noqa: F811
    async with shop.database.transaction() as conn:
        await conn.execute(WATCH)
    await trade(shop, sell)
    sold = await buy(shop, "LAMP")
    await checkout.cancel(shop, order_id=sold.id, by=Actor(somebody(), "staff"))
    async with shop.database.connection() as conn:
        rows = await (await conn.execute("SELECT DISTINCT old_state, new_state FROM public.seen")).fetchall()
    assert {HoldState(new) for old, new in rows if old is None} == FIRST
    seen = {(HoldState(old), HoldState(new)) for old, new in rows if old is not None}
    assert seen == {(old, new) for old, after in TRANSITIONS.items() for new in after}
    assert (await check_books(shop.database, shop.settings)).broken == ()


async def test_a_move_that_is_not_in_the_table_is_not_made(shop: Shop, sell: Stock) -> None:  # noqa: F811
    await sell("LAMP", stock=3)
    placed = await buy(shop, "LAMP")
    async with shop.database.transaction() as conn:
        hold = (await inventory.load_holds(conn, [placed.hold_id]))[placed.hold_id]
        assert hold.state is HoldState.CONFIRMED
        with pytest.raises(AssertionError):
            await set_states(conn, [hold], HoldState.EXPIRED)
