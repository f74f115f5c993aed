"""Staff set delivery, a tax and a code; a shopper sees all three right and pays what was shown."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Visit
from tests.e2e.shopper import CHECKOUT, PAY_PAGE, Shopper, wait_for_mail
from tests.e2e.test_pages import administrator, inspect
from tests.servers import Shop

pytestmark = pytest.mark.browser


def sign_in(staff: Shopper) -> None:
    email, password = administrator(staff.shop)
    staff.go("/login")
    staff.page.get_by_label("E-mail").first.fill(email)
    staff.page.get_by_label("Password").first.fill(password)
    staff.press("Sign in")
    staff.page.wait_for_url(lambda url: "/login" not in url)


def fill(staff: Shopper, **typed: str) -> None:
    for name, text in typed.items():
        staff.page.locator(f"[name={name}]").last.fill(text)


def set_rates(staff: Shopper) -> None:
    staff.go("/admin/shipping")
    fill(staff, name="Home", countries="GB")
    staff.press("Make the zone")
    for name, code, steps in (("Royal Mail", "royal-mail", "3.95\n1000: 0"), ("Courier", "courier", "12.00")):
        staff.page.get_by_text("Add a way to send to Home").click()
        way = staff.page.locator("details form")
        way.get_by_label("Name that shoppers see").fill(name)
        way.get_by_label("Short name, for programs").fill(code)
        way.get_by_label("Price in GBP").fill(steps)
        way.get_by_role("button", name="Add").click()
        staff.sees("Saved.")
    inspect(staff, "admin-shipping-full")
    staff.go("/admin/taxes")
    staff.page.locator("#field-country").select_option("GB")
    fill(staff, name="VAT", percent="20")
    staff.press("Save the tax")
    staff.sees("Saved.")
    inspect(staff, "admin-taxes-full")
    staff.go("/admin/codes")
    fill(staff, code="TENTH", off="10")
    staff.press("Make the code")
    staff.sees("0 of 100")
    inspect(staff, "admin-codes-full")


def test_a_shopper_pays_with_a_code_and_sees_delivery_and_tax(new_shop: Callable[..., Shop], visit: Visit) -> None:
    shop = new_shop().start().wait_ready()
    staff = visit(shop)
    sign_in(staff)
    set_rates(staff)
    for width in (390, 1280):
        buys(shop, visit(shop, javascript=False, width=width), f"taxed{width}")


def buys(shop: Shop, guest: Shopper, name: str) -> None:
    guest.go("/products/party-bunting")
    guest.page.get_by_text("I have a code").click()
    guest.page.get_by_label("Code", exact=False).last.fill("tenth")
    guest.press("Buy now")
    guest.page.wait_for_url(CHECKOUT)
    guest.fill_in(email=f"{name}@example.com")
    guest.page.get_by_label("Country", exact=True).select_option("FR")
    guest.press("Show delivery and taxes for this country")
    guest.sees("We do not send to France. Choose another country.")
    guest.page.get_by_label("Country", exact=True).select_option("GB")
    guest.press("Show delivery and taxes for this country")
    guest.sees("Delivery and taxes for United Kingdom.")
    facts = guest.page.locator("dl.facts")
    expect(facts).to_contain_text("Royal Mail")
    expect(facts).to_contain_text("Your code")
    expect(facts).to_contain_text("of it VAT 20 %")
    guest.page.get_by_role("radio", name="Courier").check()
    guest.press("Order and pay")
    guest.sees("Nothing was ordered yet")
    expect(guest.page.get_by_label("Town", exact=True)).to_have_value("London")
    expect(facts).to_contain_text("£12.00")
    total = facts.locator(".total dd").inner_text()
    guest.press(f"Order and pay {total}")
    guest.page.wait_for_url(PAY_PAGE)
    guest.sees(f"Pay {total}")
    guest.pay()
    guest.is_thanked()
    expect(guest.page.locator("dl.facts").last).to_contain_text("of it VAT 20 %")
    mail = str(wait_for_mail(shop, f"{name}@example.com"))
    assert "Courier" in mail
    assert total in mail
