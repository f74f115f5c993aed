"""The staff of a gate on its own: signing in with a key, and leading a room; for everybody else nothing is there."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from tests.gate.conftest import MakeRoom, join, room_of
from tests.waiting import eventually
from tidegate.entrypoints.commands import make_app
from tidegate.entrypoints.gate import create_app
from tidegate.entrypoints.room_samples import RoomSamples
from tidegate.gate import Gate, GateVisitor, GoodsReport, Phase, VisitorTokens, add_foreign_room, report_goods
from tidegate.gate.shop_words import ShopKey, make_shop_key
from tidegate.gate.visitors import KEY_LIFE_S, STAFF_LIFE_S
from tidegate.platform.database import Database
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

ROOM = "/admin/drops/boots/room"
PAGE = {"accept": "text/html"}
TOKEN = re.compile(r'name="form_token" value="([^"]+)"')


class Browser:
    """Somebody at the gate's pages."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def see(self, path: str) -> httpx.Response:
        return await self.client.get(path, headers=PAGE, follow_redirects=True)

    async def send(self, form_on: str, to: str, **fields: str) -> httpx.Response:
        token = TOKEN.search((await self.see(form_on)).text)
        assert token is not None
        headers = PAGE | {"sec-fetch-site": "same-origin"}
        fields |= {"form_token": token[1]}
        return await self.client.post(to, data=fields, headers=headers, follow_redirects=True)


@pytest.fixture
async def gate_app(make_room: MakeRoom, database: Database, settings: Settings) -> AsyncIterator[Any]:
    """A gate that stands before a shop with boots, whose lobby is open."""
    room = await make_room()
    async with database.transaction() as conn:
        key = ShopKey(make_shop_key()).public
        await add_foreign_room(conn, room, title="Boots", shop="https://boots.example", shop_key=key, per_buyer=1)
    quick = settings.gate.model_copy(update={"status_refresh_ms": 20})
    app: Any = create_app(settings.model_copy(update={"gate": quick}))
    async with app.app.router.lifespan_context(app.app):
        yield app


@pytest.fixture
async def browser(gate_app: Any) -> AsyncIterator[Browser]:
    transport = httpx.ASGITransport(app=gate_app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        yield Browser(client)


def key_of(app: Any) -> str:
    tokens: VisitorTokens = app.app.state.visitor_tokens
    return tokens.make_staff_key("ann", now_s=time.time())


async def test_strangers_and_visitors_are_not_let_in(gate_app: Any, browser: Browser) -> None:
    for path in ("/admin", ROOM, f"{ROOM}/open", f"{ROOM}/close"):
        asked = await browser.client.get(path, headers=PAGE)
        assert (asked.status_code, asked.headers["location"].split("?")[0]) == (303, "/login"), path
    tokens: VisitorTokens = gate_app.app.state.visitor_tokens
    guest = tokens.make_guest(now_s=time.time()).token
    known = tokens.make(tokens.make_guest(now_s=time.time()).person.id, vouched=True, now_s=time.time())
    for token in (guest, known):
        headers = PAGE | {"authorization": f"Bearer {token}"}
        assert (await browser.client.get("/admin", headers=headers)).status_code == 404
        for path in (ROOM, f"{ROOM}/pause", f"{ROOM}/beacon", f"{ROOM}/open", f"{ROOM}/close"):
            assert (await browser.client.post(path, headers=headers, data={})).status_code == 404
    refused = await browser.send("/login", "/login", key="made up")
    assert refused.status_code == 422 and "Make a new one." in refused.text
    for token in (guest, known):
        assert (await browser.see(f"/login?key={token}")).status_code == 422, "a visitor's token is no key"


async def test_a_key_signs_in_and_leaves_the_address(gate_app: Any, browser: Browser) -> None:
    key = key_of(gate_app)
    answer = await browser.client.get(f"/login?key={key}&next={ROOM}", headers=PAGE)
    assert (answer.status_code, answer.headers["location"]) == (303, ROOM)
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "httponly" in answer.headers["set-cookie"].lower()
    assert "Waiting room: Boots" in (await browser.see(ROOM)).text
    foreign = await browser.client.get(f"/login?key={key}&next=//evil.example", headers=PAGE)
    assert foreign.headers["location"] == "/admin"
    await browser.send("/admin", "/logout")
    assert "Staff sign-in" in (await browser.see("/admin")).text
    pasted = await browser.send("/login", "/login", key=f"http://127.0.0.1:8000/login?key={key}")
    assert "https://boots.example" in pasted.text


def test_keys_and_sessions_end_and_are_not_each_other() -> None:
    tokens, other = VisitorTokens(b"k" * 32, days=30), VisitorTokens(b"o" * 32, days=30)
    key = tokens.make_staff_key("ann", now_s=1_000)
    assert tokens.read(key, now_s=1_000) is None, "a key is nobody's session"
    assert tokens.sign_in(key, now_s=1_000 + KEY_LIFE_S) is None
    assert other.sign_in(key, now_s=1_000) is None
    session = tokens.sign_in(key, now_s=1_001)
    assert session is not None
    staff = tokens.read(session, now_s=1_002)
    assert staff is not None and staff.role == "staff"
    assert tokens.read(session, now_s=1_001 + STAFF_LIFE_S) is None
    assert tokens.sign_in(session, now_s=1_002) is None, "a session makes no further one"
    again = tokens.sign_in(tokens.make_staff_key("ann", now_s=5_000), now_s=5_000)
    assert again is not None and tokens.read(again, now_s=5_000) == staff
    ben = tokens.sign_in(tokens.make_staff_key("ben", now_s=5_000), now_s=5_000)
    assert ben is not None and tokens.read(ben, now_s=5_000) != staff
    person = GateVisitor(staff.id, "customer")
    assert tokens.read(tokens.make(staff.id, vouched=True, now_s=1), now_s=2) == person


async def test_staff_lead_a_room(gate_app: Any, browser: Browser, database: Database, settings: Settings) -> None:
    rooms: Gate = gate_app.app.state.gate
    for _ in range(3):
        await join(rooms)
    await browser.see(f"/login?key={key_of(gate_app)}")
    assert "Lobby" in (await browser.see("/admin")).text
    assert "Take a place" not in (await browser.see("/drops/boots/room")).text, "staff are no shop's customers"

    async with database.transaction() as conn:
        await report_goods(conn, room_id=(await room_of(database)).id, report=GoodsReport(left=7, p99_ms=40.0))
    samples = RoomSamples(database, settings)
    assert await samples.take() == 1
    assert (samples.taken["boots"][0].waiting, samples.taken["boots"][0].left) == (3, 7)
    page = (await browser.see(ROOM)).text
    assert "<dt>Waiting</dt><dd>3</dd>" in page
    assert "The slowest orders take 40 ms" in page
    assert all(words not in page for words in ("Back to the drop", "Close the drop", "/admin/orders"))

    wrong = await browser.send(ROOM, ROOM, speed="many", message="Soon.")
    assert wrong.status_code == 422 and 'value="many"' in wrong.text and 'value="Soon."' in wrong.text
    assert (await room_of(database)).message == "", "nothing of a form with a mistake is kept"
    saved = await browser.send(ROOM, ROOM, speed="600", message="Soon.")
    assert "Saved." in saved.text and 'value="600"' in saved.text
    assert (await room_of(database)).message == "Soon."
    paused = await browser.send(ROOM, f"{ROOM}/pause", paused="1")
    assert "Nobody is let in." in paused.text and (await room_of(database)).paused
    await browser.send(ROOM, f"{ROOM}/pause", paused="0")
    assert not (await room_of(database)).paused

    asked = await browser.see(f"{ROOM}/open")
    assert "Lots are drawn among the 3 people who have a place now." in asked.text
    await browser.send(f"{ROOM}/open", f"{ROOM}/open")
    await eventually_phase(database, Phase.OPEN)
    assert str((await browser.see(f"{ROOM}/open")).url).endswith(ROOM), "it has opened"
    asked = await browser.see(f"{ROOM}/close")
    assert "A closed room cannot be opened again." in asked.text
    await browser.send(f"{ROOM}/close", f"{ROOM}/close")
    await eventually_phase(database, Phase.CLOSED)
    closed = (await browser.see(ROOM)).text
    assert "Closed" in closed and "What can be done" not in closed
    assert str((await browser.see(f"{ROOM}/close")).url).endswith(ROOM)
    after = await browser.client.post(f"{ROOM}/pause", headers=PAGE, data={})
    assert after.status_code in (400, 403), "a form without its token changes nothing"
    assert (await browser.see("/admin/drops/hats/room")).status_code == 404


async def test_staff_type_in_what_they_drew_in_public(gate_app: Any, browser: Browser, database: Database) -> None:
    async with database.transaction() as conn:
        await conn.execute("UPDATE gate.rooms SET beacon_source = 'staff'")
    await browser.see(f"/login?key={key_of(gate_app)}")
    early = await browser.send(ROOM, f"{ROOM}/beacon", value="4 2 6")
    assert early.status_code == 422 and "type it in right after the room has opened" in early.text
    assert "type it in on the page of the room" in (await browser.see(f"{ROOM}/open")).text
    await browser.send(f"{ROOM}/open", f"{ROOM}/open")
    assert "Saved." in (await browser.send(ROOM, f"{ROOM}/beacon", value="4 2 6")).text
    assert (await room_of(database)).beacon == "4 2 6"


async def eventually_phase(database: Database, phase: Phase) -> None:
    async def reached() -> bool:
        return (await room_of(database)).phase is phase

    await eventually(reached)


def test_the_command_says_where_to_sign_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_SECURITY__FORM_KEY", base64.b64encode(b"k" * 32).decode())
    monkeypatch.setenv("TIDEGATE_HTTP__BASE_URL", "https://gate.example")
    done = CliRunner().invoke(make_app(["room"]), ["room", "staff", "--name", "ann"])
    assert done.exit_code == 0, done.output
    assert re.fullmatch(r"https://gate\.example/login\?key=[A-Za-z0-9_-]{60,}\n", done.output)
    assert CliRunner().invoke(make_app(["room"]), ["room", "staff", "--name", ""]).exit_code != 0
