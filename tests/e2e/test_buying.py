"""A guest buys: paid at once, declined first, given up, and without JavaScript."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Visit
from tests.e2e.shopper import CHECKOUT, ORDER, PAY_PAGE, is_available, run, sku_of, wait_for_mail
from tests.servers import Shop, wait_until

pytestmark = pytest.mark.browser


def test_a_guest_buys_pays_and_is_told_by_mail_and_inbox(shop: Shop, visit: Visit) -> None:
    guest = visit(shop)
    guest.go("/")
    guest.page.get_by_role("link", name="Party Bunting").click()
    guest.press("Buy now")
    guest.page.wait_for_url(CHECKOUT)
    guest.sees("Held for you")
    guest.order(email="buys@example.com")
    guest.pay()
    number = guest.is_thanked()
    guest.sees("buys@example.com")

    mail = wait_for_mail(shop, "buys@example.com")
    assert number in str(mail)
    guest.go("/inbox")
    expect(guest.page.locator("article").first).to_contain_text(number)
    guest.page.get_by_role("link", name="See your order").click()
    guest.is_thanked()


def test_a_declined_card_is_told_and_another_one_pays(shop: Shop, visit: Visit) -> None:
    guest = visit(shop)
    guest.hold("rabbit-night-light")
    guest.order()
    guest.pay("Card that is declined")
    guest.sees("The bank declined the card. Nothing was charged.")
    guest.sees("Time left")
    guest.press("Try another card")
    guest.page.wait_for_url(PAY_PAGE)
    guest.pay()
    guest.is_thanked()


def test_a_bank_that_asks_is_answered(shop: Shop, visit: Visit) -> None:
    guest = visit(shop)
    guest.hold("rabbit-night-light")
    guest.order()
    guest.page.get_by_role("radio", name="Card that asks you to confirm").check()
    guest.press("Pay £")
    guest.press("No, do not pay")
    guest.page.wait_for_url(ORDER)
    guest.sees("The payment was not confirmed with the bank. Nothing was charged.")


def test_a_payment_that_is_reported_late_shows_by_itself(shop: Shop, visit: Visit) -> None:
    guest = visit(shop)
    guest.hold("spotty-bunting")
    guest.order()
    guest.pay("Card whose payment is never reported")
    guest.is_thanked()


def test_what_was_typed_is_kept_beside_what_is_wrong(shop: Shop, visit: Visit) -> None:
    guest = visit(shop)
    guest.hold("party-bunting")
    guest.fill_in(email="ada@example")
    guest.press("Order and pay")
    guest.sees("One field needs another look.")
    expect(guest.page.get_by_label("Town", exact=True)).to_have_value("London")
    expect(guest.page.get_by_label("E-mail", exact=True)).to_have_value("ada@example")
    guest.page.get_by_label("E-mail", exact=True).fill("ada@example.com")
    guest.press("Order and pay")
    guest.page.wait_for_url(PAY_PAGE)


def test_sending_the_buy_form_twice_holds_once(shop: Shop, visit: Visit) -> None:
    guest = visit(shop)
    guest.hold("party-bunting")
    first = guest.page.url
    guest.hold("party-bunting")
    assert guest.page.url == first


def test_another_shopper_sees_neither_hold_nor_order(shop: Shop, visit: Visit) -> None:
    owner, stranger, buyer = visit(shop), visit(shop), visit(shop)
    owner.hold("mini-paint-set-vintage")
    hold = owner.page.url
    owner.order()
    owner.pay()
    owner.is_thanked()
    buyer.hold("chilli-lights")
    for other in (stranger, buyer):
        for address in (hold, owner.page.url):
            answer = other.page.goto(address)
            assert answer is not None
            assert answer.status == 404


def test_a_purchase_works_without_javascript(shop: Shop, visit: Visit) -> None:
    guest = visit(shop, javascript=False, width=390)
    guest.go("/?query=chilli")
    guest.page.get_by_role("link", name="Chilli Lights").click()
    guest.page.get_by_label("Quantity").select_option("2")
    guest.press("Buy now")
    guest.page.wait_for_url(CHECKOUT)
    guest.sees("about 5 minutes")
    guest.order()
    guest.pay("Card that is declined")
    guest.sees("The bank declined the card.")
    guest.press("Try another card")
    guest.page.wait_for_url(PAY_PAGE)
    guest.pay("Card whose payment is never reported")
    guest.is_thanked()


def test_given_up_it_is_back_at_once(shop: Shop, visit: Visit) -> None:
    slug = "wooden-box-of-dominoes"
    run(shop, "stock", "set", sku_of(shop, slug), "1")
    guest = visit(shop)
    guest.hold(slug)
    wait_until(lambda: not is_available(shop, slug))  # what was kept of it is up to a second old
    guest.press("Give it up")
    guest.sees("went back to the shop. Nothing was charged.")
    wait_until(lambda: is_available(shop, slug))
