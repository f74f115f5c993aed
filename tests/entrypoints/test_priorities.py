"""What requests are worth: by address, and for staff by their session too."""

from __future__ import annotations

import pytest

from tests.entrypoints.test_roles import TABLE, For
from tidegate.entrypoints.priorities import Priorities, priority_of
from tidegate.platform.overload.rules import Priority


@pytest.mark.parametrize(
    ("request_line", "worth"),
    [
        ("POST /api/v1/purchases", Priority.PAY),
        ("POST /api/v1/orders", Priority.PAY),
        ("GET /api/v1/orders", Priority.BROWSE),
        ("GET /api/v1/orders/0192", Priority.PAY),
        ("POST /orders/0192/pay", Priority.PAY),
        ("GET /checkout/0192", Priority.PAY),
        ("POST /checkout/0192/give-up", Priority.HOLD),
        ("POST /api/v1/payments/webhooks/stripe", Priority.PAY),
        ("POST /api/v1/holds", Priority.HOLD),
        ("POST /holds", Priority.HOLD),
        ("GET /cart", Priority.HOLD),
        ("PUT /api/v1/cart/lines", Priority.HOLD),
        ("POST /api/v1/drops/lamp/places", Priority.JOIN),
        ("POST /drops/lamp/room", Priority.JOIN),
        ("POST /login", Priority.JOIN),
        ("GET /login?next=/cart", Priority.JOIN),
        ("GET /api/v1/drops/lamp/status", Priority.STATUS),
        ("GET /drops/lamp/room", Priority.STATUS),
        ("GET /static/abc/web/site.css", Priority.STATUS),
        ("GET /", Priority.BROWSE),
        ("HEAD /products/lamp", Priority.BROWSE),
        ("GET /search?query=/checkout/", Priority.BROWSE),
        ("GET /checkouts/0192", Priority.BROWSE),
        ("BREW /api/v1/purchases", Priority.BROWSE),
        ("GET /sitemap.xml", Priority.REPORTS),
        ("GET /api/v1/drops/lamp/entries?page=2", Priority.REPORTS),
        ("GET /readyz", Priority.HEALTH),
        ("GET /admin", Priority.STAFF),
        ("POST /api/v1/admin/orders/0192/cancel", Priority.STAFF),
        ("GET /administration", Priority.BROWSE),
    ],
)
def test_an_address_has_its_worth(request_line: str, worth: Priority) -> None:
    method, _, target = request_line.encode().partition(b" ")
    assert priority_of(method, target) == worth


def test_places_of_staff_are_for_people_with_a_session() -> None:
    priorities = Priorities()
    assert priorities(b"GET", b"/admin", [(b"cookie", b"a=b; tidegate_session=x")]) == Priority.STAFF
    assert priorities(b"GET", b"/api/v1/admin/orders", [(b"authorization", b"Bearer x")]) == Priority.STAFF
    assert priorities(b"GET", b"/admin", [(b"cookie", b"a=b")]) == Priority.BROWSE


def test_only_staffs_own_addresses_have_their_places() -> None:
    for (method, path), audience in TABLE.items():
        worth = priority_of(method.encode(), path.replace("{", "").replace("}", "").encode())
        if worth == Priority.STAFF:
            assert audience in (For.STAFF, For.ADMINS), path
        if path.startswith(("/admin", "/api/v1/admin")):
            assert worth in (Priority.STAFF, Priority.REPORTS), path
