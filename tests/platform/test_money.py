"""Amounts: integers in minor units, read strictly, written as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.platform.money import MAX_AMOUNT, Money, MoneyError, parse_amount, total


@given(st.integers(0, MAX_AMOUNT))
def test_what_is_written_is_read_again(amount: int) -> None:
    assert parse_amount(f"{amount // 100}.{amount % 100:02}", "GBP") == amount


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [("12.50", "GBP", 1250), (" 7 ", "GBP", 700), ("0.005", "GBP", 1), ("1.005", "EUR", 101), ("500", "JPY", 500)],
)
def test_smallest_units_follow_the_currency_and_round_half_up(text: str, currency: str, minor: int) -> None:
    assert parse_amount(text, currency) == minor


@pytest.mark.parametrize(
    "text", ["", "abc", "-1", "+1", "1e30", "1e999999", "NaN", "Infinity", "1_000", "1,000", "１２", "1.", "9" * 15]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(MoneyError):
        parse_amount(text, "GBP")


def test_money_is_shown_and_added_up() -> None:
    assert Money(123450, "GBP").format() == "£1,234.50"
    assert Money(500, "JPY").format("ja_JP") == "￥500"
    assert total([Money(1, "GBP"), Money(2, "GBP") * 3], "GBP") == Money(7, "GBP")
    with pytest.raises(AssertionError):
        total([Money(1, "EUR")], "GBP")
