"""Scarce things: a race for the last one, a drop that opens, a hold that runs out."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Visit
from tests.e2e.shopper import CHECKOUT, is_available, run, sku_of
from tests.e2e.test_pages import inspect
from tests.e2e.waiting_crowd import with_account
from tests.servers import Shop, wait_until
from tests.sizes import at_full_size

pytestmark = pytest.mark.browser

SETTLED = re.compile(r"/checkout/|/holds$")


def test_of_two_who_race_for_the_last_one_the_other_is_told_plainly(shop: Shop, visit: Visit) -> None:
    slug = "traditional-wooden-skipping-rope"
    run(shop, "stock", "set", sku_of(shop, slug), "1")
    racers = [visit(shop), visit(shop)]
    for racer in racers:
        racer.go(f"/products/{slug}")
        racer.sees("Only 1 left")
    for racer in racers:
        racer.page.locator("form[action='/holds']").evaluate("form => setTimeout(() => form.requestSubmit())")
    for racer in racers:
        racer.page.wait_for_url(SETTLED)

    winner, loser = sorted(racers, key=lambda racer: racer.page.url.endswith("/holds"))
    assert CHECKOUT.search(winner.page.url)
    expect(loser.page.get_by_role("heading", level=1)).to_have_text("It is gone")
    loser.sees("someone else was a moment faster. Nothing was charged.")
    loser.page.get_by_role("link", name="Look again").click()
    wait_until(lambda: loser.reads(f"/products/{slug}", "Sold out"))
    winner.order()
    winner.pay()
    winner.is_thanked()


def test_a_drop_counts_down_opens_and_sells(shop: Shop, visit: Visit) -> None:
    slug = "natural-slate-heart-chalkboard"
    visitors = (visit(shop), visit(shop), visit(shop, javascript=False))
    early, late, latest = (with_account(shop, each) for each in visitors)
    stranger = visit(shop)
    run(
        shop, "drop", "create", "slate-night", "--sku", sku_of(shop, slug), "--stock", "2", "--opens-at", "+10s",
        "--per-buyer", "1",
    )  # fmt: skip
    early.go("/drops/slate-night")
    early.sees("Opens soon")
    expect(early.page.get_by_role("timer")).to_have_text(re.compile(r"^0:(0\d|10)$"))
    buy = early.page.get_by_role("button", name="Buy now")
    expect(buy).to_be_hidden()
    place = early.page.locator("#buy").bounding_box()
    expect(buy).to_be_visible()
    now = early.page.locator("#buy").bounding_box()
    assert now == place, f"the form moved under the finger that waited for it: {place} -> {now}"
    expect(early.page.get_by_text("Open now").first).to_be_visible()
    buy.click()
    early.page.wait_for_url(CHECKOUT)

    held = early.page.url
    early.go("/drops/slate-night")
    assert early.page.url == held, "who holds something of a drop is led to it"
    late.go("/drops/slate-night")
    late.sees("1 of 2 left")
    stranger.go("/drops/slate-night")
    stranger.sees("There is one for each person, so you need an account to buy it.")
    expect(stranger.page.get_by_role("main").get_by_role("link", name="Sign in")).to_be_visible()
    expect(stranger.page.get_by_role("button", name="Buy now")).to_be_hidden()
    inspect(stranger, "drop-for-accounts")
    latest.go("/drops/slate-night")
    for each in (late, latest):
        each.press("Buy now")
    late.page.wait_for_url(CHECKOUT)
    latest.sees("someone else was a moment faster. Nothing was charged.")
    early.order()
    early.pay()
    early.is_thanked()
    early.go("/drops/slate-night")
    early.sees("1 of them is held by someone who has not paid yet.")


def test_too_early_is_told_without_javascript(shop: Shop, visit: Visit) -> None:
    slug = "4-traditional-spinning-tops"
    sku = sku_of(shop, slug)
    run(shop, "drop", "create", "tops", "--sku", sku, "--stock", "5", "--opens-at", "+1h", "--per-buyer", "1")
    guest = visit(shop, javascript=False)
    guest.go("/drops/tops")
    guest.sees("Opens soon")
    guest.sees("UTC")
    expect(guest.page.get_by_role("button", name="Buy now")).to_be_hidden()
    guest.page.get_by_role("link", name="Product").or_(guest.page.locator("dd a")).click()
    guest.sees("This is sold in a drop.")
    assert not is_available(shop, slug)


@at_full_size  # the same without a browser: tests/checkout, tests/inventory
def test_at_the_end_of_its_hold_a_unit_comes_back(new_shop: Callable[..., Shop], visit: Visit) -> None:
    shop = new_shop(environment={"TIDEGATE_HOLDS__TTL_S": "6"}).start().wait_ready()
    slug = "chilli-lights"
    run(shop, "stock", "set", sku_of(shop, slug), "1")
    dreamer, next_one = visit(shop), visit(shop)
    dreamer.hold(slug)
    wait_until(lambda: next_one.reads(f"/products/{slug}", "Sold out"))
    dreamer.sees("was kept for you until now and has gone back to the shop. Nothing was charged.")
    wait_until(lambda: next_one.reads(f"/products/{slug}", "Only 1 left"))
    next_one.hold(slug)
    next_one.order()
    next_one.pay()
    next_one.is_thanked()
