"""Money: integers in minor units, never floats."""

from __future__ import annotations

import decimal
import re
from collections.abc import Iterable
from functools import lru_cache

from babel.numbers import format_currency, get_currency_precision
from msgspec import Struct

MAX_AMOUNT = 10**12
"""Largest amount, in minor units, that any single sum may reach."""


PLAIN_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,8})?")
"""Digits and at most one point: no exponent, no separators, no signs."""


class MoneyError(ValueError):
    """The text is not an amount of money that this shop can carry."""


class Money(Struct, frozen=True):
    """`amount` is in minor units (pence, cents); `currency` is an ISO 4217 code."""

    amount: int
    currency: str

    def __mul__(self, quantity: int) -> Money:
        return Money(self.amount * quantity, self.currency)

    def format(self, locale: str = "en_GB") -> str:
        """As people of `locale` write it: £1,234.50."""
        return _format(self.amount, self.currency, locale)

    def plain(self) -> str:
        """As machines read it: 1234.50."""
        return str(decimal.Decimal(self.amount).scaleb(-get_currency_precision(self.currency)))


@lru_cache(maxsize=4_096)
def _format(amount: int, currency: str, locale: str) -> str:
    """Kept, since pages and mails repeat few prices and Babel takes tenths of a millisecond for each."""
    digits = get_currency_precision(currency)
    return format_currency(decimal.Decimal(amount).scaleb(-digits), currency, locale=locale)


def total(parts: Iterable[Money], currency: str) -> Money:
    """The sum; all parts must be of `currency`."""
    amount = 0
    for part in parts:
        assert part.currency == currency, f"{part.currency} added to {currency}"
        amount += part.amount
    return Money(amount, currency)


def parse_amount(text: str, currency: str) -> int:
    """Minor units from a decimal text such as `12.50`, rounded half up to the currency's smallest unit.

    Raises: MoneyError for anything that is not a plain, finite, non-negative number within MAX_AMOUNT.
    """
    plain = text.strip()
    if not PLAIN_NUMBER.fullmatch(plain):
        raise MoneyError(f"{plain[:40]!r} is not an amount of money")
    minor = (
        decimal.Decimal(plain)
        .scaleb(get_currency_precision(currency))
        .quantize(decimal.Decimal(1), decimal.ROUND_HALF_UP)
    )
    if minor > MAX_AMOUNT:
        raise MoneyError(f"{plain[:40]} is more than a price may be")
    return int(minor)
