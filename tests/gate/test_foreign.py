"""The gate in front of sites that know nothing of it: one on FastAPI, one on Flask, verified offline."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import flask
import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI, Request, WebSocket
from fastapi.requests import HTTPConnection

from tests.gate.rooms import KEY, KEY_ID, a_pass
from tidegate.gate.foreign import AsgiGuard, Guard, WsgiGuard
from tidegate.gate.passes import pass_of
from tidegate.gate.shop_words import ShopKey
from tidegate.platform.ids import DropId, PersonId, PlaceId

pytestmark = pytest.mark.anyio

DROP, PLACE, BUYER = DropId(UUID(int=1)), PlaceId(UUID(int=2)), PersonId(UUID(int=3))
ROOM = "https://shop.example/drops/lamp/room"
SITE = "https://old.example"


def public(key: Ed25519PrivateKey) -> str:
    return base64.urlsafe_b64encode(key.public_key().public_bytes_raw()).rstrip(b"=").decode()


class Keys:
    """The gate's public keys as a foreign site fetches them; counts how often it asks."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {KEY_ID: public(KEY)}
        self.away = False
        self.asked = 0

    def __call__(self) -> Mapping[str, str]:
        self.asked += 1
        if self.away:
            raise OSError("no gate")
        return self.known


def on_fastapi(guard: Guard) -> Any:
    site = FastAPI()

    @site.get("/")
    def home() -> str:
        return "home"

    @site.api_route("/buy", methods=["GET", "POST"])
    @site.get("/buy/{what:path}")
    def buy(request: Request, what: str = "") -> str:
        return f"{request.scope['tidegate.pass'].place_id} {what}"

    return httpx.ASGITransport(app=AsgiGuard(site, guard, paths=("/buy",)))  # type: ignore[arg-type]


def on_flask(guard: Guard) -> Any:
    site = flask.Flask("foreign")

    @site.get("/")
    def home() -> str:
        return "home"

    @site.route("/buy", methods=["GET", "POST"], defaults={"what": ""})
    @site.get("/buy/<path:what>")
    def buy(what: str) -> str:
        return f"{flask.request.environ['tidegate.pass'].place_id} {what}"

    return httpx.WSGITransport(app=WsgiGuard(site.wsgi_app, guard, paths=("/buy",)))


class Browser:
    """Somebody at a foreign site of either kind."""

    def __init__(self, transport: Any) -> None:
        kind = httpx.AsyncClient if isinstance(transport, httpx.AsyncBaseTransport) else httpx.Client
        self.client: Any = kind(transport=transport, base_url=SITE)

    async def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        found = self.client.request(method, path, **more)
        answer: httpx.Response = await found if isinstance(self.client, httpx.AsyncClient) else found
        return answer

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.ask("GET", path, **more)


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture(params=[on_fastapi, on_flask], ids=["FastAPI", "Flask"])
async def browser(request: pytest.FixtureRequest, keys: Keys) -> Browser:
    return Browser(request.param(Guard(keys=keys, drop=DROP, room=ROOM, again_s=0.0)))


async def test_without_a_pass_people_go_to_the_room_and_come_back_to_where_they_were(browser: Browser) -> None:
    assert "home" in (await browser.get("/")).text
    sent = await browser.get("/buy/a%20lamp?size=2")
    assert sent.status_code == 303
    assert sent.headers["cache-control"] == "no-store"
    room = urlsplit(sent.headers["location"])
    assert f"{room.scheme}://{room.netloc}{room.path}" == ROOM
    assert parse_qs(room.query) == {"return_to": [f"{SITE}/buy/a%20lamp?size=2"]}
    refused = await browser.ask("POST", "/buy")
    assert (refused.status_code, refused.headers["content-type"]) == (403, "application/problem+json")
    assert refused.json()["room"] == ROOM


async def test_the_pass_in_the_address_becomes_a_cookie_and_leaves_the_address(browser: Browser) -> None:
    token = a_pass(DROP, PLACE, BUYER)
    back = await browser.get(f"/buy/lamp?size=2&tidegate_pass={token}")
    assert (back.status_code, back.headers["location"]) == (303, "/buy/lamp?size=2")
    cookie = back.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "Secure", "SameSite=Lax", "Path=/", "Max-Age="))
    assert back.headers["referrer-policy"] == "no-referrer"
    inside = await browser.get("/buy/lamp?size=2")
    assert inside.status_code == 200
    assert f"{PLACE} lamp" in inside.text
    assert (await browser.ask("POST", "/buy")).status_code == 200


async def test_programs_send_it_in_a_header(browser: Browser) -> None:
    headers = {"tidegate-pass": a_pass(DROP, PLACE, BUYER)}
    assert str(PLACE) in (await browser.get("/buy", headers=headers)).text
    assert (await browser.get("/buy")).status_code == 303


async def test_other_passes_lead_to_the_room(browser: Browser) -> None:
    for wrong in (
        "x",
        a_pass(DropId(UUID(int=9)), PLACE, BUYER),
        a_pass(DROP, PLACE, BUYER, in_s=-1),
        a_pass(DROP, PLACE, BUYER)[:-6] + "AAAAAA",
    ):
        sent = await browser.get(f"/buy?size=1&tidegate_pass={wrong}")
        assert sent.status_code == 303
        assert parse_qs(urlsplit(sent.headers["location"]).query) == {"return_to": [f"{SITE}/buy?size=1"]}
        assert (await browser.get("/buy", headers={"tidegate-pass": wrong})).status_code == 303


async def socket(app: Any, address: str, **headers: str) -> list[Any]:
    """What an application sends to a web socket that is opened at `address` (ASGI)."""
    path, _, query = address.partition("?")
    scope = {
        "type": "websocket",
        "scheme": "wss",
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        "subprotocols": [],
    }
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


def refused(sent: list[Any]) -> bool:
    """Whether it was closed before it was accepted, so that nothing of the site ran."""
    return [(each["type"], each.get("code")) for each in sent] == [("websocket.close", 1008)]


def with_a_socket() -> FastAPI:
    site = FastAPI()

    @site.websocket("/buy/live")
    @site.websocket("/news")
    async def live(browser: WebSocket) -> None:
        await browser.accept()
        held = browser.scope.get("tidegate.pass")
        await browser.send_text(str(held.place_id) if held else "news")
        await browser.close()

    return site


def account_of(scope: dict[str, Any]) -> str | None:
    return HTTPConnection(scope).cookies.get("account")


async def test_a_web_socket_needs_a_pass_as_well(keys: Keys) -> None:
    app = AsgiGuard(with_a_socket(), Guard(keys=keys, drop=DROP, room=ROOM), paths=("/buy",))
    good = a_pass(DROP, PLACE, BUYER)
    for sent in (
        await socket(app, "/buy/live", tidegate_pass=good),
        await socket(app, "/buy/live", cookie=f"tidegate_pass={good}"),
        await socket(app, f"/buy/live?tidegate_pass={good}"),
    ):
        assert [each.get("text") for each in sent] == [None, str(PLACE), None]
    assert (await socket(app, "/news"))[1]["text"] == "news"
    for wrong in ("", "x", a_pass(DropId(UUID(int=9)), PLACE, BUYER), a_pass(DROP, PLACE, BUYER, in_s=-1)):
        assert refused(await socket(app, "/buy/live", tidegate_pass=wrong))
        assert refused(await socket(app, f"/buy/live?tidegate_pass={wrong}"))
    assert refused(await socket(app, "/buy/live"))


async def test_a_web_socket_is_for_the_account_only_that_the_pass_was_given_to(keys: Keys) -> None:
    secret = "tgs_" + base64.urlsafe_b64encode(bytes(32)).rstrip(b"=").decode()
    ann = ShopKey(secret).buyer_id("ann")
    guard = Guard(keys=keys, drop=DROP, room=ROOM, key=secret, who=account_of)
    app = AsgiGuard(with_a_socket(), guard)
    passed = f"tidegate_pass={a_pass(DROP, PLACE, ann)}"
    assert (await socket(app, "/buy/live", cookie=f"account=ann; {passed}"))[1]["text"] == str(PLACE)
    for stolen in (f"account=bob; {passed}", passed):
        assert refused(await socket(app, "/buy/live", cookie=stolen))


async def test_who_shows_no_pass_waits_for_no_keys(browser: Browser, keys: Keys) -> None:
    keys.away = True
    for path, headers in (("/buy", {}), ("/buy", {"tidegate-pass": "x"}), ("/buy?tidegate_pass=a.b.c", {})):
        assert (await browser.get(path, headers=headers)).status_code == 303
    assert keys.asked == 0
    await browser.get("/buy", headers={"tidegate-pass": a_pass(DROP, PLACE, BUYER)})
    assert keys.asked == 1


def test_no_address_leads_to_another_site(keys: Keys) -> None:
    site = flask.Flask("foreign")
    guarded = WsgiGuard(site.wsgi_app, Guard(keys=keys, drop=DROP, room=ROOM))
    with httpx.Client(transport=httpx.WSGITransport(app=guarded)) as client:
        back = client.get(f"{SITE}//evil.example/x?tidegate_pass={a_pass(DROP, PLACE, BUYER)}")
    assert (back.status_code, back.headers["location"]) == (303, "/evil.example/x")


async def test_keys_come_and_go_while_the_site_runs_and_the_gate_may_be_away(browser: Browser, keys: Keys) -> None:
    headers = {"tidegate-pass": a_pass(DROP, PLACE, BUYER)}
    keys.away = True
    assert (await browser.get("/buy", headers=headers)).status_code == 303
    keys.away = False
    assert (await browser.get("/buy", headers=headers)).status_code == 200
    asked = keys.asked
    keys.away = True
    for _ in range(5):
        assert (await browser.get("/buy", headers=headers)).status_code == 200, "verified offline"
    assert keys.asked == asked


async def test_the_gate_of_a_shop_gives_its_keys(site: httpx.AsyncClient) -> None:
    document = (await site.get("/api/v1/gate/keys")).json()
    guard = Guard(keys=lambda: {each["kid"]: each["x"] for each in document["keys"]}, drop=DROP, room=ROOM)
    guard.renew()
    app: Any = site._transport.app  # type: ignore[attr-defined]
    ring = app.app.state.gate.ring
    ends_at = datetime.now(UTC) + timedelta(minutes=1)
    token = pass_of(ring, drop_id=DROP, place_id=PLACE, buyer_id=BUYER, ends_at=ends_at)
    held = guard.admit(token)
    assert held is not None
    assert held.place_id == PLACE
