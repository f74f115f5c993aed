"""Pages that are rendered once for all who see the same: each gets their own, and what they would have got without."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from tests.storefront.conftest import Reader, Sell, WaitFor, account_of, reading
from tests.waiting import eventually
from tidegate.gate import Gate, Phase, open_rooms_once
from tidegate.platform.database import Database
from tidegate.storefront import pages_checkout, pages_room
from tidegate.web import moulds, render

pytestmark = pytest.mark.anyio

ROOM = "/drops/lamp-night/room"
TOKENS = re.compile(r'name="form_token" value="([^"]+)"')
VARYING = re.compile(r'(name="form_token" value|data-server-time)="[^"]*"')
OWN = re.compile(r'data-place="([^"]+)" data-ticket="([^"]+)" data-index="([^"]+)"')
RECEIPT = re.compile(r"data-receipt>([^<]+)<")


@pytest.fixture
async def crowd(app: Any) -> AsyncIterator[list[Reader]]:
    """Four who read, each with cookies of their own."""
    async with AsyncExitStack() as stack:
        yield [Reader(await stack.enter_async_context(reading(app))) for _ in range(4)]


@pytest.fixture(autouse=True)
def compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each page that is filled in is compared with the one that is rendered for that visitor; the paths of these."""
    paths: list[str] = []

    def both(
        request: Request, template: str, *, same: Any, make: Callable[[Any], Any], own: Any, headers: Any
    ) -> Response:
        filled = moulds.render_moulded(request, template, same=same, make=make, own=own, headers=headers)
        plain = render(request, template, make(own), headers=headers)
        assert VARYING.sub("", bytes(filled.body).decode()) == VARYING.sub("", bytes(plain.body).decode())
        assert [pair for pair in filled.raw_headers if pair[0] != b"set-cookie"] == [
            pair for pair in plain.raw_headers if pair[0] != b"set-cookie"
        ]
        assert ("set-cookie" in filled.headers) == ("set-cookie" in plain.headers)
        paths.append(request.url.path)
        return filled

    for page in (pages_room, pages_checkout):
        monkeypatch.setattr(page, "render_moulded", both)
    return paths


async def seen(reader: Reader, path: str) -> str:
    page = await reader.get(path)
    assert page.status_code == 200, page.text
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["vary"] == "Accept-Language, Cookie"
    return page.text


def moulds_of(app: Any) -> dict[Any, Any]:
    found: dict[Any, Any] = getattr(app.app.state, "moulds", {})
    return found


async def check_all(app: Any, crowd: list[Reader], paths: list[str]) -> list[str]:
    """What each sees: the same from what is kept and rendered anew; the tokens of its forms are of one browser."""
    moulds_of(app).clear()
    pages = [await seen(reader, path) for reader, path in zip(crowd, paths, strict=True)]
    made = len(moulds_of(app))
    assert made > 0
    assert [VARYING.sub("", await seen(reader, path)) for reader, path in zip(crowd, paths, strict=True)] == [
        VARYING.sub("", page) for page in pages
    ]
    assert len(moulds_of(app)) == made, "nothing was rendered anew"
    for reader, path, page in zip(crowd, paths, pages, strict=True):
        moulds_of(app).clear()
        assert VARYING.sub("", await seen(reader, path)) == VARYING.sub("", page)
    assert not re.search(r"own-[0-9a-f]{32}", "".join(pages))
    return pages


@pytest.fixture
async def lobby(app: Any, sell: Sell, wait_for: WaitFor, database: Database) -> Gate:
    """The gate, with a room whose lobby is open."""
    await sell("Lamp", stock=9)
    await wait_for("LAMP", in_s=600, guests=True, title="Lamp <Night>")
    await open_rooms_once(database)
    gate: Gate = app.app.state.gate
    await eventually(lambda: "lamp-night" in gate.statuses and gate.kept("lamp-night").room.phase is Phase.LOBBY)
    return gate


async def test_everybody_in_a_room_gets_their_own_page(
    app: Any, crowd: list[Reader], lobby: Gate, database: Database
) -> None:
    ada, tom, mia = crowd[1:]
    made = await account_of(database)
    mia.client.cookies.set("tidegate_session", made.token)
    before = await check_all(app, crowd, [ROOM] * 4)
    assert len({VARYING.sub("", page) for page in before}) == 2, "those with an account, and the others"
    assert len({TOKENS.findall(page)[0] for page in before}) == 4
    for reader in (ada, tom, mia):
        joined = await reader.send(ROOM, ROOM)
        assert joined.headers["location"] == ROOM

    async def counted() -> bool:
        return bool(lobby.kept("lamp-night").room.size == 3)

    await eventually(counted)
    pages = await check_all(app, crowd, [ROOM] * 4)
    assert OWN.search(pages[0]) is None
    assert "Take a place" in pages[0]
    own = [OWN.search(page) for page in pages[1:]]
    receipts = [RECEIPT.search(page) for page in pages[1:]]
    assert all(own)
    assert all(receipts)
    for values in zip(*(found.groups() for found in own if found), strict=True):
        assert len(set(values)) == 3, values
    assert len({found[1] for found in receipts if found}) == 3
    for page in pages:
        assert '<dd class="num" data-show="joined">3</dd>' in page
    for name, page in (("account", pages[3]), ("browser", pages[1])):
        assert ("kept with your account, and is here" in page) == (name == "account")
    for reader in crowd:
        await seen(reader, ROOM)
    assert len(moulds_of(app)) == 3, "strangers, guests and people with an account"
    text = "".join("".join(each.texts) for each in moulds_of(app).values())
    for found in (*own, *receipts):
        assert found is not None
        assert not any(value in text for value in found.groups() if len(value) > 5), "nobody's own is kept"


async def test_a_room_page_follows_what_is_said_and_done(crowd: list[Reader], lobby: Gate, database: Database) -> None:
    assert "Soon" not in await seen(crowd[0], ROOM)
    async with database.transaction() as conn:
        await conn.execute("UPDATE gate.rooms SET message = 'Soon <b>now</b>'")
    await eventually(lambda: lobby.kept("lamp-night").room.message != "")
    assert "Soon &lt;b&gt;now&lt;/b&gt;" in await seen(crowd[0], ROOM)
    assert "Waiting room: Lamp &lt;Night&gt;" in await seen(crowd[1], ROOM)


async def test_everybody_gets_a_checkout_of_their_own(
    app: Any, crowd: list[Reader], sell: Sell, compared: list[str]
) -> None:
    await sell("Red Lamp", stock=50)
    await sell("Blue Lamp", stock=50, price=700)
    wishes = (("red-lamp", "1"), ("red-lamp", "1"), ("red-lamp", "2"), ("blue-lamp", "1"))
    paths = []
    for reader, (slug, quantity) in zip(crowd, wishes, strict=True):
        held = await reader.send(f"/products/{slug}", "/holds", sku=slug.upper(), quantity=quantity)
        paths.append(held.headers["location"])
    pages = await check_all(app, crowd, paths)
    assert compared == 2 * paths + paths
    assert len(set(paths)) == 4
    for path, page in zip(paths, pages, strict=True):
        assert set(re.findall(r"/checkout/[0-9a-f-]{36}", page)) == {path}
        assert f'name="then" value="{path}"' in page
    assert len({re.findall(r'data-until="([^"]+)"', page)[0] for page in pages}) == 4
    assert all(("Red Lamp" in page) != ("Blue Lamp" in page) for page in pages)
    assert [re.findall(r'name="quoted" value="(\d+)"', page) for page in pages] == [["250"], ["250"], ["500"], ["700"]]


async def test_what_somebody_typed_is_in_no_page_that_is_kept(app: Any, crowd: list[Reader], sell: Sell) -> None:
    await sell("Red Lamp", stock=50)
    reader = crowd[0]
    held = await reader.send("/products/red-lamp", "/holds", sku="RED-LAMP", quantity="1")
    checkout = held.headers["location"]
    wrong = await reader.send(checkout, checkout, email="ada@", name="Ada Lovelace", country="GB", quoted="250")
    assert wrong.status_code == 422
    assert "Ada Lovelace" in wrong.text
    looked = await reader.send(checkout, checkout, action="look", name="Ada Lovelace", country="GB")
    assert "Ada Lovelace" in looked.text
    assert "Ada" not in repr(moulds_of(app))
    assert "Ada" not in await seen(reader, checkout)


async def test_only_so_many_pages_are_kept(
    app: Any, crowd: list[Reader], sell: Sell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.web.moulds.MOST", 2)
    await sell("Red Lamp", stock=50)
    reader = crowd[0]
    for quantity in range(1, 5):
        held = await reader.send("/products/red-lamp", "/holds", sku="RED-LAMP", quantity=str(quantity))
        assert f'value="{250 * quantity}"' in await seen(reader, held.headers["location"])
    assert len(moulds_of(app)) == 2
