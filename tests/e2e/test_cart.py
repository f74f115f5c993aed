"""A shopper fills a cart, changes it and pays for all of it at once."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Visit
from tests.e2e.shopper import CHECKOUT, PAY_PAGE, Shopper
from tests.e2e.test_pages import administrator, inspect
from tests.servers import Shop

pytestmark = pytest.mark.browser


def add(guest: Shopper, slug: str) -> None:
    guest.go(f"/products/{slug}")
    guest.press("Add to cart")
    guest.page.wait_for_url("**/cart")


@pytest.mark.parametrize(("width", "javascript"), [(1280, True), (390, False)])
def test_a_cart_is_filled_changed_and_paid(shop: Shop, visit: Visit, width: int, javascript: bool) -> None:
    guest = visit(shop, width=width, javascript=javascript)
    add(guest, "party-bunting")
    add(guest, "chilli-lights")
    add(guest, "rabbit-night-light")
    quantity = guest.page.get_by_label("Quantity Party Bunting")
    quantity.fill("many")
    guest.press("Change the quantity of Party Bunting")
    guest.sees("The quantity must be a whole number.")
    expect(quantity).to_have_value("many")
    quantity.fill("2")
    guest.press("Change the quantity of Party Bunting")
    expect(quantity).to_have_value("2")
    guest.press("Remove Rabbit Night Light")
    guest.sees("3 items.")
    if javascript:
        expect(guest.page.get_by_role("navigation", name="Shop").get_by_role("link", name="Cart")).to_have_text(
            "Cart 3"
        )
    guest.press("Go to the checkout")
    guest.page.wait_for_url(CHECKOUT)
    guest.sees("Chilli Lights")
    guest.fill_in(email="cart@example")
    guest.press("Order and pay")
    guest.sees("One field needs another look.")
    expect(guest.page.get_by_label("Town", exact=True)).to_have_value("London")
    guest.page.get_by_label("E-mail", exact=True).fill("cart@example.com")
    guest.press("Order and pay")
    guest.page.wait_for_url(PAY_PAGE)
    guest.pay()
    guest.is_thanked()
    guest.go("/cart")
    guest.sees("There is nothing in your cart yet.")


def test_the_carts_pages_are_accessible(shop: Shop, visit: Visit) -> None:
    guest = visit(shop)
    guest.go("/cart")
    inspect(guest, "cart-empty")
    guest.page.set_viewport_size({"width": 1280, "height": 800})
    add(guest, "party-bunting")
    add(guest, "white-hanging-heart-t-light-holder")
    inspect(guest, "cart")
    guest.page.get_by_label("Quantity Party Bunting").fill("5000")
    guest.press("Change the quantity of Party Bunting")
    guest.sees("from 1 to 100")
    inspect(guest, "cart-wrong")
    guest.page.get_by_label("Code").fill("NOPE")
    guest.press("Use the code")
    guest.sees("This shop has no such code.")
    inspect(guest, "cart-wrong-code")


def test_an_address_book_is_filled_and_used(shop: Shop, visit: Visit) -> None:
    owner = visit(shop)
    owner.go("/login")
    email, password = administrator(shop)
    owner.page.get_by_label("E-mail address").fill(email)
    owner.page.get_by_label("Password").fill(password)
    owner.press("Sign in")
    owner.page.wait_for_url(re.compile(f"^{shop.base_url}/(admin)?$"))
    owner.go("/account/addresses")
    inspect(owner, "addresses-empty")
    for label, text in (("Name", "Ada Lovelace"), ("Street and number", "1 Long Lane"), ("Town", "Leeds")):
        owner.page.get_by_label(label, exact=True).fill(text)
    owner.page.get_by_label("Postal code").fill("LS1 4AP")
    owner.page.get_by_label("Country").select_option("GB")
    owner.press("Keep the address")
    owner.sees("1 Long Lane")
    inspect(owner, "addresses")
    owner.page.get_by_role("link", name="Change the address 1 Long Lane").click()
    inspect(owner, "address-change")
    owner.hold("party-bunting")
    expect(owner.page.get_by_label("Town", exact=True)).to_have_value("Leeds")
    inspect(owner, "checkout-with-addresses")
    owner.press("Give it up")
