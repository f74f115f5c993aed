"""Accounts in a browser: from the mail that makes one to sessions that end; axe finds nothing on any page."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Visit
from tests.e2e.shopper import Shopper, mails_to
from tests.e2e.test_pages import administrator, inspect
from tests.servers import Shop, wait_until

pytestmark = pytest.mark.browser

PASSWORD = "a long enough one"
NEW_PASSWORD = "another long enough one"


def fill(visitor: Shopper, **fields: str) -> None:
    """Type into fields by their labels."""
    for label, text in fields.items():
        visitor.page.get_by_label(label.replace("_", " ")).last.fill(text)


def mailed_link(shop: Shop, address: str, path: str) -> str:
    """The newest link to `path` that was mailed to an address."""
    link = re.compile(rf"{path}\?token=[A-Za-z0-9_%&;=/-]+")

    def found() -> list[str]:
        ids = [mail["id"] for mail in mails_to(shop, address)]
        texts = [shop.get(f"/dev/mail/{mail_id}")[1].decode() for mail_id in ids]
        return [match[0] for match in map(link.search, texts) if match]

    links: list[str] = wait_until(found, what=f"a mail to {address} with {path}")
    return links[0].replace("&amp;", "&")


def sign_in(visitor: Shopper, email: str, password: str) -> None:
    """By password."""
    visitor.go("/login")
    fill(visitor, **{"E-mail address": email, "Password": password})
    visitor.press("Sign in")


def test_an_account_in_a_browser(shop: Shop, visit: Visit) -> None:
    email = "mira.browser@example.com"
    phone, laptop = visit(shop), visit(shop, javascript=False)
    phone.go("/login")
    inspect(phone, "login")
    phone.page.get_by_role("link", name="Make an account").click()
    inspect(phone, "register")
    fill(phone, **{"E-mail address": email})
    phone.press("Mail me the link")
    phone.sees("Look into your mailbox")
    inspect(phone, "register-sent")
    confirm = mailed_link(shop, email, "/confirm")
    phone.go(confirm)
    inspect(phone, "confirm")
    fill(phone, **{"New password": PASSWORD})
    phone.press("Save and sign in")
    phone.page.wait_for_url(f"{shop.base_url}/account")
    phone.sees(email)
    phone.go(confirm)
    fill(phone, **{"New password": PASSWORD})
    phone.press("Save and sign in")
    phone.sees("This link was used already")
    inspect(phone, "link-spent")

    sign_in(laptop, email, "a wrong one")
    laptop.sees("The e-mail address or the password is not right.")
    expect(laptop.page.get_by_label("E-mail address")).to_have_value(email)
    laptop.go("/login?next=/account/orders")
    laptop.page.get_by_role("link", name="Sign in with a link by mail").click()
    fill(laptop, **{"E-mail address": email})
    laptop.press("Mail me the link")
    laptop.go(mailed_link(shop, email, "/login/link"))
    laptop.press("Sign in")
    laptop.page.wait_for_url(f"{shop.base_url}/account/orders")

    phone.go("/account")
    expect(phone.page.locator(".account-sessions li")).to_have_count(2)
    inspect(phone, "account")
    phone.page.get_by_role("button", name="End", exact=True).click()
    expect(phone.page.locator(".account-sessions li")).to_have_count(1)
    laptop.go("/account")
    laptop.page.wait_for_url(re.compile("/login"))


def test_a_reset_ends_other_sessions(shop: Shop, visit: Visit) -> None:
    email = "reset.browser@example.com"
    first, second = visit(shop), visit(shop)
    first.go("/register")
    fill(first, **{"E-mail address": email})
    first.press("Mail me the link")
    first.go(mailed_link(shop, email, "/confirm"))
    fill(first, **{"New password": PASSWORD})
    first.press("Save and sign in")
    first.page.wait_for_url(f"{shop.base_url}/account")
    second.go("/reset")
    inspect(second, "reset")
    fill(second, **{"E-mail address": email})
    second.press("Mail me the link")
    second.go(mailed_link(shop, email, "/reset/new"))
    inspect(second, "reset-new")
    fill(second, **{"New password": "short"})
    second.press("Save and sign in")
    second.sees("A password has 10 to 256 characters.")
    fill(second, **{"New password": NEW_PASSWORD})
    second.press("Save and sign in")
    second.page.wait_for_url(f"{shop.base_url}/account")
    first.go("/account")
    first.page.wait_for_url(re.compile("/login"))
    sign_in(first, email, NEW_PASSWORD)
    first.page.wait_for_url(f"{shop.base_url}/account")
    first.press("Sign out everywhere")
    first.page.wait_for_url(re.compile("/login"))
    second.go("/account")
    second.page.wait_for_url(re.compile("/login"))


def test_an_administrator_invites_staff(shop: Shop, visit: Visit) -> None:
    email = "new.staff@example.com"
    boss, invited = visit(shop), visit(shop)
    sign_in(boss, *administrator(shop))
    boss.page.wait_for_url(f"{shop.base_url}/admin")
    boss.go("/admin/people")
    fill(boss, **{"Their e-mail address": email})
    boss.press("Send the invitation")
    boss.sees("The invitation is on its way.")
    inspect(boss, "admin-people")
    invited.go(mailed_link(shop, email, "/invitation"))
    inspect(invited, "invitation")
    fill(invited, **{"New password": PASSWORD})
    invited.press("Save and sign in")
    invited.page.wait_for_url(f"{shop.base_url}/admin")
    invited.go("/admin/people")
    expect(invited.page.get_by_role("button", name="Send the invitation")).to_have_count(0)
    boss.go("/admin/people")
    boss.page.get_by_role("link", name=email).click()
    boss.sees("Invitation accepted")
    boss.page.get_by_label("Role", exact=True).select_option("customer")
    boss.press("Change the role")
    boss.sees("The role is changed.")
    inspect(boss, "admin-person")
    invited.go("/admin")
    invited.page.wait_for_url(re.compile("/login"))
