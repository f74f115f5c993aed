"""Rules of buying: numbers, states, wishes, forms."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as altered

from tidegate.catalog.contracts import DropTerms, Room, Terms, VoucherTerms
from tidegate.checkout import (
    Address,
    BoughtLine,
    CodeNotValid,
    CodeUnknown,
    Line,
    OrderForm,
    OrderState,
)
from tidegate.checkout.rules import (
    NUMBER_BITS,
    TRANSITIONS,
    admitted,
    check_form,
    check_lines,
    discount_of,
    drop_of,
    has_room,
    may_move,
    order_number,
    percent_half_up,
    to_pay,
    voucher_of,
)
from tidegate.gate.contracts import Pass, PassForeign, PassRequired
from tidegate.inventory.contracts import PassRule
from tidegate.platform.ids import DropId, HoldId, PersonId, PlaceId, VariantId, VoucherId
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


def test_order_numbers_stay_what_they_were() -> None:
    """A number that changed could meet one that was given before."""
    key = UUID("01234567-89ab-cdef-0123-456789abcdef")
    assert [order_number(n, key=key) for n in (0, 1, 1 << 20, (1 << NUMBER_BITS) - 1)] == [
        "V59Z-A5NX",
        "RTBA-CSC7",
        "9KK3-QW86",
        "C36M-2V2J",
    ]


def a_voucher(percent: int | None = None, amount: Money | None = None, *, closed: bool = False) -> VoucherTerms:
    at = datetime(2026, 6, 1, tzinfo=UTC)
    return VoucherTerms(VoucherId(UUID(int=1)), "CODE", percent, amount, 9, 1, at, None, at if closed else None)


vouchers = st.builds(a_voucher, percent=st.integers(1, 100)) | st.builds(
    a_voucher, amount=st.integers(1, 10**7).map(lambda amount: Money(amount, "GBP"))
)
bought = st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 50)), min_size=1, max_size=5).map(
    lambda rows: [BoughtLine("SKU", "It", quantity, Money(unit, "GBP")) for unit, quantity in rows]
)


@given(bought, vouchers)
def test_a_discount_takes_something_and_never_more_than_there_is_to_pay(
    lines: list[BoughtLine], voucher: VoucherTerms
) -> None:
    goods = to_pay(lines, Money(0, "GBP"))
    assert goods.amount == sum(line.total.amount for line in lines)
    try:
        discount = discount_of(goods, voucher)
    except CodeNotValid:
        assert voucher.percent_off is None or goods.amount * voucher.percent_off < 50
        assert voucher.amount_off is None or goods.amount == 0
        return
    assert 0 < discount.amount <= goods.amount
    assert to_pay(lines, discount).amount == goods.amount - discount.amount >= 0


@given(st.integers(0, 10**12), st.integers(1, 100))
def test_a_percentage_is_the_nearest_amount_and_a_half_is_a_whole(amount: int, percent: int) -> None:
    exact = Fraction(amount * percent, 100)
    assert Fraction(-1, 2) < percent_half_up(amount, percent) - exact <= Fraction(1, 2)
    assert percent_half_up(amount, 100) == amount


@pytest.mark.parametrize(
    ("goods", "voucher", "off"),
    [
        (999, a_voucher(10), 100),
        (994, a_voucher(10), 99),
        (995, a_voucher(10), 100),
        (5, a_voucher(10), 1),
        (300, a_voucher(amount=Money(500, "GBP")), 300),
        (800, a_voucher(amount=Money(500, "GBP")), 500),
        (800, a_voucher(100), 800),
    ],
)
def test_discounts(goods: int, voucher: VoucherTerms, off: int) -> None:
    assert discount_of(Money(goods, "GBP"), voucher) == Money(off, "GBP")


def test_codes_that_cannot_be_used() -> None:
    with pytest.raises(CodeUnknown, match="no code 'X'"):
        voucher_of("X", {"CODE": a_voucher(10)})
    with pytest.raises(CodeNotValid, match="closed"):
        voucher_of("CODE", {"CODE": a_voucher(10, closed=True)})
    with pytest.raises(CodeNotValid, match="in EUR, and these goods are in GBP"):
        discount_of(Money(900, "GBP"), a_voucher(amount=Money(500, "EUR")))
    with pytest.raises(CodeNotValid, match="takes nothing off"):
        discount_of(Money(4, "GBP"), a_voucher(10))


def test_an_end_is_an_end_and_money_can_always_go_back() -> None:
    assert not TRANSITIONS[OrderState.REFUNDED]
    for state in OrderState:
        if state is not OrderState.REFUNDED:
            assert may_move(state, OrderState.REFUNDED)
    assert not may_move(OrderState.PAID, OrderState.PAYMENT_FAILED), "a late decline does not undo a payment"
    assert not may_move(OrderState.PAID, OrderState.CANCELLED)
    assert may_move(OrderState.FULFILLED, OrderState.PAID), "what was marked as sent by mistake is to be sent again"
    assert not may_move(OrderState.REFUNDED, OrderState.PAID), "a late success does not reopen a refunded order"


@pytest.mark.parametrize("quantity", [0, -1, 101, 10**9])
def test_quantities_outside_the_bounds_are_refused(quantity: int) -> None:
    with pytest.raises(InvalidRequest, match="Line 2: the quantity must be from 1 to 100"):
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


def test_a_drop_with_a_room_sells_to_its_pass_s_owner_only() -> None:
    drop = DropTerms(DropId(UUID(int=9)), "launch", datetime(2026, 6, 1, tzinfo=UTC), 1, Room.DRAW)
    terms = {"LAMP": Terms(VariantId(UUID(int=1)), "LAMP", "lamp", "Lamp", "", Money(100, "GBP"), drop)}
    assert drop_of([Line("LAMP", 1)], terms, named="launch") is drop
    assert has_room(drop)
    assert not has_room(None)
    ada = PersonId(UUID(int=1))
    held = Pass(drop.id, PlaceId(UUID(int=2)), ada, 1_800_000_000)
    assert admitted(drop, ada, sent="text", held=held) == PassRule(held.place_id, held.ends_at)
    with pytest.raises(PassRequired):
        admitted(drop, ada, sent=None, held=None)
    for wrong in (None, altered(held, drop_id=DropId(UUID(int=8))), altered(held, buyer_id=PersonId(UUID(int=5)))):
        with pytest.raises(PassForeign):
            admitted(drop, ada, sent="text", held=wrong)
