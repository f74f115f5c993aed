"""Accounts over JSON: begin one, enter it, look at it, change it, leave."""

from __future__ import annotations

import httpx
import pytest

from tests.accounts.visitor import EMAIL, PASSWORD, newest_link
from tidegate import accounts
from tidegate.platform.database import Database

pytestmark = pytest.mark.anyio

API = "/api/v1"
NEW = "another long one"


@pytest.fixture
def program(browser: httpx.AsyncClient) -> httpx.AsyncClient:
    """A program in front of the same routes."""
    browser.headers.clear()
    return browser


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def mailed(program: httpx.AsyncClient, database: Database, kind: str, email: str = EMAIL) -> str:
    """The token of a link that was asked for."""
    answer = await program.post(f"{API}/{kind}", json={"email": email})
    assert (answer.status_code, set(answer.json())) == (202, {"minutes"})
    return (await newest_link(database)).split("?token=")[1]


async def registered(program: httpx.AsyncClient, database: Database, email: str = EMAIL) -> str:
    token = await mailed(program, database, "registrations", email)
    answer = await program.post(f"{API}/registrations/confirm", json={"token": token, "password": PASSWORD})
    assert answer.status_code == 201
    return str(answer.json()["token"])


async def test_an_account_from_its_beginning_to_its_end(program: httpx.AsyncClient, database: Database) -> None:
    guest = (await program.post(f"{API}/guests")).json()["token"]
    assert (await program.get(f"{API}/me", headers=bearer(guest))).json()["role"] == "guest"
    mine = bearer(await registered(program, database))
    me = (await program.get(f"{API}/me", headers=mine)).json()
    assert (me["role"], me["email"], me["has_password"]) == ("customer", EMAIL, True)
    assert (await program.delete(f"{API}/me", headers=mine)).status_code == 204
    assert (await program.get(f"{API}/me", headers=mine)).status_code == 401
    answer = await program.post(f"{API}/sessions", json={"email": EMAIL, "password": PASSWORD})
    assert answer.status_code == 401


async def test_a_link_signs_in_once(program: httpx.AsyncClient, database: Database) -> None:
    token = await mailed(program, database, "login-links")
    first, second = [await program.post(f"{API}/login-links/use", json={"token": token}) for _ in range(2)]
    assert first.status_code == 201
    assert (second.status_code, second.json()["type"]) == (410, "/problems/link-spent")


async def test_a_reset_replaces_the_password_and_ends_sessions(program: httpx.AsyncClient, database: Database) -> None:
    old = await registered(program, database)
    token = await mailed(program, database, "password-resets")
    answer = await program.post(f"{API}/password-resets/confirm", json={"token": token, "password": NEW})
    assert answer.status_code == 201
    assert (await program.get(f"{API}/me", headers=bearer(old))).status_code == 401
    assert (await program.post(f"{API}/sessions", json={"email": EMAIL, "password": NEW})).status_code == 201


async def test_a_changed_password_keeps_only_this_session(program: httpx.AsyncClient, database: Database) -> None:
    first = await registered(program, database)
    second = (await program.post(f"{API}/sessions", json={"email": EMAIL, "password": PASSWORD})).json()["token"]
    wrong = {"present": "not it at all", "password": NEW}
    assert (await program.put(f"{API}/me/password", json=wrong, headers=bearer(second))).status_code == 401
    right = {"present": PASSWORD, "password": NEW}
    assert (await program.put(f"{API}/me/password", json=right, headers=bearer(second))).status_code == 204
    assert (await program.get(f"{API}/me", headers=bearer(first))).status_code == 401
    assert (await program.get(f"{API}/me", headers=bearer(second))).status_code == 200


async def test_guesses_of_the_present_password_end_without_locking_the_owner_out(
    program: httpx.AsyncClient, database: Database
) -> None:
    taken_over = bearer(await registered(program, database))
    body = {"present": "a guess", "password": NEW}
    statuses = [(await program.put(f"{API}/me/password", json=body, headers=taken_over)).status_code for _ in range(11)]
    assert statuses == [401] * 10 + [429]
    assert (await program.post(f"{API}/sessions", json={"email": EMAIL, "password": PASSWORD})).status_code == 201


async def test_sessions_are_listed_and_ended_by_their_owner_only(
    program: httpx.AsyncClient, database: Database
) -> None:
    first = await registered(program, database)
    second = (await program.post(f"{API}/sessions", json={"email": EMAIL, "password": PASSWORD})).json()["token"]
    items = (await program.get(f"{API}/sessions", headers=bearer(second))).json()["items"]
    assert [item["current"] for item in items].count(True) == 1
    other = next(item["id"] for item in items if not item["current"])
    stranger = bearer(await registered(program, database, "somebody.else@post.example"))
    assert (await program.delete(f"{API}/sessions/{other}", headers=stranger)).status_code == 404
    assert (await program.delete(f"{API}/sessions/{other}", headers=bearer(second))).status_code == 204
    assert (await program.get(f"{API}/me", headers=bearer(first))).status_code == 401


async def test_the_last_administrator_stays(program: httpx.AsyncClient, database: Database) -> None:
    password = await accounts.ensure_admin(database, email="boss@post.example")
    answer = await program.post(f"{API}/sessions", json={"email": "boss@post.example", "password": password})
    mine = bearer(answer.json()["token"])
    refused = await program.delete(f"{API}/me", headers=mine)
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/last-admin")
    assert (await program.get(f"{API}/me", headers=mine)).status_code == 200


@pytest.mark.parametrize("kind", ["registrations", "login-links", "password-resets"])
async def test_asking_answers_alike(program: httpx.AsyncClient, database: Database, kind: str) -> None:
    await registered(program, database)
    known = await program.post(f"{API}/{kind}", json={"email": EMAIL})
    unknown = await program.post(f"{API}/{kind}", json={"email": "nobody.at.all@post.example"})
    assert (known.status_code, known.content) == (unknown.status_code, unknown.content)
    assert known.status_code == 202
