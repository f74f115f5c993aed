"""After the order, in a browser: staff give half back and send, a shopper cancels; axe finds nothing."""

from __future__ import annotations

import re

import pytest

from tests.e2e.conftest import Visit
from tests.e2e.shopper import Shopper
from tests.e2e.test_pages import administrator, inspect
from tests.servers import Shop

pytestmark = pytest.mark.browser


def bought(shopper: Shopper, slug: str) -> str:
    """A paid order; its id."""
    shopper.hold(slug)
    shopper.order(email="ada.after@example.com")
    shopper.pay()
    shopper.is_thanked()
    found = re.search(r"/orders/([0-9a-f-]{36})", shopper.page.url)
    assert found is not None
    return found[1]


def test_staff_give_half_back_and_send(shop: Shop, visit: Visit) -> None:
    guest, staff = visit(shop), visit(shop)
    order = bought(guest, "rabbit-night-light")
    email, password = administrator(shop)
    staff.go("/login")
    staff.page.get_by_label("E-mail address").fill(email)
    staff.page.get_by_label("Password").fill(password)
    staff.press("Sign in")
    staff.page.wait_for_url(re.compile(f"^{shop.base_url}/(admin)?$"))
    staff.go("/admin/orders")
    inspect(staff, "admin-orders")
    staff.go(f"/admin/orders/{order}?cancel=1")
    staff.sees("Cancel this order?")
    inspect(staff, "admin-order")
    staff.press("Give half back")
    staff.sees("Money given back")
    staff.page.get_by_label("Tracking number").fill("1Z999")
    staff.press("Mark as sent")
    staff.sees("Parcel sent")
    inspect(staff, "admin-order-sent")
    guest.go(f"/orders/{order}")
    guest.sees("Follow the parcel 1Z999")
    inspect(guest, "order-sent")


def test_a_shopper_cancels(shop: Shop, visit: Visit) -> None:
    guest = visit(shop)
    order = bought(guest, "party-bunting")
    guest.go(f"/orders/{order}")
    guest.page.get_by_role("link", name="Cancel this order").click()
    guest.sees("This cannot be undone.")
    inspect(guest, "order-cancel")
    guest.press("Cancel the order")
    guest.sees("All that you paid for this order was sent back")
    inspect(guest, "order-refunded")
    guest.go("/account/orders")
    guest.sees("Paid back")
    inspect(guest, "orders")
