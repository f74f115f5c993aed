"""A waiting room in a browser: no turn, no goods; a turn, and staff who see the line move; axe finds nothing."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Visit
from tests.e2e.shopper import CHECKOUT, run, sku_of
from tests.e2e.test_pages import inspect
from tests.e2e.test_staff import staff_of
from tests.servers import Shop, wait_until

pytestmark = pytest.mark.browser

ROOM = "/admin/drops/lit-night/room"


def test_the_line_moves_and_whose_turn_it_is_buys(shop: Shop, visit: Visit) -> None:
    sku = sku_of(shop, "giant-garden-thermometer")
    run(shop, "drop", "create", "lit-night", "--sku", sku, "--stock", "2", "--opens-at", "now", "--room", "arrival")
    stranger, staff = visit(shop), staff_of(shop, visit)
    stranger.go("/drops/lit-night")
    stranger.page.get_by_role("link", name="Go to the waiting room").click()
    wait_until(lambda: stranger.reads("/drops/lit-night/room", "Sign in and take a place"))
    inspect(stranger, "room-before-sign-in")
    stranger.press("Sign in and take a place")
    stranger.page.wait_for_url(re.compile("/login"))

    staff.go(ROOM)
    staff.sees("Waiting room: Giant Garden")
    expect(staff.page.locator("#live .badge")).to_have_text("Open")
    staff.press("Pause")
    staff.go("/drops/lit-night/room")
    staff.press("Take a place")
    staff.sees("You are number 1 of 1.")
    staff.sees("Nobody is let in at the moment.")
    inspect(staff, "room-in-line")
    staff.go(ROOM)
    staff.press("Go on")
    expect(staff.page.locator(".figures")).to_contain_text("Choosing1")
    staff.page.get_by_label("Message to all who wait").fill("Two are left.")
    staff.page.get_by_label("At most so many people a minute").fill("60")
    staff.press("Save")
    staff.sees("Saved.")
    inspect(staff, "admin-room")
    staff.press("Pause")
    expect(staff.page.locator("#live .badge")).to_have_text("Paused")

    staff.go("/drops/lit-night/room")
    staff.sees("Choose before the time is over")
    inspect(staff, "room-turn")
    staff.press("Buy now")
    staff.page.wait_for_url(CHECKOUT)
    staff.go(ROOM)
    expect(staff.page.locator(".figures")).to_contain_text("Took something1")
