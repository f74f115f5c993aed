"""The staff's stock, drops and status in a browser: corrected, led from one room, measured; axe finds nothing."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Visit
from tests.e2e.shopper import Shopper, run, sku_of
from tests.e2e.test_pages import administrator, inspect
from tests.e2e.waiting_crowd import with_account
from tests.servers import Shop, wait_until

pytestmark = pytest.mark.browser

SAMPLES_S = 40.0
"""Two rounds of the scheduler, and a busy machine."""

PROCESSES = ("site-1", "worker", "scheduler")


def at_work(visit: Visit, shop: Shop, *, javascript: bool = True) -> Shopper:
    """A member of the staff, signed in."""
    staff = visit(shop, javascript=javascript)
    email, password = administrator(shop)
    staff.go("/login")
    staff.page.get_by_label("E-mail address").fill(email)
    staff.page.get_by_label("Password").fill(password)
    staff.press("Sign in")
    staff.page.wait_for_url(re.compile(f"^{shop.base_url}/(admin)?$"))
    return staff


def test_stock_is_found_and_corrected(shop: Shop, visit: Visit) -> None:
    sku = sku_of(shop, "jumbo-bag")
    staff = at_work(visit, shop)
    staff.go("/admin/stock")
    inspect(staff, "admin-stock")
    staff.page.get_by_label("SKU or title").fill(sku)
    staff.press("Find")
    staff.page.get_by_role("link", name=sku).click()
    on_hand = int(staff.page.get_by_label("On hand").input_value())
    staff.page.get_by_label("On hand").fill("0")
    staff.page.get_by_label("Why").fill("Counted")
    if on_hand:
        staff.page.get_by_label("On hand").fill(str(on_hand + 7))
    staff.press("Save")
    staff.sees("Saved.")
    staff.sees("Corrected: Counted")
    inspect(staff, "admin-stock-item")
    staff.page.get_by_label("On hand").fill("lots")
    staff.page.get_by_label("Why").fill("Counted again")
    staff.press("Save")
    staff.sees("a whole number")
    expect(staff.page.get_by_label("Why")).to_have_value("Counted again")
    inspect(staff, "admin-stock-wrong")
    staff.go("/admin/stock?q=nothing-like-this")
    inspect(staff, "admin-stock-empty")


def test_a_drop_from_its_making_to_its_end(shop: Shop, visit: Visit) -> None:
    sku = sku_of(shop, "paper-chain-kit")
    staff = at_work(visit, shop)
    page = staff.page
    staff.go("/admin/drops/new")
    inspect(staff, "admin-drop-new")
    page.get_by_label("Address").fill("Bunting")
    page.get_by_label("SKU").fill(sku)
    page.get_by_label("Items", exact=True).fill("3")
    page.get_by_label("Opens (UTC)").fill("2030-11-30T12:00")
    staff.press("Create the drop")
    staff.sees("Use small letters")
    inspect(staff, "admin-drop-wrong")
    page.get_by_label("Address").fill("bunting-night")
    staff.press("Create the drop")
    staff.sees("Saved.")
    inspect(staff, "admin-drop-scheduled")
    page.get_by_role("link", name="Change").click()
    inspect(staff, "admin-drop-edit")
    page.get_by_label("Items", exact=True).fill("2")
    page.get_by_label("Opens (UTC)").fill("2020-11-30T12:00")
    staff.press("Save")
    staff.sees("Open since")
    inspect(staff, "admin-drop-open")
    buyer = with_account(shop, visit(shop))
    buyer.go("/drops/bunting-night")
    buyer.press("Buy now")
    buyer.sees("Held for you")
    held = page.locator(".figures div", has_text="Held").locator("dd")
    expect(held).to_have_text("1")  # nobody loads the page again: it follows by itself
    page.get_by_role("link", name="Close").click()
    staff.sees("1 item is held")
    inspect(staff, "admin-drop-close")
    staff.press("Close the drop")
    staff.sees("Closed")
    inspect(staff, "admin-drop-closed")
    page.get_by_role("link", name="Open again").click()
    inspect(staff, "admin-drop-reopen")
    staff.go("/admin/drops")
    inspect(staff, "admin-drops")


def test_status_is_measured(shop: Shop, visit: Visit) -> None:
    run(shop, "drop", "replay", "midnight-cakestand")
    staff = at_work(visit, shop, javascript=False)

    def measured() -> bool:
        staff.go("/admin/status?minutes=30")
        return staff.page.get_by_text("Requests per second").first.is_visible()

    answered = set()

    def all_answered() -> bool:  # a sample tells of a moment: a process that had none to spare answers the next one
        staff.go("/admin/status?minutes=30")
        rows = staff.page.get_by_role("row")
        for name in PROCESSES:
            row = rows.filter(has=staff.page.get_by_role("rowheader", name=name, exact=True))
            if "Answers" in row.inner_text():
                answered.add(name)
        return answered == set(PROCESSES)

    wait_until(measured, timeout_s=SAMPLES_S, what="a sample")
    staff.sees("Oldest job that is not done")
    wait_until(all_answered, timeout_s=SAMPLES_S, what="samples in which every process answers")
    assert staff.page.locator("svg[role=img]").count() == 8
    staff = at_work(visit, shop)
    staff.go("/admin/status")
    inspect(staff, "admin-status")
    staff.go("/admin/drops/midnight-cakestand")
    inspect(staff, "admin-drop-live")
