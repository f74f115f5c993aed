"""Every page is accessible, in German as well: a new one is walked here, or fails until it can be."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from playwright.sync_api import Page

from tests.e2e.conftest import Visit
from tests.e2e.shopper import PAY_PAGE, Shopper, wait_for_mail
from tests.e2e.test_pages import administrator, inspect
from tests.servers import Shop
from tests.sizes import at_full_size
from tidegate.entrypoints.site import add_routes
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.browser

NO_PAGES = {
    "/art/{slug}.svg": "a picture",
    "/pictures/{name}": "a picture",
    "/robots.txt": "plain text",
    "/language": "leads on at once",
    "/dev/mail.json": "for programs",
    "/sitemap.xml": "for search engines",
    "/sitemaps/{name}.xml": "for search engines",
    "/dev/mail/{mail_id}/html": "a mail, as it was sent",
    "/dev/mail/gallery/{template}/{locale}": "a mail, as it would be sent",
    "/admin/rehearsals/{name}": "a file to be kept",
    "/admin/messages/{template}/{language}/preview": "shown inside the page of its message, where nothing runs",
    "/docs": "its page is the Swagger UI's own",
}
"""Addresses without a page of ours, and why."""

EXAMPLES = {
    "/collections/{slug}": "/collections/lights",
    "/products/{slug}": "/products/jumbo-bag",
    "/drops/{slug}": "/drops/midnight-cakestand",
    "/follow": "/follow?kind=collection&slug=lights",
    "/problems/{slug}": "/problems/not-found",
    "/pages/{slug}": "/pages/imprint",
    "/account/addresses/{address_id}": "/account/addresses/0192a000-0000-7000-8000-000000000000",
    "/admin/drops/{slug}": "/admin/drops/midnight-cakestand",
    "/admin/drops/{slug}/close": "/admin/drops/midnight-cakestand/close",
    "/admin/drops/{slug}/edit": "/admin/drops/midnight-cakestand/edit",
    "/admin/drops/{slug}/reopen": "/admin/drops/midnight-cakestand/reopen",
    "/admin/drops/{slug}/room": "/admin/drops/midnight-cakestand/room",
    "/admin/drops/{slug}/room/open": "/admin/drops/midnight-cakestand/room/open",
    "/drops/{slug}/room": "/drops/midnight-cakestand/room",
    "/drops/{slug}/draw": "/drops/midnight-cakestand/draw",
    "/admin/products/{slug}/edit": "/admin/products/jumbo-bag/edit",
    "/admin/products/{slug}/pictures": "/admin/products/jumbo-bag/pictures",
    "/admin/collections/{slug}": "/admin/collections/lights",
    "/admin/pages/{slug}/{language}": "/admin/pages/imprint/de",
    "/admin/messages/{template}/{language}": "/admin/messages/order_paid/de",
}
"""An address for each route whose parameters are known beforehand; an account's lead a guest to sign in."""


def pages() -> list[str]:
    """The paths of all routes that answer GET with a page."""
    settings = Settings(demo=True)
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    add_routes(app, settings)
    return sorted(set(_page_paths(app)) - set(NO_PAGES))


def _page_paths(app: FastAPI) -> Iterator[str]:
    for route in iter_route_contexts(app.routes):
        endpoint = getattr(route, "endpoint", None)
        module = getattr(endpoint, "__module__", "").rpartition(".")[2]
        shows = module.startswith("pages") or module == "http_sandbox"
        if shows and "GET" in (getattr(route, "methods", None) or ()):
            yield str(route.path)


@at_full_size  # test_pages.py looks at the pages that shoppers see most
@pytest.mark.timeout(600)
def test_every_page(shop: Shop, visit: Visit) -> None:
    shopper, staff = visit(shop), visit(shop)
    for address in addresses(shopper, staff).values():
        visitor = staff if address.startswith("/admin") else shopper
        _look_at(visitor, address)


def addresses(shopper: Shopper, staff: Shopper) -> dict[str, str]:
    """An address of every page by its route. The shopper buys for it, the staff signs in."""
    known = dict(EXAMPLES)
    known |= _bought(shopper)
    _sign_in(staff)
    staff.go("/admin/stock")
    known["/admin/stock/{variant_id}"] = staff.page.locator("tbody a").first.get_attribute("href") or ""
    staff.go("/admin/people")
    people = staff.page.locator("main a[href^='/admin/people/']")
    known["/admin/people/{person_id}"] = people.first.get_attribute("href") or ""
    staff.go("/admin/customers")
    customers = staff.page.locator("main a[href^='/admin/customers/']")
    known["/admin/customers/{person_id}"] = customers.first.get_attribute("href") or ""
    known |= _written(staff)
    known |= _hooked(staff)
    for path in pages():
        address = known.get(path, path)
        assert "{" not in address, f"{path} needs an address in EXAMPLES, or a reason in NO_PAGES"
        known[path] = address
    return {path: known[path] for path in pages()}


def _written(staff: Shopper) -> dict[str, str]:
    """Addresses of a post to the followers of a collection, and of its send."""
    staff.go("/collections/lights")
    staff.press("Follow")
    staff.go("/admin/sends/new")
    staff.page.get_by_label("Title").fill("News")
    staff.page.get_by_label("Text").fill("Lamps are here.")
    staff.press("How many, how long?")
    staff.press("Send it")
    staff.sees("It is on its way.")
    send = _path(staff.page)
    staff.go("/posts")
    post = staff.page.locator("main a[href^='/posts/']").first.get_attribute("href") or ""
    return {"/posts/{post_id}": post, "/admin/sends/{event_id}/{topic_id}": send}


def _hooked(staff: Shopper) -> dict[str, str]:
    """Addresses of a webhook's endpoint, and of a webhook that it will never get."""
    page = staff.page
    staff.go("/admin/webhooks")
    page.get_by_label("Address").fill("https://93.184.216.34/hooks")
    page.get_by_role("checkbox", name="order.paid").check()
    staff.press("Make the endpoint")
    staff.go("/admin/webhooks")
    endpoint = page.locator("tbody a").first.get_attribute("href") or ""
    for button in ("Send a test", "Disable it"):
        staff.go(endpoint)
        staff.press(button)
    letters = page.locator("tbody th a")
    deadline = time.monotonic() + 20
    while not letters.count():
        assert time.monotonic() < deadline, "what waits for a disabled endpoint becomes a dead letter"
        page.wait_for_timeout(200)
        staff.go("/admin/dead-letters")
    letter = letters.first.get_attribute("href") or ""
    return {
        "/admin/webhooks/{endpoint_id}": endpoint,
        "/admin/dead-letters/{event_id}/{recipient_id}/{channel}": letter,
    }


def _bought(shopper: Shopper) -> dict[str, str]:
    """Addresses that exist only once somebody buys."""
    shopper.hold("rabbit-night-light")
    found = {"/checkout/{hold_id}": _path(shopper.page)}
    shopper.order()
    shopper.page.wait_for_url(PAY_PAGE)
    found["/sandbox/pay/{payment_id}"] = _path(shopper.page)
    shopper.pay()
    shopper.is_thanked()
    order = _path(shopper.page)
    found |= {"/orders/{order_id}": order, "/orders/{order_id}/cancel": f"{order}/cancel"}
    found["/admin/orders/{order_id}"] = f"/admin{order}"
    wait_for_mail(shopper.shop, "example.com")
    shopper.go("/dev/mail")
    found["/dev/mail/{mail_id}"] = shopper.page.locator("main a[href^='/dev/mail/']").first.get_attribute("href") or ""
    shopper.hold("party-bunting")
    found["/checkout/{hold_id}"] = _path(shopper.page)
    return found


def _sign_in(staff: Shopper) -> None:
    staff.go("/login")
    email, password = administrator(staff.shop)
    staff.page.get_by_label("E-mail address").fill(email)
    staff.page.get_by_label("Password").fill(password)
    staff.press("Sign in")
    staff.page.wait_for_url(re.compile(f"^{staff.shop.base_url}/(admin)?$"))


def _look_at(visitor: Shopper, address: str) -> None:
    page = visitor.page
    page.context.add_cookies([{"name": "tidegate_locale", "value": "de_DE", "url": visitor.shop.base_url}])
    answer = page.goto(visitor.shop.base_url + address)
    assert answer is not None
    assert answer.status == 200, f"{address} answers {answer.status}"
    assert page.locator("html").get_attribute("lang") == "de-DE", address
    assert page.locator("h1").count() == 1, f"{address} needs one first heading"
    inspect(visitor, "de" + re.sub(r"[^a-z]+", "-", address))


def _path(page: Page) -> str:
    return "/" + page.url.split("/", 3)[3].split("?")[0]
