"""Writing to followers in a browser: staff send a post and see it arrive, the follower finds it."""

from __future__ import annotations

import re

import psycopg
import pytest
from playwright.sync_api import expect

from benchmarks.followers import add_followers
from tests.e2e.conftest import Visit
from tests.e2e.test_following import told, with_account
from tests.e2e.test_pages import administrator, inspect
from tests.e2e.test_staff import staff_of
from tests.servers import Shop

pytestmark = pytest.mark.browser

EMAIL = "ada.reads@example.com"
TITLE = "New lamps on Friday"


def test_staff_write_to_followers_who_find_it_in_inbox_mailbox_and_feed(shop: Shop, visit: Visit) -> None:
    ada, staff = visit(shop), staff_of(shop, visit)
    with_account(shop, ada, EMAIL)
    ada.go("/collections/lights")
    ada.press("Follow")
    ada.sees("whenever a drop of Lights opens")

    staff.go("/admin/sends")
    staff.page.get_by_label("To the followers of").select_option("collection:lights")
    staff.page.get_by_label("Title").fill(TITLE)
    staff.page.get_by_label("Text").fill("Twelve of them.\nAt noon.")
    staff.page.get_by_label("in their inbox").uncheck()
    staff.press("Send it")
    staff.sees("Choose at least one way for it to reach people.")
    staff.page.get_by_label("in their inbox").check()
    staff.page.get_by_label("by mail").check()
    staff.press("How many, how long?")
    staff.sees(re.compile(r"followers? will be told\."))
    inspect(staff, "admin-sends-estimate")
    staff.press("Send it")
    staff.sees("Saved.")
    staff.sees(TITLE)
    assert "Twelve of them." in told(shop, EMAIL, TITLE)
    staff.sees(re.compile(r"\b(\d*[2-9]|\d+\d) of \1 messages are done\."))
    inspect(staff, "admin-sends")

    ada.go("/inbox")
    ada.page.get_by_role("link", name="See it in the shop").first.click()
    ada.sees("Twelve of them.")
    inspect(ada, "post")
    ada.page.get_by_role("link", name="All news").click()
    ada.sees(TITLE)
    inspect(ada, "posts")


def test_staff_write_a_text_beside_its_preview_and_mail_it_to_themselves(shop: Shop, visit: Visit) -> None:
    staff = staff_of(shop, visit)
    staff.go("/admin/messages")
    staff.page.get_by_role("row", name="A drop opens de").get_by_role("link").click()
    look = staff.page.frame_locator("iframe[name=preview]")
    expect(look.get_by_role("heading", name="Midnight Lamps ist offen")).to_be_visible()
    expect(look.frame_locator("iframe").get_by_role("link", name="Zur Aktion")).to_be_visible()
    staff.page.get_by_label("Subject", exact=True).fill("{{ titel }}")
    staff.press("Show the preview")
    expect(look.get_by_text("Line 1: There is no titel here.")).to_be_visible()
    staff.page.get_by_label("Subject", exact=True).fill("Jetzt: {{ title }}")
    staff.press("Show the preview")
    expect(look.get_by_role("heading", name="Jetzt: Midnight Lamps")).to_be_visible()
    email, _password = administrator(shop)
    staff.press(f"Mail it to {email}")
    staff.sees(f"On its way to {email}, with example values.")
    assert "Midnight Lamps" in told(shop, email, "Jetzt: Midnight Lamps")
    staff.press("Save")
    staff.sees("Saved. Messages use it within seconds.")


def test_staff_watch_a_send_advance_pause_it_and_go_on(shop: Shop, visit: Visit) -> None:
    with psycopg.connect(shop.endpoints()["database_url"]) as conn:
        add_followers(conn, kind="collection", key="watched", count=300, own_addresses=False)
    staff = staff_of(shop, visit)
    staff.go("/admin/sends")
    staff.page.get_by_label("To the followers of").select_option("collection:watched")
    staff.page.get_by_label("Title").fill("Watch this")
    staff.page.get_by_label("Text").fill("It takes a while.")
    card = staff.page.get_by_role("article").filter(has_text="Watch this")
    with psycopg.connect(shop.endpoints()["database_url"]) as conn:
        conn.execute("LOCK TABLE notify.inbox_messages IN EXCLUSIVE MODE")  # nobody can be told meanwhile
        staff.press("Send it")
        expect(card.get_by_text("Being sent")).to_be_visible()
        card.get_by_role("button", name="Pause").click()
        expect(card.get_by_text("Paused")).to_be_visible()
        conn.rollback()
    card.get_by_role("button", name="Go on").click()
    staff.page.evaluate("window.sameVisit = true")
    expect(card.get_by_text("300 of 300 messages are done.")).to_be_visible()
    expect(card.get_by_text("Sent", exact=True)).to_be_visible()
    assert "Delivered 300" in " ".join(card.inner_text().split())
    assert staff.page.evaluate("window.sameVisit"), "it was seen without loading the page anew"
    with psycopg.connect(shop.endpoints()["database_url"]) as conn:
        conn.execute("DELETE FROM notify.recipients WHERE address_sealed = ''")
