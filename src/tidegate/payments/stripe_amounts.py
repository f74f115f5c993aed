"""Sums as Stripe writes them: its smallest units differ from ours for some currencies.

Source: "Supported currencies" in Stripe's documentation (zero-decimal, three-decimal, special cases). We count the
digits as the Unicode CLDR does, as `platform.money` says.
"""

from __future__ import annotations

from babel.numbers import get_currency_precision

from tidegate.payments.contracts import ProviderRefused
from tidegate.platform.money import Money

NO_DECIMALS = frozenset("BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF".split())
THREE_DECIMALS = frozenset("BHD JOD KWD OMR TND".split())
"""All others have two, also ISK and UGX, whose two are always 00."""


class ImpossibleAmount(ValueError):
    """Stripe names a sum that our units cannot express, so it is none that was asked for."""


def to_stripe(money: Money) -> int:
    """The sum in Stripe's smallest units. Raises: ProviderRefused for a sum that Stripe could not take exactly."""
    digits = _digits(money.currency)
    amount, rest = _shift(money.amount, digits - get_currency_precision(money.currency))
    if rest or (digits == 3 and amount % 10):
        raise ProviderRefused(f"Stripe cannot take exactly {money.amount} {money.currency}")
    return amount


def from_stripe(amount: int, currency: str) -> Money:
    """The sum in our units, from Stripe's. Raises: ImpossibleAmount."""
    code = currency.upper()
    ours, rest = _shift(amount, get_currency_precision(code) - _digits(code))
    if rest:
        raise ImpossibleAmount(f"{amount} {code}")
    return Money(ours, code)


def _digits(code: str) -> int:
    return 0 if code in NO_DECIMALS else 3 if code in THREE_DECIMALS else 2


def _shift(amount: int, places: int) -> tuple[int, int]:
    """`amount` moved by decimal places, and what is lost by it."""
    return (amount * 10**places, 0) if places >= 0 else divmod(amount, 10**-places)
