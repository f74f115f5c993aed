"""Delivery and taxes as sums: nothing is lost or made by rounding, whatever the shop's rates."""

from __future__ import annotations

from fractions import Fraction
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.catalog.contracts import Rates, ShippingMethod, ShippingZone, TaxRate
from tidegate.checkout.charge_rules import (
    charges_of,
    offered_methods,
    share_out,
    tax_on_top_half_up,
    tax_within_half_up,
)
from tidegate.checkout.contracts import NO_CHARGES, BoughtLine, LinePart, NotShippedThere, ShippingUnknown
from tidegate.checkout.rules import to_pay, worth_of
from tidegate.platform.money import Money

amounts = st.integers(0, 10**10)
rates_bp = st.integers(0, 10_000)
CLASSES = ("standard", "reduced", "zero")


@given(amounts, st.lists(st.integers(0, 10**9), min_size=1, max_size=20))
def test_parts_add_up_and_are_fair(amount: int, weights: list[int]) -> None:
    parts = share_out(amount, weights)
    assert sum(parts) == amount
    assert min(parts) >= 0
    if whole := sum(weights):
        assert all(abs(part - Fraction(amount * w, whole)) < 1 for part, w in zip(parts, weights, strict=True))
        assert all(part == 0 for part, w in zip(parts, weights, strict=True) if w == 0)


@given(amounts, rates_bp)
def test_taxes_are_rounded_half_up_once(amount: int, rate_bp: int) -> None:
    on_top, within = Fraction(amount * rate_bp, 10_000), Fraction(amount * rate_bp, 10_000 + rate_bp)
    assert -Fraction(1, 2) <= on_top - tax_on_top_half_up(amount, rate_bp) < Fraction(1, 2)
    assert -Fraction(1, 2) <= within - tax_within_half_up(amount, rate_bp) < Fraction(1, 2)
    assert tax_within_half_up(amount, rate_bp) <= amount


@pytest.mark.parametrize(
    ("net", "rate_bp", "tax"), [(250, 2000, 50), (10, 500, 1), (1, 1900, 0), (1000, 1900, 190), (9_999, 550, 550)]
)
def test_tax_on_top_by_hand(net: int, rate_bp: int, tax: int) -> None:
    assert tax_on_top_half_up(net, rate_bp) == tax


@pytest.mark.parametrize(("gross", "rate_bp", "tax"), [(12_000, 2000, 2000), (11_900, 1900, 1900), (100, 1900, 16)])
def test_tax_within_by_hand(gross: int, rate_bp: int, tax: int) -> None:
    assert tax_within_half_up(gross, rate_bp) == tax


@st.composite
def baskets(draw: st.DrawFn) -> tuple[tuple[BoughtLine, ...], Money]:
    """Goods of a currency with 0, 2 or 3 decimals, and a discount."""
    currency = draw(st.sampled_from(("JPY", "GBP", "KWD")))
    line = st.builds(
        lambda sku, quantity, unit, tax_class: BoughtLine(
            sku, sku, quantity, Money(unit, currency), tax_class=tax_class
        ),
        st.text("ABC", min_size=1, max_size=3),
        st.integers(1, 20),
        st.integers(0, 10**6),
        st.sampled_from(CLASSES),
    )
    lines = tuple(draw(st.lists(line, min_size=1, max_size=6)))
    goods = sum(each.total.amount for each in lines)
    return lines, Money(draw(st.integers(0, goods)), currency)


@given(
    baskets(),
    st.dictionaries(st.sampled_from(CLASSES), rates_bp),
    st.lists(st.tuples(st.integers(1, 10**7), st.integers(0, 10**5)), max_size=4, unique_by=lambda tier: tier[0]),
    st.booleans(),
)
def test_the_total_is_the_sum_of_its_parts(
    basket: tuple[tuple[BoughtLine, ...], Money],
    taxes: dict[str, int],
    more_tiers: list[tuple[int, int]],
    include: bool,
) -> None:
    lines, discount = basket
    rates = a_shop(discount.currency, taxes=taxes, tiers=((0, 500), *sorted(more_tiers)), include=include)
    charges = charges_of(lines, discount, rates, country="GB", method=None)
    goods = sum(line.total.amount for line in lines) - discount.amount
    assert charges.shipping is not None
    added = 0 if include else sum(each.amount for each in charges.taxes)
    assert to_pay(lines, discount, charges).amount == goods + charges.shipping.amount.amount + added
    taxed = {line.tax_class for line in lines} & set(taxes)
    assert len(charges.taxes) == len(taxed)
    assert sum(each.base for each in charges.taxes) <= goods + charges.shipping.amount.amount
    if {line.tax_class for line in lines} <= set(taxes):
        assert sum(each.base for each in charges.taxes) == goods + charges.shipping.amount.amount


@pytest.mark.parametrize(("include", "worth"), [(True, 1000), (False, 1200)])
def test_an_item_that_comes_back_is_worth_its_price_and_its_tax(*, include: bool, worth: int) -> None:
    rates = a_shop("GBP", taxes={"standard": 2000}, tiers=((0, 500),), include=include)
    lines = (BoughtLine("LAMP", "The Lamp", 2, Money(1000, "GBP")),)
    charges = charges_of(lines, Money(0, "GBP"), rates, country="GB", method=None)
    assert worth_of([LinePart(1, 1)], lines, Money(0, "GBP"), charges) == Money(worth, "GBP")


def test_methods_by_zone_value_and_price() -> None:
    rates = a_shop("GBP", tiers=((0, 500), (5000, 0)))
    assert [each.amount.amount for each in offered_methods(rates, country="GB", goods=Money(4999, "GBP"))] == [500]
    assert [each.amount.amount for each in offered_methods(rates, country="GB", goods=Money(5000, "GBP"))] == [0]
    assert offered_methods(rates, country="FR", goods=Money(1, "GBP")) == ()
    assert offered_methods(rates, country="GB", goods=Money(1, "EUR")) == ()


def test_refusals_and_the_shop_without_rates() -> None:
    rates, nothing = a_shop("GBP", tiers=((0, 500),)), Money(0, "GBP")
    lines = (BoughtLine("LAMP", "The Lamp", 1, Money(250, "GBP")),)
    with pytest.raises(NotShippedThere):
        charges_of(lines, nothing, rates, country="FR", method=None)
    with pytest.raises(ShippingUnknown):
        charges_of(lines, nothing, rates, country="GB", method="balloon")
    none = Rates((), (), (), True)
    assert charges_of(lines, nothing, none, country="FR", method=None) is NO_CHARGES
    with pytest.raises(ShippingUnknown):
        charges_of(lines, nothing, none, country="FR", method="post")


def a_shop(
    currency: str, *, taxes: dict[str, int] | None = None, tiers: tuple[tuple[int, int], ...], include: bool = True
) -> Rates:
    zone = ShippingZone(uuid4(), "Home", frozenset({"GB"}), False)
    method = ShippingMethod(uuid4(), zone.id, "post", "Post", currency, tiers)
    found = tuple(TaxRate("GB", each, "VAT", rate) for each, rate in (taxes or {}).items())
    return Rates((zone,), (method,), found, include)
