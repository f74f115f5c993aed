"""The whole journey of a shopper and of the staff, in one running shop; sums are reckoned again from the catalogue."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.e2e.conftest import Visit
from tests.e2e.shopper import CHECKOUT, ORDER, PAY_PAGE, Shopper, mails_to, run, wait_for_mail
from tests.e2e.test_accounts import mailed_link
from tests.e2e.test_pages import administrator, inspect
from tests.servers import Shop, wait_until
from tests.sizes import at_full_size, sized
from tidegate.platform.texts import catalogue_of

pytestmark = pytest.mark.browser

OFF_PERCENT = 10
TAX_PERCENT = 20
SHIPPING = 395
"""In minor units, as `set_up` sets it; goods for FREE_FROM or more are sent for nothing."""
FREE_FROM = 100_000
PASSWORD = "a long enough one"


@dataclass(frozen=True, slots=True)
class Sums:
    """What an order costs, in minor units."""

    goods: int
    discount: int
    shipping: int
    tax: int

    @property
    def total(self) -> int:
        """The price contains the tax."""
        return self.goods - self.discount + self.shipping


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Shop]:
    """A demo shop of this file's own, which asks for delivery and a tax, and has codes."""
    shop = Shop(tmp_path_factory.mktemp("journey") / "home").start()
    try:
        set_up(shop.wait_ready(), browser)
        yield shop
    finally:
        shop.stop()


def set_up(shop: Shop, browser: Browser) -> None:
    """What a merchant does first, on the staff's pages: delivery, taxes and a code; another code by a command."""
    run(shop, "voucher", "create", "SEEN", "--total", "50", "--per-buyer", "3", "--percent", str(OFF_PERCENT))
    context = browser.new_context(locale="en-GB", reduced_motion="reduce")
    staff = Shopper(context.new_page(), shop)
    sign_in(staff)
    staff.go("/admin/shipping")
    staff.page.get_by_label("Name", exact=True).fill("Home")
    staff.page.get_by_label("Countries").fill("GB")
    staff.press("Make the zone")
    for name, code, steps in (
        ("Post", "post", f"{SHIPPING / 100:.2f}\n{FREE_FROM // 100}: 0"),
        ("Courier", "courier", "12.00"),
    ):
        staff.page.get_by_text("Add a way to send to Home").click()
        way = staff.page.locator("details form")
        way.get_by_label("Name that shoppers see").fill(name)
        way.get_by_label("Short name, for programs").fill(code)
        way.get_by_label("Price in GBP").fill(steps)
        way.get_by_role("button", name="Add").click()
        expect(staff.page.get_by_role("rowheader", name=name, exact=True)).to_be_visible()
    inspect(staff, "admin-shipping-full")
    staff.go("/admin/taxes")
    tax = staff.page.locator("form[action='/admin/taxes']")
    tax.get_by_label("Country").select_option("GB")
    tax.get_by_label("Name that shoppers see").fill("VAT")
    tax.get_by_label("Percent").fill(str(TAX_PERCENT))
    staff.press("Save the tax")
    expect(staff.page.get_by_role("rowheader", name="United Kingdom")).to_be_visible()
    inspect(staff, "admin-taxes-full")
    staff.go("/admin/codes")
    staff.page.locator("[name=code]").fill("TENTH")
    staff.page.locator("[name=off]").fill(str(OFF_PERCENT))
    staff.press("Make the code")
    staff.sees("0 of 100")
    inspect(staff, "admin-codes-full")
    context.close()


def sign_in(staff: Shopper) -> None:
    """As the first administrator, whatever the language."""
    email, password = administrator(staff.shop)
    staff.go("/login")
    staff.page.locator("#field-email").fill(email)
    staff.page.locator("#field-password").fill(password)
    staff.page.locator("form[action='/login'] button.button-primary").click()
    staff.page.wait_for_url(re.compile(f"^{staff.shop.base_url}/(admin)?$"))


def price_of(shop: Shop, slug: str) -> int:
    """What the catalogue says of a product's first variant, in minor units."""
    status, body = shop.get(f"/api/v1/products/{slug}")
    assert status == 200, (status, body[:300])
    amount: int = json.loads(body)["variants"][0]["price"]["amount"]
    return amount


def reckon(shop: Shop, items: dict[str, int]) -> Sums:
    """The sums of an order with a code: halves go up; the tax is that part of the gross sum which is tax."""
    goods = sum(price_of(shop, slug) * quantity for slug, quantity in items.items())
    discount = goods * OFF_PERCENT // 100
    shipping = 0 if goods - discount >= FREE_FROM else SHIPPING
    gross = goods - discount + shipping
    tax = int(gross * TAX_PERCENT / (100 + TAX_PERCENT) + 0.5)
    return Sums(goods, discount, shipping, tax)


def pounds(minor: int) -> str:
    """As a page in English writes it."""
    return f"£{minor / 100:,.2f}"


def euro_style(minor: int) -> str:
    """As a page in German writes pounds."""
    return f"{minor / 100:,.2f}".translate(str.maketrans(",.", ".,")) + "\u00a0£"


def fact(shopper: Shopper, name: str) -> Locator:
    """What stands beside a name in the list of sums."""
    term = shopper.page.get_by_role("term").filter(has_text=re.compile(f"^{re.escape(name)}"))
    return shopper.page.locator("dl.facts > div").filter(has=term).locator("dd")


def shows(shopper: Shopper, sums: Sums) -> None:
    """The sums of a checkout or an order, in English."""
    expect(fact(shopper, "Your code")).to_have_text(f"−{pounds(sums.discount)}")
    expect(fact(shopper, "Post")).to_have_text(pounds(sums.shipping))
    expect(fact(shopper, "of it VAT 20 %")).to_have_text(pounds(sums.tax))
    expect(fact(shopper, "Total")).to_have_text(pounds(sums.total))


def buy_with_a_code(guest: Shopper, items: dict[str, int], code: str, email: str) -> tuple[str, str, Sums]:
    """From the product's pages to the paid order; its path, its number, and what it cost."""
    for slug, quantity in items.items():
        guest.go(f"/products/{slug}")
        guest.page.get_by_label("Quantity").select_option(str(quantity))
        guest.press("Add to cart")
        guest.page.wait_for_url("**/cart")
    guest.page.get_by_label("Code").fill(code)
    guest.press("Use the code")
    sums = reckon(guest.shop, items)
    expect(fact(guest, "Goods")).to_have_text(pounds(sums.goods))
    expect(fact(guest, f"Code {code}")).to_have_text(f"−{pounds(sums.discount)}")
    guest.press("Go to the checkout")
    guest.page.wait_for_url(CHECKOUT)
    guest.fill_in(email=email)
    guest.press("Show delivery and taxes for this country")
    shows(guest, sums)
    guest.press(f"Order and pay {pounds(sums.total)}")
    guest.page.wait_for_url(PAY_PAGE)
    guest.page.get_by_role("radio", name="Card that works").check()
    guest.press(f"Pay {pounds(sums.total)}")
    guest.page.wait_for_url(ORDER)
    number = guest.is_thanked()
    shows(guest, sums)
    return "/" + guest.page.url.split("/", 3)[3].split("?")[0], number, sums


def test_a_shopper_from_an_account_to_money_back(shop: Shop, visit: Visit) -> None:
    email = "mira.journey@example.com"
    mira = visit(shop)
    mira.go("/register")
    mira.page.get_by_label("E-mail address").fill(email)
    mira.press("Mail me the link")
    mira.sees("Look into your mailbox")
    mira.go(mailed_link(shop, email, "/confirm"))
    mira.page.get_by_label("New password").fill(PASSWORD)
    mira.press("Save and sign in")
    mira.page.wait_for_url(f"{shop.base_url}/account")
    mira.sees(email)

    mira.page.get_by_label("Search the shop").fill("cocktial parasols")
    mira.page.get_by_label("Search the shop").press("Enter")
    mira.sees("Did you mean")
    mira.page.get_by_role("link", name="cocktail parasols", exact=True).click()
    mira.page.get_by_role("link", name="Cocktail Parasols").first.click()
    mira.page.wait_for_url("**/products/box-of-24-cocktail-parasols")

    mira.go("/collections/lights")
    mira.page.get_by_role("main").get_by_role("button", name="Follow", exact=True).click()
    mira.sees("We tell you whenever a drop of Lights opens.")
    mira.go("/account/follows")
    expect(mira.page.get_by_role("link", name="Lights", exact=True)).to_be_visible()

    items = {"box-of-24-cocktail-parasols": 3, "party-bunting": 1}
    order, number, sums = buy_with_a_code(mira, items, "TENTH", email)
    wait_until(lambda: number in str(mails_to(shop, email)), what="the confirmation of the order")
    mira.go("/account/orders")
    expect(mira.page.locator(f"a[href='{order}']")).to_be_visible()
    mira.page.locator(f"a[href='{order}']").click()
    mira.page.get_by_role("link", name="Cancel this order").click()
    mira.sees("This cannot be undone.")
    inspect(mira, "order-cancel")
    mira.press("Cancel the order")
    mira.sees(f"{pounds(sums.total)} given back")
    mira.sees("All that you paid for this order was sent back")
    inspect(mira, "order-refunded")
    mira.go("/account/orders")
    mira.sees("Paid back")
    inspect(mira, "orders")


def test_staff_give_half_back_and_send(shop: Shop, visit: Visit) -> None:
    guest, staff = visit(shop), visit(shop)
    order, number, sums = buy_with_a_code(guest, {"chilli-lights": 2}, "SEEN", "half.journey@example.com")
    sign_in(staff)
    staff.go("/admin/orders")
    staff.page.get_by_label("Order number").fill(number)
    staff.page.get_by_role("main").get_by_role("button", name="Search").click()
    inspect(staff, "admin-orders")
    staff.page.locator(f"a[href='/admin{order}']").click()
    staff.page.wait_for_url(f"**/admin{order}")
    staff.go(f"/admin{order}?cancel=1")
    staff.sees("Cancel this order?")
    inspect(staff, "admin-order")
    staff.press("Give half back")
    staff.sees(f"Money given back {pounds(sums.total // 2)}")
    expect(fact(staff, "Can be given back")).to_have_text(pounds(sums.total - sums.total // 2))
    staff.page.get_by_label("Tracking number").fill("1Z999JOURNEY")
    staff.press("Mark as sent")
    staff.sees("Parcel sent")
    inspect(staff, "admin-order-sent")
    guest.go(order)
    guest.sees("Follow the parcel 1Z999JOURNEY")
    inspect(guest, "order-sent")
    guest.sees(f"{pounds(sums.total // 2)} given back")
    staff.go("/admin/codes")
    row = staff.page.get_by_role("row").filter(has=staff.page.get_by_role("rowheader", name="SEEN", exact=True))
    expect(row).to_contain_text("1 of 50")


@pytest.mark.parametrize("width", sized(full=[390, 1280], brief=[390]))
def test_a_shopper_pays_with_a_code_and_sees_delivery_and_tax(shop: Shop, visit: Visit, width: int) -> None:
    guest, name = visit(shop, javascript=False, width=width), f"taxed{width}"
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
    expect(facts).to_contain_text("Post")
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


@at_full_size  # test_access.py walks all pages of shoppers in German
def test_a_phone_in_german_and_in_the_dark(shop: Shop, visit: Visit) -> None:
    words = catalogue_of("de_DE").gettext
    guest = visit(shop, width=390, theme="dark", locale="de-DE")
    page = guest.page
    guest.go("/")
    expect(page.locator("html")).to_have_attribute("lang", "de-DE")
    page.get_by_role("searchbox").fill("cocktial parasols")
    page.get_by_role("searchbox").press("Enter")
    page.get_by_role("link", name="cocktail parasols", exact=True).click()
    page.get_by_role("link", name="Cocktail Parasols").first.click()
    page.get_by_role("button", name=words("Add to cart")).click()
    page.wait_for_url("**/cart")
    page.locator("#field-code").fill("TENTH")
    page.get_by_role("button", name=words("Use the code")).click()
    sums = reckon(shop, {"box-of-24-cocktail-parasols": 1})
    expect(fact(guest, words("Goods"))).to_have_text(euro_style(sums.goods))
    page.get_by_role("button", name=words("Go to the checkout")).click()
    page.wait_for_url(CHECKOUT)
    for name, text in (("email", "nacht@example.com"), ("name", "Ada Lovelace"), ("line1", "12 St James's Square"),
                       ("postal_code", "SW1Y 4JH"), ("city", "London")):  # fmt: skip
        page.locator(f"#field-{name}").fill(text)
    page.locator("#field-country").select_option("GB")
    page.get_by_role("button", name=words("Show delivery and taxes for this country")).click()
    expect(fact(guest, words("Total"))).to_have_text(euro_style(sums.total))
    page.locator("main form .button-primary").click()
    page.wait_for_url(PAY_PAGE)
    page.get_by_role("radio").first.check()
    page.locator("main form .button-primary").first.click()
    page.wait_for_url(ORDER)
    expect(page.get_by_role("heading", level=1)).to_have_text(words("Thank you. It is yours."))
    page.get_by_role("link", name=words("Cancel this order")).click()
    page.locator("main form .button-primary").click()
    expect(page.get_by_text(re.compile(re.escape(euro_style(sums.total)))).first).to_be_visible()
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"{wide} px too wide"
