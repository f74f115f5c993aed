"""Writing to followers in a browser: staff send a post and see it arrive, the follower finds it."""

from __future__ import annotations

import re

import pytest

from tests.e2e.conftest import Visit
from tests.e2e.test_following import told, with_account
from tests.e2e.test_pages import inspect
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
