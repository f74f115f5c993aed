"""Probes say in one word what is the matter, and wait for nothing long."""

from __future__ import annotations

import asyncio
import time

import httpx
from fastapi import FastAPI

from tests.platform.edge.conftest import HOST, small_settings
from tidegate.platform.edge.health import health_router
from tidegate.platform.edge.stack import make_app


async def well() -> None: ...


async def ill() -> None:
    raise ConnectionError("postgresql://tidegate:hush@10.0.0.1/shop")


async def hanging() -> None:
    await asyncio.sleep(60)


async def probe(path: str, **checks: object) -> httpx.Response:
    app = FastAPI(openapi_url=None)
    app.include_router(health_router(checks))  # type: ignore[arg-type]
    transport = httpx.ASGITransport(make_app(app, small_settings()))
    async with httpx.AsyncClient(transport=transport, base_url=HOST) as http:
        return await http.get(path)


async def test_ready_when_every_part_is_well() -> None:
    response = await probe("/readyz", database=well, valkey=well)
    assert response.status_code == 200
    assert response.json() == {"status": "ok", "parts": {"database": "ok", "valkey": "ok"}}


async def test_not_ready_while_a_part_is_away() -> None:
    started = time.monotonic()
    response = await probe("/readyz", database=ill, valkey=hanging, migrations=well)
    assert time.monotonic() - started < 5
    assert response.status_code == 503
    assert response.headers["retry-after"]
    assert response.json()["parts"] == {"database": "failed", "valkey": "timeout", "migrations": "ok"}
    assert "hush" not in response.text


async def test_alive_whatever_is_away() -> None:
    assert (await probe("/livez", database=ill)).status_code == 200
