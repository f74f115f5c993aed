"""The staff's room for people: administrators invite and change roles, staff read, nobody else sees it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.admin.test_orders import send_form
from tests.admin.test_pages import sign_in
from tests.storefront.conftest import app, reading, sell, text_of
from tidegate.platform.database import Database

__all__ = ["app", "sell"]

pytestmark = pytest.mark.anyio

PEOPLE = "/admin/people"
ME: dict[str, str] = {}


@pytest.fixture
async def client(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(app) as client:
        yield client


async def make_staff_of_admins(database: Database) -> None:
    """One more administrator, so that all others may become staff."""
    async with database.transaction() as conn:
        await conn.execute(
            """
            INSERT INTO accounts.people (id, role, email_sealed, email_fingerprint)
            SELECT gen_random_uuid(), 'admin', email_sealed, sha256('another') FROM accounts.people LIMIT 1
            """
        )


async def test_an_administrator_invites_and_withdraws(client: httpx.AsyncClient, database: Database) -> None:
    await sign_in(client, database)
    action = f"{PEOPLE}/invitations"
    wrong = await send_form(client, PEOPLE, action, ME, invite_email="no address", invite_role="admin")
    assert wrong.status_code == 422
    assert 'value="no address"' in wrong.text, "what was typed is kept"
    assert '<option value="admin" selected>' in wrong.text
    odd = await send_form(client, PEOPLE, action, ME, invite_email="new@post.example", invite_role="guest")
    assert odd.status_code == 422
    done = await send_form(client, PEOPLE, action, ME, invite_email="new@post.example", invite_role="staff")
    assert done.status_code == 303
    page = await client.get(done.headers["location"])
    assert "The invitation is on its way." in text_of(page)
    found = re.search(rf'action="({action}/[0-9a-f-]+/withdraw)"', page.text)
    assert found is not None
    assert (await send_form(client, PEOPLE, found[1], ME)).status_code == 303
    assert "new@post.example" not in (await client.get(PEOPLE)).text


async def test_the_only_administrator_is_told_why_they_stay(client: httpx.AsyncClient, database: Database) -> None:
    await sign_in(client, database)
    page = await client.get(PEOPLE)
    (person,) = set(re.findall(rf'href="({PEOPLE}/[0-9a-f-]+)"', page.text))
    refused = await send_form(client, person, f"{person}/role", ME, role="staff")
    assert refused.status_code == 409
    assert "Make somebody else one first" in text_of(refused)
    await make_staff_of_admins(database)
    stepped_down = await send_form(client, person, f"{person}/role", ME, role="staff")
    assert (stepped_down.status_code, stepped_down.headers["location"]) == (303, "/login")


async def test_people_are_found_by_their_whole_address(client: httpx.AsyncClient, database: Database) -> None:
    await sign_in(client, database)
    assert "Nobody fits." in text_of(await client.get(f"{PEOPLE}?email=adm"))
    assert "Nobody fits." in text_of(await client.get(f"{PEOPLE}?role=customer"))
    for bad in ("?before=x", "?role=guest", "?role=king", "?email=" + "a" * 300):
        assert (await client.get(PEOPLE + bad)).status_code == 200
    assert (await client.get(f"{PEOPLE}/nobody")).status_code == 404
