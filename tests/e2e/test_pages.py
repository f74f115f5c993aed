"""Every page, in both themes and at both widths: axe finds nothing, nothing is too wide, and it stays light."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.base import AXE_SCRIPT, AxeResults

from tests.e2e.conftest import Visit
from tests.e2e.shopper import PAY_PAGE, Shopper, run, sku_of, wait_for_mail
from tests.servers import Shop, wait_until
from tests.sizes import sized

pytestmark = pytest.mark.browser

WIDEST_BYTES = 51_200
"""What a page may weigh on the wire without its pictures."""

SCREENSHOTS = os.environ.get("TEST_SCREENSHOTS", "")
"""A folder: each page is put there as a picture, to be looked at."""

EVERY_RULE: dict[str, Any] = {}
RULES_OF_LOOKS: dict[str, Any] = {"runOnly": {"type": "rule", "values": ["color-contrast", "target-size"]}}
LOOKS: tuple[tuple[Literal["light", "dark"], int, dict[str, Any] | None], ...] = (
    ("light", 1280, EVERY_RULE),
    ("dark", 390, sized(full=RULES_OF_LOOKS, brief=None)),
)
"""Theme, width and what axe looks for, if it does; most rules do not depend on looks, and each run takes time."""

PRELOADED: dict[str, Any] = {"assets": ["media"]}
"""Style sheets are fetched again only for a rule that is experimental, and so not asked for."""

IN_FRAMES = False
"""A frame shows a mail in a sandbox: axe cannot run there, and knocks in vain."""

RUN_AXE = "options => axe.run(options).then(({violations}) => ({violations}))"
"""All that passed is many times as much, and nobody reads it."""

WEIGHT = """() => performance.getEntriesByType('navigation').concat(performance.getEntriesByType('resource'))
    .filter(entry => !entry.name.includes('/art/')).reduce((sum, entry) => sum + entry.transferSize, 0)"""


def inspect(shopper: Shopper, name: str) -> None:
    """Look at the page that is open in both themes and at both widths."""
    page = shopper.page
    page.wait_for_load_state("load")  # scripts are modules: they have run by then
    weight = page.evaluate(WEIGHT)
    assert weight <= WIDEST_BYTES, f"{name} weighs {weight} bytes"
    page.evaluate(AXE_SCRIPT)
    for theme, width, rules in LOOKS:
        page.emulate_media(color_scheme=theme)
        page.set_viewport_size({"width": width, "height": 800})
        if rules is not None:
            options = {"resultTypes": ["violations"], "preload": PRELOADED, "iframes": IN_FRAMES, **rules}
            found = AxeResults(page.evaluate(RUN_AXE, options))
            assert found.violations_count == 0, f"{name}, {theme}, {width} px: {found.generate_report()}"
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{name} is {wide} px wider than {width} px"
        if SCREENSHOTS:
            page.screenshot(path=Path(SCREENSHOTS) / f"{name}-{width}-{theme}.png", full_page=True)


def test_pages_for_looking_around(shop: Shop, visit: Visit) -> None:
    guest = visit(shop)
    for name, path in (
        ("home", "/"),
        ("found", "/search?query=bag"),
        ("found-mistyped", "/search?query=cakestnad"),
        ("nothing-found", "/search?query=unobtainium"),
        ("collection", "/collections/lights"),
        ("product", "/products/jumbo-bag"),
        ("product-single", "/products/white-hanging-heart-t-light-holder"),
        ("product-sold-out", "/products/grow-a-flytrap-or-sunflower-in-tin"),
        ("product-in-drop", "/products/midnight-cakestand"),
        ("demo-drop", "/drops/midnight-cakestand"),
        ("no-such-page", "/products/nothing-like-this"),
        ("inbox-empty", "/inbox"),
        ("login", "/login"),
        ("mails", "/dev/mail"),
        ("problems", "/problems"),
    ):
        guest.go(path)
        inspect(guest, name)


def test_a_mistyped_word_leads_to_the_product(shop: Shop, visit: Visit) -> None:
    guest = visit(shop)
    guest.go("/")
    guest.page.get_by_label("Search the shop").fill("cakestnad")
    guest.page.get_by_label("Search the shop").press("Enter")
    guest.sees("Did you mean")
    guest.page.get_by_role("link", name="cakestand", exact=True).click()
    guest.sees("Found for “cakestand”")
    guest.page.get_by_role("link", name="Cakestand").first.click()
    guest.page.wait_for_url("**/products/*cakestand*")


def test_pages_of_a_drop(shop: Shop, visit: Visit) -> None:
    slug = "box-of-24-cocktail-parasols"
    sku = sku_of(shop, slug)
    terms = ("--stock", "2", "--opens-at", "+1h", "--per-buyer", "2", "--guests")
    run(shop, "drop", "create", "parasols", "--sku", sku, *terms)
    guest, other = visit(shop), visit(shop)
    guest.go("/drops/parasols")
    inspect(guest, "drop-scheduled")
    run(shop, "drop", "replay", "parasols")
    guest.go("/drops/parasols")
    inspect(guest, "drop-open")
    other.go("/drops/parasols")
    guest.page.get_by_label("Quantity").select_option("2")
    guest.press("Buy now")
    guest.sees("Held for you")
    other.press("Buy now")
    inspect(other, "gone")
    other.go("/drops/parasols")
    inspect(other, "drop-sold-out")
    run(shop, "drop", "close", "parasols")
    other.go("/drops/parasols")
    inspect(other, "drop-over")


def test_pages_of_buying(shop: Shop, visit: Visit) -> None:
    guest = visit(shop)
    guest.hold("rabbit-night-light")
    inspect(guest, "checkout")
    checkout = guest.page.url
    guest.page.evaluate("for (const field of document.querySelectorAll('[required]')) field.required = false")
    guest.press("Order and pay")
    guest.sees("fields need another look")
    inspect(guest, "checkout-wrong")
    guest.go("/")
    guest.sees("held for you")
    inspect(guest, "home-with-a-hold")
    guest.page.goto(checkout)
    guest.fill_in(email="a.rather.long.name.for.an.address@mail.department.example.com")
    guest.page.get_by_label("Street and number").fill("58 Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch")
    guest.press("Order and pay")
    guest.page.wait_for_url(PAY_PAGE)
    inspect(guest, "pay")
    pay_page = guest.page.url
    guest.pay("Card that is declined")
    inspect(guest, "order-failed")
    guest.press("Try another card")
    guest.page.wait_for_url(PAY_PAGE)
    payment = guest.page.url
    guest.page.goto(pay_page)
    inspect(guest, "pay-over")
    order = guest.page.get_by_role("link", name="Go back to your order").get_attribute("href")
    guest.go((order or "").split("?")[0])
    guest.sees("Waiting for payment")
    inspect(guest, "order-waiting")
    guest.page.goto(payment)
    guest.pay()
    guest.is_thanked()
    inspect(guest, "order-paid")
    wait_for_mail(shop, "department.example.com")
    guest.go("/inbox")
    inspect(guest, "inbox")
    guest.hold("party-bunting")
    guest.press("Give it up")
    inspect(guest, "given-up")


def test_pages_of_the_staff(shop: Shop, visit: Visit) -> None:
    guest = visit(shop)
    guest.hold("chilli-lights")
    guest.order()
    guest.pay()
    number = guest.is_thanked()
    answer = guest.page.goto(f"{shop.base_url}/admin")
    assert answer is not None
    assert answer.status == 404

    staff = visit(shop)
    staff.go("/admin")
    assert staff.page.url.startswith(f"{shop.base_url}/login")
    email, password = administrator(shop)
    staff.page.get_by_label("E-mail address").fill(email)
    staff.page.get_by_label("Password").fill(password)
    staff.press("Sign in")
    staff.page.wait_for_url(re.compile(f"^{shop.base_url}/(admin)?$"))
    staff.go("/admin")
    staff.sees("Newest orders")
    staff.sees(number)
    staff.sees("Midnight Cakestand")
    inspect(staff, "admin")


def administrator(shop: Shop) -> tuple[str, str]:
    """Address and password of the first administrator, as the start told them."""
    told = wait_until(lambda: re.search(r"Administrator: (\S+@\S+), password (\S+)", shop.said()), what="a password")
    return told[1], told[2]
