"""Delivery, taxes and totals: pure sums in minor units, each rounding rule a function of its own. No I/O.

| rule | what it rounds |
|---|---|
| `share_out` | a sum over weights, by largest remainder (Hamilton): the parts add up to the sum |
| `tax_on_top_half_up` | tax that is added to a net sum |
| `tax_within_half_up` | tax that is contained in a gross sum |

A tax is reckoned once per order and rate, on the sum of what it applies to, not per line. A code's discount is shared
out over the goods by their prices. Delivery follows the goods: it is taxed as they are, in their proportions.
"""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.catalog.contracts import Rates, ShippingMethod, TaxRate
from tidegate.checkout.contracts import (
    NO_CHARGES,
    BoughtLine,
    Charges,
    NotShippedThere,
    OfferedMethod,
    ShippingChosen,
    ShippingUnknown,
    TaxLine,
)
from tidegate.platform.money import Money

FULL_BP = 10_000
"""All of something, in basis points."""


def share_out(amount: int, weights: Sequence[int]) -> list[int]:
    """`amount` in parts as `weights` are to each other, by largest remainder; of equal remainders the first gets more.

    The parts add up to `amount`, and none is further than one minor unit from its exact share. Where all weights are 0
    the first part gets everything. Units: minor units; nothing here is negative.
    """
    assert amount >= 0, "only a sum that is there can be shared out"
    assert min(weights) >= 0, "a share is nothing or more"
    whole = sum(weights)
    if whole == 0:
        return [amount] + [0] * (len(weights) - 1)
    parts = [amount * weight // whole for weight in weights]
    order = sorted(range(len(weights)), key=lambda place: -(amount * weights[place] % whole))
    for place in order[: amount - sum(parts)]:
        parts[place] += 1
    return parts


def tax_on_top_half_up(net: int, rate_bp: int) -> int:
    """Tax that is added to `net`, to the nearest minor unit; a half becomes a whole."""
    return (2 * net * rate_bp + FULL_BP) // (2 * FULL_BP)


def tax_within_half_up(gross: int, rate_bp: int) -> int:
    """Tax that `gross` contains, to the nearest minor unit; a half becomes a whole."""
    whole = FULL_BP + rate_bp
    return (2 * gross * rate_bp + whole) // (2 * whole)


def offered_methods(rates: Rates, *, country: str, goods: Money) -> tuple[OfferedMethod, ...]:
    """The ways to send goods of that value to a country, the cheapest first. Value: prices less discount."""
    zone = next((each for each in rates.zones if country in each.countries), None)
    zone = zone or next((each for each in rates.zones if each.rest), None)
    if zone is None:
        return ()
    found = [
        OfferedMethod(each.code, each.name, Money(_tier(each, goods.amount), goods.currency))
        for each in rates.methods
        if each.zone_id == zone.id and each.currency == goods.currency
    ]
    return tuple(sorted(found, key=lambda each: (each.amount.amount, each.code)))


def charges_of(
    lines: Sequence[BoughtLine], discount: Money, rates: Rates, *, country: str, method: str | None
) -> Charges:
    """What comes to goods on their way to a country: delivery and taxes.

    `method` is a method's code; None: the cheapest that fits. A shop without methods sends without a charge.
    Raises: NotShippedThere, ShippingUnknown.
    """
    if rates.empty:
        if method is not None:
            raise ShippingUnknown(f"this shop has no delivery {method[:40]!r}; nothing was charged")
        return NO_CHARGES
    off = share_out(discount.amount, [line.total.amount for line in lines])
    values = [line.total.amount - less for line, less in zip(lines, off, strict=True)]
    goods = Money(sum(values), discount.currency)
    shipping = _chosen(rates, country=country, goods=goods, method=method)
    taxes = _taxes(lines, values, shipping.amount.amount if shipping else 0, rates, country)
    return Charges(shipping, taxes, rates.prices_include_tax)


def _tier(method: ShippingMethod, goods: int) -> int:
    """What a method costs for goods of that value: the price of the highest tier that the value reaches."""
    return max((tier for tier in method.tiers if tier[0] <= goods), key=lambda tier: tier[0])[1]


def _chosen(rates: Rates, *, country: str, goods: Money, method: str | None) -> ShippingChosen | None:
    if not rates.methods:
        if method is not None:
            raise ShippingUnknown(f"this shop has no delivery {method[:40]!r}; nothing was charged")
        return None
    offered = offered_methods(rates, country=country, goods=goods)
    if not offered:
        raise NotShippedThere(f"this shop does not send to {country}; nothing was charged", country=country)
    if method is None:
        return ShippingChosen(offered[0].code, offered[0].name, offered[0].amount)
    found = next((each for each in offered if each.code == method), None)
    if found is None:
        raise ShippingUnknown(
            f"there is no delivery {method[:40]!r} to {country}; nothing was charged",
            methods=[each.code for each in offered],
        )
    return ShippingChosen(found.code, found.name, found.amount)


def _taxes(
    lines: Sequence[BoughtLine], values: Sequence[int], shipping: int, rates: Rates, country: str
) -> tuple[TaxLine, ...]:
    """One tax line per rate that applies, the highest first."""
    by_class = {each.tax_class: each for each in rates.taxes if each.country == country}
    if not by_class:
        return ()
    classes = sorted({line.tax_class for line in lines}, key=lambda each: -_rate_bp(by_class.get(each)))
    in_class = [sum(v for line, v in zip(lines, values, strict=True) if line.tax_class == each) for each in classes]
    taxes = []
    for tax_class, goods, sent in zip(classes, in_class, share_out(shipping, in_class), strict=True):
        rate = by_class.get(tax_class)
        if rate is None:
            continue
        work_out = tax_within_half_up if rates.prices_include_tax else tax_on_top_half_up
        amount = work_out(goods + sent, rate.rate_bp)
        taxes.append(TaxLine(rate.name, rate.rate_bp, goods + sent, amount))
    return tuple(taxes)


def _rate_bp(rate: TaxRate | None) -> int:
    return -1 if rate is None else rate.rate_bp
