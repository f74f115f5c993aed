"""A rehearsal that is played beside the shop, as staff see it in a browser: while it goes on, and its report."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Visit
from tests.e2e.shopper import run
from tests.e2e.test_pages import inspect
from tests.e2e.test_staff import staff_of
from tests.servers import Shop, wait_until
from tests.sizes import at_full_size

pytestmark = pytest.mark.browser
DROP = "for-a-rehearsal"


@contextmanager
def rehearsing(shop: Shop, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Forty people who come within some seconds for five pieces of this shop."""
    sizes = ("--shoppers", "40", "--within", "15s", "--connections", "8", "--seed", "7")
    target = ("--target", shop.base_url, "--drop", DROP, "--out", str(folder))
    command = [sys.executable, "-m", "tidegate", "rehearse", "sellout-race", *sizes, *target]
    with subprocess.Popen(command, env=shop.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as played:
        try:
            yield played
        finally:
            played.kill()


@at_full_size  # tests/admin/test_rehearsals.py looks at its pages, tests/rehearse plays
def test_staff_watch_a_rehearsal_and_open_its_report(shop: Shop, visit: Visit, tmp_path: Path) -> None:
    run(shop, "drop", "create", DROP, "--sku", "22114", "--stock", "5", "--opens-at", "now", "--guests")
    staff = staff_of(shop, visit)
    staff.go("/admin/rehearsals")
    staff.sees("No rehearsal is under way.")
    staff.page.evaluate("window.sameVisit = true")
    arrived = staff.page.locator("dl.figures div").filter(has_text="Arrived").locator("dd")
    with rehearsing(shop, tmp_path) as played:
        told = shop.home / "rehearsals" / "now.json"
        wait_until(told.exists, timeout_s=60.0, what="a rehearsal under way")
        staff.sees("Under way: Sell-out race")
        staff.sees(f"40 simulated shoppers, {shop.base_url}")
        expect(arrived).to_have_text(re.compile(r"[1-9]"))
        expect(staff.page.locator("figure.chart")).to_have_count(6)
        before = int(arrived.inner_text())
        expect(arrived).not_to_have_text(str(before))
        assert int(arrived.inner_text()) > before
        inspect(staff, "admin-rehearsal-under-way")
        said, complained = played.communicate(timeout=60)
    assert played.returncode in (0, 1), said + complained
    staff.sees("No rehearsal is under way.")
    outcome = "40 shoppers came for 5 units, 5 bought"
    staff.sees(re.compile(outcome))
    assert staff.page.evaluate("window.sameVisit"), "it was seen without loading the page anew"
    staff.go("/admin/rehearsals")
    inspect(staff, "admin-rehearsals")

    with staff.page.expect_download() as kept:
        staff.page.get_by_role("link", name="Sell-out race").click()
    page = kept.value.path().read_text(encoding="utf-8")
    staff.page.goto("about:blank")
    staff.page.set_content(page)
    staff.sees(re.compile(outcome))
    inspect(staff, "rehearsal-report")
    staff.page.set_viewport_size({"width": 390, "height": 844})
    table = staff.page.get_by_role("region", name="Objectives")
    assert table.evaluate("box => box.scrollWidth <= box.clientWidth"), "a phone shows what holds and what does not"
