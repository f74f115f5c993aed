"""What some items of an order are worth: never more than was paid, and all of them exactly that."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidegate.checkout import LinePart
from tidegate.checkout.contracts import BoughtLine
from tidegate.checkout.rules import parts_left, worth_of
from tidegate.platform.money import Money

ORDERS = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 10_000)), min_size=1, max_size=5)


@given(ORDERS, st.floats(0, 1), st.data())
def test_items_are_worth_their_share_of_what_was_paid(
    wished: list[tuple[int, int]], off: float, data: st.DataObject
) -> None:
    lines = [BoughtLine("A", "A", quantity, Money(unit, "GBP")) for quantity, unit in wished]
    goods = sum(line.total.amount for line in lines)
    discount = Money(int(goods * off), "GBP")
    everything = parts_left(lines)
    assert worth_of(everything, lines, discount).amount == goods - discount.amount
    number = data.draw(st.integers(1, len(lines)))
    part = (LinePart(number, data.draw(st.integers(1, lines[number - 1].quantity))),)
    rest = parts_left(lines, part)
    both = worth_of(part, lines, discount).amount + (worth_of(rest, lines, discount).amount if rest else 0)
    assert 0 <= both - (goods - discount.amount) <= 1, "a half becomes a whole on both sides at most"
