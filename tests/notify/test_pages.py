"""The inbox: a person's own messages and nobody else's."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from tests.guests import make_guest
from tidegate import accounts, notify
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
    valkey = Redis.from_url(settings.require_valkey_url())
    app.state.settings, app.state.database, app.state.resolve_person = settings, database, resolve
    app.state.valkey = valkey
    app.include_router(pages.router)
    transport = httpx.ASGITransport(make_app(app, settings, error_page=error_page))
    async with httpx.AsyncClient(transport=transport, base_url=settings.base_url) as client:
        yield client
    await valkey.aclose()


async def write_to(database: Database, *people: PersonId, **words: Any) -> None:
    said = Words(**{"subject": "Hello", "text": "text", "html": "", "link": "", **words})
    async with database.transaction() as conn:
        await add_notes(conn, [Note(EventId(new_id()), person, said) for person in people])


async def test_a_person_reads_their_own_messages(
    browser: httpx.AsyncClient, database: Database, settings: Settings
) -> None:
    async with database.transaction() as conn:
        ada, eve = [await make_guest(conn) for _ in range(2)]
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


async def press(browser: httpx.AsyncClient, page: str, **fields: str) -> httpx.Response:
    """Send the inbox's form with the token of a page."""
    token = re.search(r'name="form_token" value="([^"]+)"', (await browser.get(page)).text)
    assert token is not None
    data = {"form_token": token[1], **fields}
    origin = {"origin": str(browser.base_url).rstrip("/")}
    return await browser.post("/inbox/read", data=data, headers=origin)


def ids_of(page: str) -> list[str]:
    """The ids of the unread messages on a page, the newest first."""
    return re.findall(r'name="message" value="([^"]+)"', page)


async def test_messages_are_marked_as_read_one_by_one_and_all_at_once(
    browser: httpx.AsyncClient, database: Database
) -> None:
    async with database.transaction() as conn:
        ada, eve = [await make_guest(conn) for _ in range(2)]
    for subject in ("First", "Second", "Third"):
        await write_to(database, ada.person.id, subject=subject)
    await write_to(database, eve.person.id, subject="For Eve")
    browser.cookies.set(SESSION_COOKIE, ada.token)
    page = (await browser.get("/inbox")).text
    assert "3 messages are new." in page
    assert browser.cookies["tidegate_unread"] == "3"
    newest = ids_of(page)[0]
    for _ in range(2):
        assert (await press(browser, "/inbox", message=newest)).status_code == 303
    page = (await browser.get("/inbox")).text
    assert "2 messages are new." in page
    assert newest not in ids_of(page)
    shown_at = re.search(r'name="all_until" value="([^"]+)"', page)
    assert shown_at is not None
    await write_to(database, ada.person.id, subject="Came meanwhile")
    assert (await press(browser, "/inbox", all_until=shown_at[1].replace("&#43;", "+"))).status_code == 303
    page = (await browser.get("/inbox")).text
    assert "1 message is new." in page
    assert len(ids_of(page)) == 1
    assert browser.cookies["tidegate_unread"] == "1"
    await press(browser, "/inbox", message=ids_of(page)[0])
    assert "new." not in (await browser.get("/inbox")).text
    assert "tidegate_unread" not in browser.cookies
    async with database.connection() as conn:
        assert await notify.count_unread(conn, recipient_id=eve.person.id) == 1


async def test_nobody_marks_what_is_not_theirs(browser: httpx.AsyncClient, database: Database) -> None:
    async with database.transaction() as conn:
        ada, eve = [await make_guest(conn) for _ in range(2)]
    await write_to(database, ada.person.id)
    await write_to(database, eve.person.id)
    async with database.connection() as conn:
        (message,) = await notify.list_inbox(conn, recipient_id=eve.person.id, limit=5)
    browser.cookies.set(SESSION_COOKIE, ada.token)
    for fields in ({"message": str(message.event_id)}, {"message": "nonsense"}, {"all_until": "yesterday"}, {}):
        assert (await press(browser, "/inbox", **fields)).status_code == 404
    async with database.connection() as conn:
        assert await notify.count_unread(conn, recipient_id=eve.person.id) == 1


async def test_older_messages_are_on_pages_of_their_own(browser: httpx.AsyncClient, database: Database) -> None:
    async with database.transaction() as conn:
        ada = await make_guest(conn)
    for number in range(pages.SHOWN + 2):
        await write_to(database, ada.person.id, subject=f"Message {number:03}")
    browser.cookies.set(SESSION_COOKIE, ada.token)
    newest = (await browser.get("/inbox")).text
    older = re.search(r'rel="next" href="([^"]+)"', newest)
    assert older is not None
    page = (await browser.get(older[1])).text
    assert 'rel="next"' not in page
    seen = re.findall(r"Message \d{3}</h2>", newest + page)
    assert seen == [f"Message {number:03}</h2>" for number in reversed(range(pages.SHOWN + 2))]
    last = ids_of(page)[-1]
    done = await press(browser, "/inbox", message=last, before=ids_of(page)[0])
    assert done.headers["location"] == f"/inbox?before={ids_of(page)[0]}"
    assert "There are no older messages." in (await browser.get(f"/inbox?before={last}")).text
