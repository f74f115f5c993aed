"""The staff's room for the texts of messages, and the same by the API."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html import unescape
from typing import Any

import httpx
import pytest

from tests.admin.test_pages import sign_in
from tests.admin.test_people import make_staff_of_admins
from tests.storefront.conftest import app, reading, text_of
from tidegate import accounts
from tidegate.notify.message_kinds import KINDS
from tidegate.notify.message_texts import find_text
from tidegate.platform.database import Database

__all__ = ["app"]

pytestmark = pytest.mark.anyio
PATH = "/admin/messages/order_paid/en"
API = "/api/v1/notify/templates"
SAME_SITE = {"sec-fetch-site": "same-origin"}


@pytest.fixture
async def client(app: Any, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with reading(app) as client:
        await sign_in(client, database)
        yield client


def fields_of(page: httpx.Response) -> dict[str, str]:
    """What the form of a page holds."""
    found = dict(re.findall(r'<input type="hidden" name="(form_token|revision)" value="([^"]*)">', page.text))
    subject = re.search(r'id="field-subject"[^>]* value="([^"]*)"', page.text)
    assert subject is not None
    areas = re.findall(r'<textarea id="field-(\w+)"[^>]*>\n(.*?)</textarea>', page.text, re.DOTALL)
    return found | {"subject": unescape(subject[1])} | {name: unescape(text) for name, text in areas}


async def post(client: httpx.AsyncClient, path: str = PATH, *, to: str = "", **typed: str) -> httpx.Response:
    held = fields_of(await client.get(path))
    return await client.post(path + to, data={"action": "save", **held, **typed}, headers=SAME_SITE)


async def test_a_text_is_written_shown_and_taken_back(client: httpx.AsyncClient, database: Database) -> None:
    listed = text_of(await client.get("/admin/messages"))
    assert "An order is paid en Your order T-4211 is paid Built-in" in listed
    start = fields_of(await client.get(PATH))
    assert start["txt"].startswith('{% extends "order.txt" %}')
    assert start["inbox"].startswith("{% if total.amount %}\nWe have your payment")
    saved = await post(client, subject="Thank you for {{ number }}")
    assert (saved.status_code, saved.headers["location"]) == (303, "/admin/messages?done=saved")
    assert "Thank you for T-4211 Your own, of" in text_of(await client.get(saved.headers["location"]))
    async with database.connection() as conn:
        kept = await find_text(conn, template="order_paid", language="en")
    assert (kept.subject, kept.txt, kept.html, kept.inbox) == ("Thank you for {{ number }}", "", "", "")
    preview = await client.get(f"{PATH}/preview")
    assert "Thank you for T-4211" in preview.text
    back = await post(client, action="back")
    assert back.headers["location"] == "/admin/messages?done=back"
    assert fields_of(await client.get(PATH)) | {"form_token": ""} == start | {"form_token": ""}


async def test_what_is_wrong_is_told_by_line_and_what_was_typed_is_kept(client: httpx.AsyncClient) -> None:
    wrong = await post(client, txt="Dear <you>,\n{{ nummer }}", html="{% if %}")
    assert wrong.status_code == 422
    assert "Line 2: There is no nummer here." in text_of(wrong)
    assert "Line 1: This cannot be read: " in text_of(wrong)
    assert fields_of(wrong)["txt"] == "Dear <you>,\n{{ nummer }}"
    assert (await post(client, inbox="Mine")).status_code == 303
    late = await post(client, inbox="Theirs", revision="0")
    assert late.status_code == 409
    assert "Somebody else changed this text meanwhile." in text_of(late)
    assert fields_of(late)["inbox"] == "Theirs"
    again = await client.post(PATH, data=fields_of(late) | {"action": "save"}, headers=SAME_SITE)
    assert again.status_code == 303


async def test_a_preview_runs_nothing_and_saves_nothing(client: httpx.AsyncClient) -> None:
    shown = await post(client, to="/preview", html='<p style="color:red">{{ lines[1].title }}</p><script>x</script>')
    assert "sandbox allow-popups" in shown.headers["content-security-policy"]
    assert shown.headers["x-frame-options"] == "SAMEORIGIN"
    assert "&lt;script&gt;x" in shown.text
    assert "Tea towel &amp;lt;linen&amp;gt;" in shown.text
    refused = await post(client, to="/preview", html="{% set x = 1 %}")
    assert "Mail as HTML. Line 1: This cannot be used in a text: {% set %}." in text_of(refused)
    assert "Built-in" in text_of(await client.get("/admin/messages"))
    assert "frame-src 'self'" in (await client.get(PATH)).headers["content-security-policy"]


async def test_a_trial_is_mailed_to_whoever_asks_as_it_is_typed(client: httpx.AsyncClient, database: Database) -> None:
    done = await post(client, action="trial", subject="Only tried: {{ number }}")
    assert "On its way to admin@" in text_of(done)
    assert fields_of(done)["subject"] == "Only tried: {{ number }}"
    async with database.connection() as conn:
        found = await conn.execute("SELECT payload FROM platform.outbox WHERE topic = 'message.trial'")
        ((payload,),) = await found.fetchall()
    assert payload["subject"] == "Only tried: T-4211"
    assert "12 St James's Square" in payload["text"]
    assert "Built-in" in text_of(await client.get("/admin/messages"))


@pytest.fixture
async def staff(app: Any, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody of the staff who is no administrator."""
    password = await accounts.ensure_admin(database)
    await make_staff_of_admins(database)
    async with database.connection() as conn:
        await conn.execute("UPDATE accounts.people SET role = 'staff' WHERE email_fingerprint <> sha256('another')")
    body = {"email": accounts.ADMIN_EMAIL, "password": password}
    async with reading(app) as client:
        token = (await client.post("/api/v1/sessions", json=body)).json()["token"]
        client.headers["authorization"] = f"Bearer {token}"
        yield client


SECRET = ("account_reset/en", "follow_confirm/de")


async def test_administrators_write_mails_that_open_accounts(client: httpx.AsyncClient) -> None:
    for each in SECRET:
        assert (await client.get(f"/admin/messages/{each}")).status_code == 200
    assert "Choosing a new password" in text_of(await client.get("/admin/messages"))


async def test_staff_write_no_mails_that_open_accounts(staff: httpx.AsyncClient) -> None:
    assert (await staff.get(PATH)).status_code == 200
    assert "Choosing a new password" not in text_of(await staff.get("/admin/messages"))
    for each in (*SECRET, "order_paid/fr", "nothing/en"):
        for path in (f"/admin/messages/{each}", f"/admin/messages/{each}/preview", f"{API}/{each}"):
            assert (await staff.get(path)).status_code == 404
        body = {"revision": 0, "txt": "{{ link }}"}
        assert (await staff.put(f"{API}/{each}", json=body)).status_code == 404
    listed = (await staff.get(API)).json()["items"]
    assert {"template": "order_paid", "language": "de", "revision": 0, "changed_at": None} in listed
    assert not any(each["template"].startswith("account_") for each in listed)


async def test_programs_write_texts_too(client: httpx.AsyncClient) -> None:
    one = f"{API}/drop_open/de"
    start = (await client.get(one)).json()
    assert (start["revision"], start["own"]) == (0, [])
    assert start["subject"] == "{{ title }} ist offen"
    assert {"path": "title", "about": "what it is about", "example": "Midnight Lamps"} in start["variables"]
    tried = await client.post(f"{one}/preview", json={"subject": "Jetzt: {{ title }}"})
    assert tried.json()["subject"] == "Jetzt: Midnight Lamps"
    wrong = await client.put(one, json={"revision": 0, "subject": "x", "txt": "Hallo\n{{ titel }}"})
    assert wrong.status_code == 422
    assert wrong.json()["errors"]["txt"].startswith("Line 2: There is no titel here.")
    assert wrong.json()["lines"] == {"txt": 2}
    body = {"revision": 0, "subject": "Jetzt: {{ title }}"}
    saved = await client.put(one, json=body)
    assert (saved.status_code, saved.json()["revision"], saved.json()["own"]) == (200, 1, ["subject"])
    assert saved.json()["txt"] == start["txt"]
    late = await client.put(one, json=body | {"subject": "Gleich"})
    assert (late.status_code, late.json()["type"]) == (409, "/problems/text-changed")
    for _ in range(2):
        assert (await client.delete(one)).status_code == 204
    assert (await client.get(one)).json() == start


async def test_the_gallery_shows_every_message_in_every_language(client: httpx.AsyncClient) -> None:
    page = await client.get("/dev/mail/gallery")
    assert "Ihre Bestellung T-4211 ist bezahlt" in text_of(page)
    addresses = re.findall(r'href="(/dev/mail/gallery\?message=\w+)"', page.text)
    assert len(addresses) == len(KINDS)
    for address in addresses:
        frames = re.findall(r'src="(/dev/mail/gallery/\w+/\w+)"', (await client.get(address)).text)
        assert [frame[-6:] for frame in frames] == ["/en_GB", "/de_DE"]
    shown = await client.get("/dev/mail/gallery/order_paid/en_GB")
    assert "Thank you. Your order T-4211 is paid." in shown.text
    assert "sandbox" in shown.headers["content-security-policy"]
    assert (await client.get("/dev/mail/gallery/order_paid/fr_FR")).status_code == 404
