"""Signing in does the same for known and unknown addresses: as many hashes, as many statements, the same words."""

from __future__ import annotations

import httpx
import pytest

from tests.accounts.visitor import EMAIL, newest_link, register
from tests.statements import statements
from tidegate.accounts import passwords
from tidegate.platform.database import Database

pytestmark = pytest.mark.anyio

UNKNOWN = "nobody.at.all@post.example"


async def measured(browser: httpx.AsyncClient, path: str, **body: str) -> tuple[int, bytes, float, list[str]]:
    """Status, body, hashes and statements of a request."""
    before = hashes()
    with statements() as seen:
        answer = await browser.post(path, json=body)
    return answer.status_code, answer.content, hashes() - before, seen


def hashes() -> float:
    """Passwords hashed so far, as the metrics say."""
    return next(
        sample.value
        for metric in passwords.DONE.collect()
        for sample in metric.samples
        if sample.name.endswith("total")
    )


async def test_a_log_in_costs_the_same_for_known_and_unknown(browser: httpx.AsyncClient, database: Database) -> None:
    await register(browser, database)
    browser.cookies.clear()
    known = await measured(browser, "/api/v1/sessions", email=EMAIL, password="a wrong one")
    unknown = await measured(browser, "/api/v1/sessions", email=UNKNOWN, password="a wrong one")
    assert known == unknown
    assert (known[0], known[2]) == (401, 1)
    assert len(known[3]) == 1


async def test_an_account_without_a_password_costs_the_same(browser: httpx.AsyncClient, database: Database) -> None:
    await browser.post("/api/v1/login-links", json={"email": EMAIL})
    token = (await newest_link(database)).split("?token=")[1]
    assert (await browser.post("/api/v1/login-links/use", json={"token": token})).status_code == 201
    known = await measured(browser, "/api/v1/sessions", email=EMAIL, password="a wrong one")
    unknown = await measured(browser, "/api/v1/sessions", email=UNKNOWN, password="a wrong one")
    assert known == unknown
    assert (known[0], known[2]) == (401, 1)


@pytest.mark.parametrize("kind", ["registrations", "login-links", "password-resets"])
async def test_asking_for_a_mail_costs_the_same(browser: httpx.AsyncClient, database: Database, kind: str) -> None:
    await register(browser, database)
    browser.cookies.clear()
    known = await measured(browser, f"/api/v1/{kind}", email=EMAIL)
    unknown = await measured(browser, f"/api/v1/{kind}", email=UNKNOWN)
    assert known == unknown
    assert (known[0], known[2]) == (202, 0)
    assert known[3]
