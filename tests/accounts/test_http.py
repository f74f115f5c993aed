"""Sessions over HTTP: for programs by JSON, for staff by a form."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from tidegate import accounts
from tidegate.accounts import http, pages
from tidegate.platform.database import Database
from tidegate.platform.edge.stack import make_app
from tidegate.platform.settings import Settings
from tidegate.web import SESSION_COOKIE, error_page

pytestmark = pytest.mark.anyio

ADMIN = "admin@tidegate.example"


@pytest.fixture
async def client(database: Database, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A program that talks to the site's session routes."""
    app = FastAPI()
    app.include_router(http.router)
    app.include_router(pages.router)
    transport = httpx.ASGITransport(make_app(app, settings, hot=http.ROUTES, error_page=error_page))
    async with (
        Redis.from_url(settings.require_valkey_url()) as valkey,
        accounts.open_sessions(database, settings, valkey=valkey) as sessions,
        httpx.AsyncClient(transport=transport, base_url=settings.base_url) as client,
    ):
        app.state.settings, app.state.database, app.state.sessions = settings, database, sessions
        app.state.resolve_person, app.state.make_guest = sessions.find, sessions.make_guest
        yield client


@pytest.fixture
def browser(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """The same, behaving as a browser on the shop's own pages does."""
    client.headers.update({"accept": "text/html", "sec-fetch-site": "same-origin"})
    return client


@pytest.fixture
async def password(database: Database) -> str:
    made = await accounts.ensure_admin(database, email=ADMIN)
    assert made is not None
    return made


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def form(browser: httpx.AsyncClient) -> dict[str, str]:
    page = await browser.get("/login")
    assert page.status_code == 200
    assert page.headers["cache-control"] == "no-store"
    found = re.search(r'name="form_token" value="([^"]+)"', page.text)
    assert found is not None
    return {"form_token": found[1]}


async def test_a_guest_gets_a_token_that_can_be_ended(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/v1/guests")
    assert answer.status_code == 201
    assert set(answer.json()) == {"token"}
    assert answer.headers["cache-control"] == "no-store"
    token = answer.json()["token"]
    assert (await client.delete("/api/v1/sessions", headers=bearer(token))).status_code == 204
    assert (await client.delete("/api/v1/sessions", headers=bearer(token))).status_code == 401
    assert (await client.delete("/api/v1/sessions")).status_code == 401


async def test_signing_in_by_json(client: httpx.AsyncClient, password: str) -> None:
    answer = await client.post("/api/v1/sessions", json={"email": ADMIN, "password": password})
    assert answer.status_code == 201
    assert set(answer.json()) == {"token"}
    wrong = await client.post("/api/v1/sessions", json={"email": ADMIN, "password": "wrong"})
    assert (wrong.status_code, wrong.json()["type"]) == (401, "/problems/wrong-credentials")
    assert wrong.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"email":"a@b.example"}',
        b'{"email":"","password":"x"}',
        b'{"email":7,"password":"secret-7"}',
        b'{"email":"a@b.example","password":["secret-7"]}',
        b'{"email":"' + b"a" * 300 + b'","password":"secret-7"}',
        b'{"email":"a@b.example","password":"' + b"secret-7" * 100 + b'"}',
    ],
)
async def test_what_is_no_log_in_is_refused_without_repeating_it(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/api/v1/sessions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert "secret-7" not in answer.text


@pytest.mark.parametrize("email", [r"a\u0000@b.example", r"\ud800@b.example", r"\u202e@b.example"])
async def test_strange_characters_are_just_wrong(client: httpx.AsyncClient, email: str) -> None:
    body = f'{{"email":"{email}","password":"x\\u0000y"}}'.encode()
    answer = await client.post("/api/v1/sessions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 401, 422)


async def test_too_many_failures_say_when_to_come_back(client: httpx.AsyncClient, settings: Settings) -> None:
    for _ in range(settings.accounts.login_attempts):
        assert (await client.post("/api/v1/sessions", json={"email": ADMIN, "password": "x"})).status_code == 401
    answer = await client.post("/api/v1/sessions", json={"email": ADMIN, "password": "x"})
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= settings.accounts.login_window_s


async def test_staff_sign_in_and_out_by_form(browser: httpx.AsyncClient, password: str) -> None:
    answer = await browser.post("/login", data={**await form(browser), "email": ADMIN, "password": password})
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{SESSION_COOKIE}=")
    assert "httponly" in cookie.lower()
    token = browser.cookies[SESSION_COOKIE]
    out = await browser.post("/logout", data=await form(browser))
    assert out.status_code == 303
    assert SESSION_COOKIE not in browser.cookies
    assert (await browser.delete("/api/v1/sessions", headers=bearer(token))).status_code == 401


async def test_the_session_from_before_a_sign_in_ends_with_it(browser: httpx.AsyncClient, password: str) -> None:
    planted = (await browser.post("/api/v1/guests")).json()["token"]
    browser.cookies.set(SESSION_COOKIE, planted, domain="127.0.0.1")
    answer = await browser.post("/login", data={**await form(browser), "email": ADMIN, "password": password})
    assert answer.status_code == 303
    assert browser.cookies[SESSION_COOKIE] != planted
    assert (await browser.delete("/api/v1/sessions", headers=bearer(planted))).status_code == 401


async def test_a_wrong_password_shows_the_form_again_without_it(browser: httpx.AsyncClient, password: str) -> None:
    fields = {**await form(browser), "email": "<admin>@x.example", "password": "secret-7"}
    answer = await browser.post("/login", data=fields)
    assert answer.status_code == 401
    assert "The e-mail address or the password is not right." in answer.text
    assert "&lt;admin&gt;@x.example" in answer.text
    assert "secret-7" not in answer.text
    assert SESSION_COOKIE not in browser.cookies


@pytest.mark.parametrize("path", ["/login", "/logout"])
async def test_a_form_that_is_not_ours_does_nothing(browser: httpx.AsyncClient, password: str, path: str) -> None:
    fields = {"email": ADMIN, "password": password}
    assert (await browser.post(path, data=fields)).status_code == 403
    foreign = {"sec-fetch-site": "cross-site"}
    assert (await browser.post(path, data={**await form(browser), **fields}, headers=foreign)).status_code == 403
    assert SESSION_COOKIE not in browser.cookies
