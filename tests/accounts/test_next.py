"""After signing in people are where they wanted to go, and nowhere outside the shop."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.accounts.visitor import EMAIL, PASSWORD, newest_link, post, register
from tidegate import accounts
from tidegate.platform.database import Database

pytestmark = pytest.mark.anyio

FOREIGN = ("https://evil.example", "//evil.example", "/\\evil.example", "evil", "/\t/evil.example", "", "javascript:1")


async def test_a_password_leads_where_somebody_wanted_to_go(browser: httpx.AsyncClient, database: Database) -> None:
    await register(browser, database)
    browser.cookies.clear()
    page = await browser.get("/login?next=/orders/7%3Fa%3D1")
    assert 'name="next" value="/orders/7?a=1"' in page.text
    assert 'href="/register?next=' in page.text
    wrong = await post(browser, "/login", email=EMAIL, password="wrong", next="/orders/7?a=1")
    assert 'name="next" value="/orders/7?a=1"' in wrong.text
    done = await post(browser, "/login", email=EMAIL, password=PASSWORD, next="/orders/7?a=1")
    assert done.headers["location"] == "/orders/7?a=1"


@pytest.mark.parametrize("path", ["/register", "/login/link", "/reset"])
async def test_a_mailed_link_leads_there_as_well(browser: httpx.AsyncClient, database: Database, path: str) -> None:
    await post(browser, path, email=EMAIL, next="/drops/lamp?a=1&b=2")
    link = await newest_link(database)
    page = await browser.get(link)
    assert 'name="next" value="/drops/lamp?a=1&amp;b=2"' in page.text
    token = re.search(r"token=([^&]+)", link)
    assert token is not None
    action = link.partition("?")[0]
    done = await post(browser, action, token=token[1], password=PASSWORD, next="/drops/lamp?a=1&b=2")
    assert (done.status_code, done.headers["location"]) == (303, "/drops/lamp?a=1&b=2")


@pytest.mark.parametrize("then", [*FOREIGN, "/admin/orders"])
async def test_nobody_is_led_elsewhere(browser: httpx.AsyncClient, database: Database, then: str) -> None:
    await register(browser, database)
    browser.cookies.clear()
    done = await post(browser, "/login", email=EMAIL, password=PASSWORD, next=then)
    assert (done.status_code, done.headers["location"]) == (303, "/account")


async def test_staff_are_led_to_their_rooms(browser: httpx.AsyncClient, database: Database) -> None:
    password = await accounts.ensure_admin(database, email=EMAIL)
    assert password is not None
    done = await post(browser, "/login", email=EMAIL, password=password, next="/admin/orders")
    assert done.headers["location"] == "/admin/orders"
