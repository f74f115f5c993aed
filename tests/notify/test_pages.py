"""The inbox: a person's own messages and nobody else's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tidegate import accounts
from tidegate.notify import pages
from tidegate.notify.inbox import Note, add_notes
from tidegate.notify.messages import Words
from tidegate.platform.database import Database
from tidegate.platform.edge.stack import make_app
from tidegate.platform.ids import EventId, PersonId, new_id
from tidegate.platform.settings import Settings
from tidegate.web import SESSION_COOKIE, error_page

pytestmark = pytest.mark.anyio


@pytest.fixture
async def browser(database: Database, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async def resolve(token: str) -> accounts.Person | None:
        async with database.connection() as conn:
            return await accounts.find_person(conn, token=token)

    app = FastAPI()
    app.state.settings, app.state.database, app.state.resolve_person = settings, database, resolve
    app.include_router(pages.router)
    transport = httpx.ASGITransport(make_app(app, settings, error_page=error_page))
    async with httpx.AsyncClient(transport=transport, base_url=settings.base_url) as client:
        yield client


async def write_to(database: Database, *people: PersonId, **words: Any) -> None:
    said = Words(**{"subject": "Hello", "text": "text", "html": "", "link": "", **words})
    async with database.transaction() as conn:
        await add_notes(conn, [Note(EventId(new_id()), person, said) for person in people])


async def test_a_person_reads_their_own_messages(
    browser: httpx.AsyncClient, database: Database, settings: Settings
) -> None:
    async with database.transaction() as conn:
        ada, eve = [await accounts.make_guest(conn, session_days=1) for _ in range(2)]
    link = f"{settings.base_url}/orders/1?returned=1"
    await write_to(database, ada.person.id, subject="For <b>Ada</b>", text="Paid & packed", link=link)
    await write_to(database, ada.person.id, subject="Later", link="https://elsewhere.example/orders/2")
    await write_to(database, eve.person.id, subject="For Eve")
    browser.cookies.set(SESSION_COOKIE, ada.token)
    page = (await browser.get("/inbox")).text
    assert "For &lt;b&gt;Ada&lt;/b&gt;" in page
    assert "Paid &amp; packed" in page
    assert page.index("Later") < page.index("For &lt;b&gt;")
    assert 'href="/orders/1"' in page
    assert "elsewhere.example" not in page
    assert "For Eve" not in page


@pytest.mark.parametrize("token", ["", "x" * 43])
async def test_a_stranger_has_no_messages(browser: httpx.AsyncClient, database: Database, token: str) -> None:
    await write_to(database, PersonId(new_id()), subject="Secret")
    browser.cookies.set(SESSION_COOKIE, token)
    answer = await browser.get("/inbox")
    assert answer.status_code == 200
    assert "Secret" not in answer.text
    assert "Nothing here yet" in answer.text
