"""Rules of buying: numbers, states, wishes, forms."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.catalog.contracts import DropTerms, Room, Terms
from tidegate.checkout import Address, Line, OrderForm, OrderState, PassRequired
from tidegate.checkout.rules import NUMBER_BITS, TRANSITIONS, check_form, check_lines, drop_of, may_move, order_number
from tidegate.platform.ids import DropId, HoldId, VariantId
from tidegate.platform.money import Money
from tidegate.platform.problems import InvalidRequest

KEY = UUID("5ddc7d4d-9ee1-4b2b-a43b-5a5d9f5a0d53")
GOOD = OrderForm(
    HoldId(UUID(int=1)),
    "ada@example.com",
    Address("Ada Lovelace", "12 St James's Square", "London", "SW1Y 4JH", "GB"),
    "sandbox",
    "tok_ok",
)


@given(st.integers(0, (1 << NUMBER_BITS) - 1), st.integers(0, (1 << NUMBER_BITS) - 1), st.uuids())
def test_order_numbers_never_meet(one: int, other: int, key: UUID) -> None:
    assert (order_number(one, key=key) == order_number(other, key=key)) == (one == other)


def test_order_numbers_do_not_tell_of_one_another() -> None:
    numbers = [order_number(n, key=KEY) for n in range(2000)]
    assert len(set(numbers)) == 2000
    assert all(len(number) == 9 and number[4] == "-" for number in numbers)
    first_letters = {number[0] for number in numbers}
    assert len(first_letters) == 32, "neighbours spread over the whole range"
    assert order_number(5, key=UUID(int=1)) != numbers[5]


def test_an_end_is_an_end_and_money_can_always_go_back() -> None:
    assert not TRANSITIONS[OrderState.REFUNDED]
    for state in OrderState:
        if state is not OrderState.REFUNDED:
            assert may_move(state, OrderState.REFUNDED)
    assert not may_move(OrderState.PAID, OrderState.PAYMENT_FAILED), "a late decline does not undo a payment"
    assert not may_move(OrderState.PAID, OrderState.CANCELLED)
    assert not may_move(OrderState.REFUNDED, OrderState.PAID), "a late success does not reopen a refunded order"


@pytest.mark.parametrize("quantity", [0, -1, 101, 10**9])
def test_quantities_outside_the_bounds_are_refused(quantity: int) -> None:
    with pytest.raises(InvalidRequest, match="line 2: the quantity must be from 1 to 100"):
        check_lines([Line("A", 1), Line("B", quantity)], max_lines=5, max_quantity=100)


def test_too_many_lines_and_none_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="6 lines are too many"):
        check_lines([Line("A", 1)] * 6, max_lines=5, max_quantity=100)
    with pytest.raises(InvalidRequest, match="empty"):
        check_lines([], max_lines=5, max_quantity=100)


def test_a_complete_form_is_taken() -> None:
    assert check_form(GOOD) == {}


@pytest.mark.parametrize(
    "email",
    ["", "ada", "ada@", "ada@localhost", "a b@example.com", "ada@example.com\nBcc: x@y.zz", "ada@example.com, b@c.de"],
)
def test_addresses_that_could_not_be_mailed_are_named(email: str) -> None:
    form = OrderForm(GOOD.hold_id, email, GOOD.address, "sandbox", "tok_ok")
    assert list(check_form(form)) == ["email"]


def test_each_empty_or_strange_field_is_named() -> None:
    empty = OrderForm(GOOD.hold_id, "ada@example.com", Address("", " ", "\x00", "x" * 201, "England"), "s", "t")
    assert set(check_form(empty)) == {"name", "line1", "city", "postal_code", "country"}


@pytest.mark.parametrize("admission", [None, "made-up"])
def test_a_drop_with_a_room_sells_to_nobody_before_rooms_give_passes(admission: str | None) -> None:
    drop = DropTerms(DropId(UUID(int=9)), "launch", datetime(2026, 6, 1, tzinfo=UTC), 1, Room.DRAW)
    terms = {"LAMP": Terms(VariantId(UUID(int=1)), "LAMP", "lamp", "Lamp", "", Money(100, "GBP"), drop)}
    with pytest.raises(PassRequired):
        drop_of([Line("LAMP", 1)], terms, named=None, admission=admission)
