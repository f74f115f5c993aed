"""Whole addresses and customers in a browser: a bill for somebody else, found by e-mail by the staff."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Visit
from tests.e2e.shopper import ORDER, PAY_PAGE, Shopper, wait_for_mail
from tests.e2e.test_access import _sign_in
from tests.e2e.test_pages import inspect
from tests.servers import Shop

pytestmark = pytest.mark.browser

EMAIL = "maximiliane.von-und-zu-hohenstein@a-very-long-domain.example.com"


@pytest.mark.parametrize("javascript", [True, False])
def test_the_bills_address_is_asked_for_only_when_it_is_another(shop: Shop, visit: Visit, javascript: bool) -> None:
    shopper = visit(shop, javascript=javascript)
    shopper.hold("jumbo-bag")
    name = shopper.page.get_by_label("Name on the bill")
    expect(name).to_be_hidden()
    shopper.page.get_by_label("The bill is for another address").check()
    expect(name).to_be_visible()


def test_a_bill_for_somebody_else_reaches_mail_and_staff(shop: Shop, visit: Visit) -> None:
    shopper, staff = visit(shop), visit(shop)
    _order_with_a_bill(shopper)
    mail = str(wait_for_mail(shop, EMAIL))
    assert "Analytical Engines" in mail
    _sign_in(staff)
    staff.go("/admin/customers")
    staff.page.get_by_label("Whole e-mail address").fill(EMAIL.upper())
    staff.press("Search")
    staff.page.get_by_role("link", name=EMAIL).click()
    expect(staff.page.get_by_role("heading", level=1)).to_have_text(EMAIL)
    staff.sees("Texas")
    inspect(staff, "customer")
    staff.page.locator("tbody a").first.click()
    staff.page.wait_for_url(ORDER)
    staff.sees("Analytical Engines International Holding Ltd")
    inspect(staff, "order-of-customer")
    staff.go("/admin/customers?email=nobody@example.com")
    staff.sees("Nobody fits.")


def _order_with_a_bill(shopper: Shopper) -> None:
    shopper.hold("rabbit-night-light")
    shopper.fill_in(email=EMAIL)
    shopper.page.get_by_label("Country", exact=True).select_option("US")
    shopper.page.get_by_label("The bill is for another address").check()
    shopper.page.get_by_label("Name on the bill").fill("Analytical Engines International Holding Ltd")
    shopper.press("Order and pay")
    shopper.sees(re.compile("On the bill: Enter the town"))
    inspect(shopper, "checkout-bill-wrong")
    for label, text in (
        ("State or province", "Texas"),
        ("Phone number", "+1 512 555 0100"),
        ("Street on the bill", "1 High Street"),
        ("Postal code on the bill", "SW1Y 4JH"),
        ("Town on the bill", "London"),
    ):
        shopper.page.get_by_label(re.compile(f"^{label}( optional)?$")).fill(text)
    shopper.page.get_by_label("Country on the bill").select_option("GB")
    shopper.press("Order and pay")
    shopper.page.wait_for_url(PAY_PAGE)
    shopper.pay()
    shopper.is_thanked()
    shopper.sees("Analytical Engines International Holding Ltd")
    inspect(shopper, "order-with-bill")
