"""Valkey is not the record: killed between the joins and the draw, it takes no place and no order with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from tests.gate.conftest import MakeRoom, account, let_open
from tests.waiting import eventually
from tidegate.entrypoints.site import create_app
from tidegate.gate.rules import draw_of
from tidegate.platform.database import Database
from tidegate.platform.embedded.running import running
from tidegate.platform.embedded.valkey import EmbeddedValkey
from tidegate.platform.secrets import load_or_create
from tidegate.platform.settings import CacheSettings, Settings

DROP = "/api/v1/drops/boots"


async def test_valkey_killed_in_the_midst_of_a_sale(
    make_room: MakeRoom, database: Database, settings: Settings, tmp_path: Path
) -> None:
    server = EmbeddedValkey(tmp_path / "valkey", load_or_create(settings.home)["valkey_password"], CacheSettings())
    with running(server, log=tmp_path / "valkey.log") as valkey:
        quick = settings.gate.model_copy(update={"status_refresh_ms": 20})
        url = settings.model_copy(update={"gate": quick}).model_copy(
            update={"valkey_url": type(settings.valkey_url)(server.url())}
        )
        await make_room()
        app: Any = create_app(url)
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1:8000")
        async with app.app.router.lifespan_context(app.app), client as site:
            people = [await account(database) for _ in range(6)]
            places = [(await site.post(f"{DROP}/places", headers=who)).json() for who in people]
            valkey.kill()
            valkey.wait()
            late = await account(database)
            last = (await site.post(f"{DROP}/places", headers=late)).json()
            drawn = await let_open(database, settings)
            assert drawn.cut == 7, "who joined without Valkey is in the draw too"

            async def told() -> bool:
                return bool((await site.get(f"{DROP}/status")).json()["drawn"])

            await eventually(told)
            draw = draw_of(drawn)
            assert draw is not None
            for who, place in zip([*people, late], [*places, last], strict=True):
                ticket = {**who, "tidegate-ticket": place["ticket"]}
                found = (await site.get(f"{DROP}/places/{place['id']}", headers=ticket)).json()
                assert found["number"] == draw.number(place["index"])
                assert (await site.post(f"{DROP}/places", headers=who)).json()["id"] == place["id"]
