"""Somebody who buys in a browser, in the words of the pages."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Page, expect

from tests.servers import Shop, wait_until

CHECKOUT = re.compile(r"/checkout/[0-9a-f-]{36}$")
PAY_PAGE = re.compile(r"/sandbox/pay/")
ORDER = re.compile(r"/orders/[0-9a-f-]{36}")
MAIL_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Shopper:
    """A visitor with one tab."""

    page: Page
    shop: Shop

    def go(self, path: str) -> None:
        """Open a page of the shop."""
        self.page.goto(self.shop.base_url + path)

    def press(self, name: str) -> None:
        """Press a button."""
        self.page.get_by_role("button", name=name).click()

    def sees(self, text: str | re.Pattern[str]) -> None:
        """Wait until the text can be read."""
        expect(self.page.get_by_text(text).first).to_be_visible()

    def reads(self, path: str, text: str) -> bool:
        """Open a page and say whether a text stands on it, at once: a page of the catalogue may be a second old."""
        self.go(path)
        return self.page.get_by_text(text).first.is_visible()

    def hold(self, slug: str) -> None:
        """Buy a product as far as its checkout."""
        self.go(f"/products/{slug}")
        self.press("Buy now")
        self.page.wait_for_url(CHECKOUT)

    def fill_in(self, *, email: str = "ada@example.com") -> None:
        """Fill in the checkout's form."""
        for label, text in (
            ("E-mail", email),
            ("Name", "Ada Lovelace"),
            ("Street and number", "12 St James's Square"),
            ("Postal code", "SW1Y 4JH"),
            ("Town", "London"),
        ):
            self.page.get_by_label(label, exact=True).fill(text)
        self.page.get_by_label("Country", exact=True).select_option("GB")

    def order(self, *, email: str = "ada@example.com") -> None:
        """From the checkout to the pay page."""
        self.fill_in(email=email)
        self.press("Order and pay")
        self.page.wait_for_url(PAY_PAGE)

    def pay(self, card: str = "Card that works") -> None:
        """From the pay page to the order."""
        self.page.get_by_role("radio", name=card).check()
        self.press("Pay £")
        self.page.wait_for_url(ORDER)

    def is_thanked(self) -> str:
        """See the order paid; its number."""
        expect(self.page.get_by_role("heading", level=1)).to_have_text("Thank you. It is yours.")
        return self.page.locator("main strong.num").inner_text()


def mails_to(shop: Shop, address: str) -> list[dict[str, Any]]:
    """Caught mails to an address."""
    status, body = shop.get("/dev/mail.json")
    assert status == 200, (status, body[:300])
    return [mail for mail in json.loads(body)["items"] if address in json.dumps(mail)]


def wait_for_mail(shop: Shop, address: str) -> dict[str, Any]:
    """The first mail to an address."""
    found = wait_until(lambda: mails_to(shop, address), timeout_s=MAIL_WITHIN_S, what=f"a mail to {address}")
    first: dict[str, Any] = found[0]
    return first


def run(shop: Shop, *command: str) -> None:
    """A `tidegate` command that must succeed."""
    done = shop.run(*command)
    assert done.returncode == 0, done.stdout + done.stderr


def is_available(shop: Shop, slug: str) -> bool:
    """What the API says of a product's first variant."""
    status, body = shop.get(f"/api/v1/products/{slug}")
    assert status == 200, (status, body[:300])
    available: bool = json.loads(body)["variants"][0]["available"]
    return available


def sku_of(shop: Shop, slug: str) -> str:
    """SKU of a product's first variant."""
    sku: str = json.loads(shop.get(f"/api/v1/products/{slug}")[1])["variants"][0]["sku"]
    return sku
