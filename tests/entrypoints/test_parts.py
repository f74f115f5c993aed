"""Buying and waiting as processes of their own: the site leads their requests to them, with the same people in both."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from tests.checkout.buying import guest, post, purchase_body
from tests.checkout.conftest import put_on_sale
from tests.waiting import eventually
from tidegate.entrypoints import site
from tidegate.entrypoints.parts import CHECKOUT, GATE, PARTS, Part, create_app
from tidegate.platform.database import Database
from tidegate.platform.edge.forwarding import FORWARDED
from tidegate.platform.edge.server import listen, make_server
from tidegate.platform.ids import new_id
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A demo shop's site, beside which a process of each part serves."""
    demo = settings.model_copy(update={"demo": True})
    inner = demo.model_copy(update={"http": demo.http.model_copy(update={"trusted_proxies": ["127.0.0.1/32"]})})
    async with AsyncExitStack() as stack:
        ports = {}
        for part in PARTS:
            sock = listen("127.0.0.1", 0)
            server = make_server(create_app(part, inner), inner.http)
            running = asyncio.create_task(server._serve([sock]))
            stack.push_async_callback(asyncio.wait_for, running, 20)
            stack.callback(setattr, server, "should_exit", True)
            ports[part.name] = [sock.getsockname()[1]]
            await eventually(partial(getattr, server, "started"))
        settings.endpoints_file.parent.mkdir(exist_ok=True)
        settings.endpoints_file.write_text(json.dumps({"parts": ports}))
        app: Any = site.create_app(demo)
        await stack.enter_async_context(app.app.router.lifespan_context(app.app))
        transport = httpx.ASGITransport(app=app)
        yield await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000"))


def answered(part: Part) -> float:
    return float(FORWARDED.labels(part.name, "answered")._value.get())


async def test_the_parts_answer_for_the_site(client: httpx.AsyncClient, database: Database) -> None:
    await put_on_sale(database, "LAMP", stock=5)
    before = answered(CHECKOUT), answered(GATE)
    who = await guest(client)
    bought = await post(client, "/api/v1/purchases", purchase_body(), who)
    assert (bought.status_code, bought.json()["state"]) == (201, "paid")
    order = await client.get(f"/api/v1/orders/{bought.json()['id']}", headers=who)
    assert order.json()["state"] == "paid"
    page = await client.get(f"/orders/{bought.json()['id']}", headers={**who, "accept": "text/html"})
    assert page.status_code == 200 and "Thank you" in page.text
    assert answered(CHECKOUT) == before[0] + 3
    missing = await client.get("/api/v1/drops/none/draw")
    assert (missing.status_code, missing.json()["type"]) == (404, "/problems/room-unknown")
    no_room = await client.get("/drops/none/room", headers={"accept": "text/html"})
    assert (no_room.status_code, no_room.headers["location"]) == (303, "/drops/none")
    assert answered(GATE) == before[1] + 2
    assert (await client.get("/api/v1/orders", headers=who)).status_code in (200, 401, 404), "not a part's"
    assert answered(CHECKOUT) == before[0] + 3


async def test_a_person_whose_answer_was_lost_gets_a_page(client: httpx.AsyncClient, settings: Settings) -> None:
    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(die, "127.0.0.1", 0) as deadly:
        ports = [deadly.sockets[0].getsockname()[1]]
        settings.endpoints_file.write_text(json.dumps({"parts": {"checkout": ports}}))

        async def lost() -> bool:
            answer = await client.post(f"/orders/{new_id()}/pay", headers={"accept": "text/html"})
            if answer.status_code != 503:
                return False
            assert answer.headers["content-type"].startswith("text/html")
            assert "Look whether it took effect before you try again." in answer.text
            assert answer.headers["x-request-id"] and answer.headers["content-security-policy"]
            return True

        await eventually(lost)


def test_the_site_has_every_route_of_its_parts() -> None:
    """It serves them where no part does."""
    routes = [route for router in site.ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    own = {(method, route.path) for route in routes for method in route.methods or ()}
    own |= {(route.method, route.path) for route in site.HOT_ROUTES}
    for part in PARTS:
        those = part.routes(demo=False)
        assert len(those) > 8
        assert set(those) <= own, part.name
