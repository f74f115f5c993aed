"""Mailed links: the same for every address, used once, and nothing on a mere look."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.accounts.visitor import EMAIL, PASSWORD, newest_link, post, register
from tidegate import accounts
from tidegate.platform.database import Database
from tidegate.platform.ids import PersonId
from tidegate.platform.settings import Settings
from tidegate.web import SESSION_COOKIE

pytestmark = pytest.mark.anyio


async def test_registering_confirms_the_address_and_signs_in(browser: httpx.AsyncClient, database: Database) -> None:
    answer = await register(browser, database)
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    page = await browser.get("/account")
    assert page.status_code == 200
    assert EMAIL in page.text
    browser.cookies.clear()
    again = await post(browser, "/login", email=EMAIL.upper(), password=PASSWORD)
    assert again.headers["location"] == "/account"


@pytest.mark.parametrize("path", ["/register", "/login/link", "/reset"])
async def test_known_and_unknown_addresses_get_the_same(
    browser: httpx.AsyncClient, database: Database, path: str
) -> None:
    await register(browser, database)
    browser.cookies.clear()

    async def ask(email: str) -> tuple[int, str, int, int]:
        answer = await post(browser, path, email=email)
        async with database.connection() as conn:
            row = await (
                await conn.execute(
                    "SELECT (SELECT count(*) FROM accounts.links), (SELECT count(*) FROM platform.outbox)"
                )
            ).fetchone()
        assert row is not None
        text = re.sub(r'value="[^"]+"', "", answer.text.replace(email, "EMAIL"))
        text = re.sub(r'data-server-time="[^"]+"', "", text)
        return answer.status_code, text, row[0], row[1]

    known, unknown = await ask(EMAIL), await ask("nobody.at.all@post.example")
    assert known[0] == 200
    assert known[:2] == unknown[:2]
    assert (unknown[2] - known[2], unknown[3] - known[3]) == (1, 1)


async def test_a_link_works_once_and_only_by_the_button(browser: httpx.AsyncClient, database: Database) -> None:
    await post(browser, "/login/link", email=EMAIL)
    link = await newest_link(database)
    for _ in range(2):
        page = await browser.get(link)
        assert (page.status_code, page.headers["referrer-policy"]) == (200, "no-referrer")
        assert SESSION_COOKIE not in browser.cookies
    token = link.split("?token=")[1]
    assert (await post(browser, "/login/link", token=token)).status_code == 303
    browser.cookies.clear()
    assert (await post(browser, "/login/link", token=token)).status_code == 410
    async with database.connection() as conn:
        rows = await (await conn.execute("SELECT l::text FROM accounts.links l")).fetchall()
    assert all(token not in row[0] and EMAIL not in row[0] for row in rows)


async def test_an_old_link_and_one_of_another_kind_do_nothing(browser: httpx.AsyncClient, database: Database) -> None:
    await post(browser, "/login/link", email=EMAIL)
    token = (await newest_link(database)).split("?token=")[1]
    assert (await post(browser, "/reset/new", token=token, password=PASSWORD)).status_code == 410
    async with database.connection() as conn:
        await conn.execute("UPDATE accounts.links SET expires_at = clock_timestamp()")
    assert (await post(browser, "/login/link", token=token)).status_code == 410


async def test_a_new_password_ends_every_other_session(browser: httpx.AsyncClient, database: Database) -> None:
    await register(browser, database)
    stolen = browser.cookies[SESSION_COOKIE]
    browser.cookies.clear()
    await post(browser, "/reset", email=EMAIL)
    token = (await newest_link(database)).split("?token=")[1]
    short = await post(browser, "/reset/new", token=token, password="short")
    assert (short.status_code, "10 to 256" in short.text) == (422, True)
    assert (await post(browser, "/reset/new", token=token, password="another long one")).status_code == 303
    bearer = {"authorization": f"Bearer {stolen}"}
    assert (await browser.delete("/api/v1/sessions", headers=bearer)).status_code == 401


async def test_a_guest_becomes_the_person_who_signs_in(
    browser: httpx.AsyncClient, database: Database, taken: list[tuple[PersonId, PersonId]]
) -> None:
    guest = (await browser.post("/api/v1/guests")).json()["token"]
    browser.cookies.set(SESSION_COOKIE, guest, domain="127.0.0.1")
    await register(browser, database)
    assert len(taken) == 1
    assert browser.cookies[SESSION_COOKIE] != guest
    bearer = {"authorization": f"Bearer {guest}"}
    assert (await browser.delete("/api/v1/sessions", headers=bearer)).status_code == 401


async def test_nobody_is_locked_out_by_guesses_of_others(
    browser: httpx.AsyncClient, database: Database, settings: Settings
) -> None:
    await register(browser, database)
    session = browser.cookies[SESSION_COOKIE]
    browser.cookies.clear()
    for _ in range(settings.accounts.login_attempts):
        await post(browser, "/login", email=EMAIL, password="guess")
    assert (await post(browser, "/login", email=EMAIL, password=PASSWORD)).status_code == 429
    await post(browser, "/login/link", email=EMAIL)
    token = (await newest_link(database)).split("?token=")[1]
    assert (await post(browser, "/login/link", token=token)).status_code == 303
    browser.cookies.clear()
    browser.cookies.set(SESSION_COOKIE, session, domain="127.0.0.1")
    assert (await browser.get("/account")).status_code == 200


async def test_sessions_are_listed_and_ended_by_their_owner_only(
    browser: httpx.AsyncClient, database: Database
) -> None:
    await register(browser, database)
    first = browser.cookies[SESSION_COOKIE]
    browser.cookies.clear()
    await post(browser, "/login", email=EMAIL, password=PASSWORD)
    ends = re.findall(r'action="(/account/sessions/[0-9a-f]+/end)"', (await browser.get("/account")).text)
    assert len(ends) == 1
    browser.cookies.clear()
    await register(browser, database, email="somebody.else@post.example")
    assert (await post(browser, ends[0])).status_code == 404
    browser.cookies.clear()
    await post(browser, "/login", email=EMAIL, password=PASSWORD)
    assert (await post(browser, ends[0])).status_code == 303
    bearer = {"authorization": f"Bearer {first}"}
    assert (await browser.delete("/api/v1/sessions", headers=bearer)).status_code == 401


async def test_a_deleted_account_leaves_nothing_of_its_owner(browser: httpx.AsyncClient, database: Database) -> None:
    await register(browser, database)
    assert (await post(browser, "/account/delete")).status_code == 422
    assert (await post(browser, "/account/delete", sure="yes")).status_code == 303
    async with database.connection() as conn:
        row = await (
            await conn.execute(
                """
                SELECT count(*) FILTER (WHERE email_sealed IS NOT NULL OR password_hash IS NOT NULL),
                       (SELECT count(*) FROM accounts.links) FROM accounts.people
                """
            )
        ).fetchone()
    assert row == (0, 0)
    assert (await post(browser, "/login", email=EMAIL, password=PASSWORD)).status_code == 401


async def test_strangers_and_guests_have_no_account_page(browser: httpx.AsyncClient) -> None:
    assert (await browser.get("/account")).headers["location"].startswith("/login")
    guest = (await browser.post("/api/v1/guests")).json()["token"]
    browser.cookies.set(SESSION_COOKIE, guest, domain="127.0.0.1")
    assert (await browser.get("/account")).headers["location"].startswith("/login")


async def test_the_last_administrator_stays(browser: httpx.AsyncClient, database: Database) -> None:
    password = await accounts.ensure_admin(database, email="boss@post.example")
    assert password is not None
    await post(browser, "/login", email="boss@post.example", password=password)
    assert (await post(browser, "/account/delete", sure="yes")).status_code == 409
    assert (await browser.get("/account")).status_code == 200
