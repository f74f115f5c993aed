"""Following in a browser: with an account and without, until the mail and the message are there, and until it stops."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Visit
from tests.e2e.shopper import Shopper, mails_to, run, sku_of
from tests.e2e.test_accounts import fill, mailed_link
from tests.e2e.test_pages import inspect
from tests.servers import Shop, wait_until

pytestmark = pytest.mark.browser

PASSWORD = "a long enough one"
DROP = "follow-night"
GOODS = "red-toadstool-led-night-light"


def with_account(shop: Shop, visitor: Shopper, email: str) -> None:
    """Make an account, as people do."""
    visitor.go("/register")
    fill(visitor, **{"E-mail address": email})
    visitor.press("Mail me the link")
    visitor.sees("Look into your mailbox")
    visitor.go(mailed_link(shop, email, "(?<!/follow)/confirm"))
    fill(visitor, **{"New password": PASSWORD})
    visitor.press("Save and sign in")
    visitor.page.wait_for_url(f"{shop.base_url}/account")


def told(shop: Shop, email: str, subject: str) -> str:
    """The text of the mail with this subject, once it is there."""

    def found() -> list[str]:
        ids = [mail["id"] for mail in mails_to(shop, email) if mail["subject"] == subject]
        return [shop.get(f"/dev/mail/{mail_id}")[1].decode() for mail_id in ids]

    texts: list[str] = wait_until(found, timeout_s=40, what=f"a mail to {email}: {subject}")
    assert len(texts) == 1
    return texts[0]


def test_followers_are_told_when_a_drop_opens(shop: Shop, visit: Visit) -> None:
    ada, kai = visit(shop), visit(shop, javascript=False)
    with_account(shop, ada, "ada.follows@example.com")
    opens_in = ("--stock", "3", "--per-buyer", "1", "--opens-at")
    run(shop, "drop", "create", DROP, "--sku", sku_of(shop, GOODS), *opens_in, "+2h")
    title = ada_follows(ada)
    kai_follows(kai, title)
    ada.go("/inbox")
    ada.sees("Nothing here yet.")
    with other_tab(ada) as (tab, listening):
        for page in (ada.page, tab):
            page.evaluate("window.there = true")
        run(shop, "drop", "replay", DROP)
        for page in (tab, ada.page):
            expect(page.locator("[data-unread-count]")).to_have_text("1", timeout=40_000)
            assert page.evaluate("window.there"), "without a reload"
        ada.sees("1 message is new.")
        expect(ada.page.get_by_role("heading", name=f"{title} is open")).to_be_visible()
        expect(tab.locator("[data-inbox-said]")).to_have_text(f"New message: {title} is open")
        assert listening == [], "one tab listens for all"
    told(shop, "ada.follows@example.com", f"{title} is open")
    mail = told(shop, "kai.follows@example.com", f"{title} is open")

    ada.go("/")
    expect(ada.page.locator("[data-unread-count]")).to_have_text("1")
    ada.page.get_by_role("link", name="Inbox").click()
    ada.sees("1 message is new.")
    inspect(ada, "inbox-new")
    ada.press("Mark as read")
    expect(ada.page.get_by_text("New", exact=True)).to_have_count(0)
    expect(ada.page.locator("[data-unread-count]")).to_be_hidden()
    ada.page.get_by_role("link", name="See it in the shop").click()
    ada.sees("Open now")

    stop = re.search(r"/unsubscribe\?token=[A-Za-z0-9_-]+", mail)
    assert stop is not None
    ada.go(stop[0])
    inspect(ada, "unsubscribe")
    kai.go(stop[0])
    kai.press("Stop these messages")
    kai.sees(f"We write to you no more about {title}.")
    ada_chooses(ada)


@contextmanager
def other_tab(ada: Shopper) -> Iterator[tuple[Page, list[str]]]:
    """Another tab of the same browser, on the first page, and the streams that it opens."""
    tab = ada.page.context.new_page()
    streams: list[str] = []
    tab.on("request", lambda asked: streams.append(asked.url) if "/inbox/events" in asked.url else None)
    tab.goto(f"{ada.shop.base_url}/")
    yield tab, streams
    tab.close()


def ada_chooses(ada: Shopper) -> None:
    """Choose what to be told, and when not."""
    ada.go("/account/messages")
    inspect(ada, "preferences")
    ada.page.get_by_label("Drops that open, Mail").uncheck()
    ada.page.get_by_label("Language of messages about what you follow").select_option("Deutsch")
    ada.page.get_by_label("From").fill("22:00")
    ada.page.get_by_label("Until").fill("07:00")
    ada.press("Choose it")
    ada.press("Save")
    ada.sees("It holds for all that is sent from now on.")
    expect(ada.page.get_by_label("Drops that open, Mail")).not_to_be_checked()
    expect(ada.page.get_by_label("Language of messages about what you follow")).to_have_value("de_DE")
    expect(ada.page.get_by_label("Until")).to_have_value("07:00")
    expect(ada.page.get_by_label("Time zone")).not_to_have_value("")


def ada_follows(ada: Shopper) -> str:
    """Follow the drop by one press; the drop's title."""
    ada.go(f"/drops/{DROP}")
    title = ada.page.get_by_role("heading", level=1).inner_text()
    inspect(ada, "drop-to-follow")
    ada.press("Tell me when it opens")
    ada.sees(f"We tell you when {title} opens.")
    return title


def kai_follows(kai: Shopper, title: str) -> None:
    """Follow the drop by a mailed link, without scripts."""
    kai.go(f"/drops/{DROP}")
    kai.press("Tell me when it opens")
    fill(kai, **{"E-mail address": "kai.follows@example.com"})
    kai.press("Mail me the link")
    kai.sees("Look into your mailbox")
    kai.go(mailed_link(kai.shop, "kai.follows@example.com", "/follow/confirm"))
    kai.press("Yes, tell me")
    kai.sees(f"We write to you when {title} opens.")


def test_a_product_that_is_back_is_told_and_follows_are_ended(shop: Shop, visit: Visit) -> None:
    slug = "grow-a-flytrap-or-sunflower-in-tin"
    ada = visit(shop)
    ada.go(f"/products/{slug}")
    title = ada.page.get_by_role("heading", level=1).inner_text()
    ada.press("Tell me when it is back")
    fill(ada, **{"E-mail address": "ada.waits@example.com"})
    ada.press("Mail me the link")
    inspect(ada, "follow-sent")
    confirm = mailed_link(shop, "ada.waits@example.com", "/follow/confirm")
    ada.go(confirm)
    inspect(ada, "follow-confirm")
    ada.press("Yes, tell me")
    ada.sees(f"We write to you when {title} is back.")
    with_account(shop, ada, "ada.waits@example.com")
    ada.go("/collections/lights")
    ada.press("Follow")
    ada.sees("whenever a drop of Lights opens")
    ada.sees(title)
    inspect(ada, "follows")
    run(shop, "stock", "set", sku_of(shop, slug), "4")
    told(shop, "ada.waits@example.com", f"{title} is back")
    run(shop, "stock", "set", sku_of(shop, slug), "0")
    ada.go("/account/follows")
    expect(ada.page.get_by_text(title)).to_have_count(0)
    ada.press("Stop following Lights")
    ada.sees("Nothing yet.")
    ada.go(f"{confirm}x")
    ada.sees("This link is too old or was cut off on its way.")
