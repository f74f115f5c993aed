"""Staff at work in a browser: a price that is seen at once, a thousand products at once; axe finds nothing."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Visit
from tests.e2e.shopper import Shopper, run
from tests.e2e.test_pages import administrator, inspect
from tests.servers import Shop

pytestmark = pytest.mark.browser
LAMPS = 1_000


def staff_of(shop: Shop, visit: Visit) -> Shopper:
    """Somebody of the staff, signed in."""
    staff = visit(shop)
    email, password = administrator(shop)
    staff.go("/login")
    staff.page.get_by_label("E-mail address").fill(email)
    staff.page.get_by_label("Password").fill(password)
    staff.press("Sign in")
    staff.page.wait_for_url(re.compile(f"^{shop.base_url}/(admin)?$"))
    return staff


def test_a_changed_price_is_seen_at_once(shop: Shop, visit: Visit) -> None:
    guest, staff = visit(shop), staff_of(shop, visit)
    guest.go("/products/chilli-lights")
    before = guest.page.locator(".price-large").first.inner_text()
    guest.go("/search?query=chilli")
    assert guest.page.get_by_text(before).first.is_visible()
    staff.go("/admin/products?query=chilli")
    inspect(staff, "admin-products")
    staff.page.get_by_role("link", name="Chilli Lights").click()
    inspect(staff, "admin-product")
    prices = staff.page.get_by_label(re.compile("^Price of (?!a new)"))
    prices.first.fill("1,5")
    staff.press("Save")
    staff.sees("Write the price as a number such as 12.50.")
    expect(prices.first).to_have_value("1,5")
    inspect(staff, "admin-product-wrong")
    prices.first.fill("77.35")
    staff.press("Save")
    staff.sees("Saved. The shop shows it now.")
    for path in ("/products/chilli-lights", "/search?query=chilli"):
        guest.go(path)  # once: what is read now must be the new price
        assert guest.page.get_by_text("£77.35").first.is_visible(), path
        assert guest.page.get_by_text(before).count() == 0, path


def test_a_thousand_products_change_at_once(shop: Shop, visit: Visit, tmp_path: Path) -> None:
    listed = tmp_path / "lamps.csv"
    with listed.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["Handle", "Title", "Variant SKU", "Variant Price", "Variant Inventory Qty", "Status"])
        rows.writerows(
            [f"bulk-lamp-{n:04}", f"Bulk lamp {n:04}", f"BULK-{n:04}", "20.00", "5", "active"] for n in range(LAMPS)
        )
    run(shop, "import", str(listed))
    guest, staff = visit(shop), staff_of(shop, visit)
    staff.go("/admin/products?query=bulk+lamp&sort=title")
    staff.press("Change all 1,000 that fit")
    staff.sees("1,000 products are chosen.")
    inspect(staff, "admin-bulk")
    staff.page.get_by_label("Prices").select_option("percent_down")
    staff.page.get_by_label("By how much").fill("15")
    staff.page.get_by_label("Add tags").fill("sale")
    staff.press("Preview")
    staff.sees("Change 1,000 products?")
    staff.sees("1,000 prices change.")
    staff.sees("£17.00")
    inspect(staff, "admin-bulk-preview")
    guest.go("/products/bulk-lamp-0999")
    guest.sees("£20.00")
    staff.press("Change 1,000 products")
    staff.sees("The products are changed.")
    for lamp in ("0000", "0500", "0999"):
        guest.go(f"/products/bulk-lamp-{lamp}")
        guest.sees("£17.00")


def test_all_rooms_are_seen_and_the_present_one_on_a_phone(shop: Shop, visit: Visit) -> None:
    staff = staff_of(shop, visit)
    rooms = staff.page.locator(".site-nav")
    staff.go("/admin/settings")
    assert rooms.evaluate("nav => nav.scrollWidth - nav.clientWidth") <= 0, "a room is out of sight"
    staff.page.set_viewport_size({"width": 390, "height": 800})
    staff.go("/admin/settings")
    expect(rooms.locator("[aria-current]")).to_be_in_viewport(ratio=0.9)


def test_a_product_and_a_collection_are_made(shop: Shop, visit: Visit) -> None:
    guest, staff = visit(shop), staff_of(shop, visit)
    staff.go("/admin/collections")
    staff.page.get_by_label("Name of a new collection").fill("Things of the harbour and the long way home")
    staff.press("Make it")
    staff.sees("The collection is made.")
    inspect(staff, "admin-collections")
    staff.go("/admin/products/new")
    inspect(staff, "admin-product-new")
    staff.page.get_by_label("Title").fill("Harbour lamp of brushed steel with a rather long name")
    staff.page.get_by_label("Status").select_option("active")
    staff.page.get_by_label("Things of the harbour").check()
    staff.page.get_by_label("SKU of a new variant").fill("HARBOUR-1")
    staff.page.get_by_label("Price of a new variant", exact=True).fill("49.90")
    staff.page.get_by_label("Items of a new variant").fill("3")
    staff.press("Make the product")
    staff.sees("The product is made.")
    guest.go("/collections/things-of-the-harbour-and-the-long-way-home")
    guest.page.get_by_role("link", name="Harbour lamp").first.click()
    guest.sees("£49.90")
    staff.go("/admin/collections/things-of-the-harbour-and-the-long-way-home?remove=1")
    staff.sees("Take this collection away?")
    inspect(staff, "admin-collection-remove")
    staff.press("Take it away")
    staff.sees("The collection is gone.")
