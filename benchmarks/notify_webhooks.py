"""Webhooks an hour: a part of `python -m benchmarks notify`.

From the commit of the deliveries, made as an event's handler makes them but by one statement, until each is marked as
taken: found by the sweeper, claimed, signed, posted over real HTTP to a sink process, and marked, by the same workers.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import httpx
import psycopg

from tidegate import notify
from tidegate.platform.database import Database
from tidegate.platform.ids import PersonId, new_id
from tidegate.platform.settings import current_settings

POLL_S: Final = 0.1
LONGEST_S: Final = 600.0
ENDPOINTS: Final = 10
DATA: Final = {
    "order_id": "0192a000-0000-7000-8000-000000000000",
    "number": "K7P2-0001",
    "total": {"amount": 420, "currency": "GBP"},
    "lines": [{"title": "Lamp", "sku": "LAMP", "quantity": 1, "amount": 420}],
    "order_url": "http://127.0.0.1:8000/orders/1",
}


@dataclass(frozen=True, slots=True)
class Webhooks:
    """What was measured."""

    seconds: float
    count: int
    lost: int
    duplicated: int


async def call_endpoints(conn: psycopg.Connection[Any], database: Database, *, sink_port: int, count: int) -> Webhooks:
    """Tell ten endpoints of `count` / 10 orders each."""
    limits = current_settings().webhooks
    endpoints: list[UUID] = []
    for n in range(ENDPOINTS):
        async with database.transaction() as own:
            keys = await notify.make_endpoint(
                own,
                limits,
                url=f"http://127.0.0.1:{sink_port}/{n}",
                description="",
                events=["order.paid"],
                topics=[],
                author_id=PersonId(new_id()),
                request_key=str(new_id()),
            )
        endpoints.append(keys.endpoint.endpoint_id)
    before = await _sink(sink_port)
    conn.execute(
        """
        INSERT INTO notify.deliveries (event_id, recipient_id, channel, template, variables)
        SELECT event_id, endpoint_id, 'webhook', 'order.paid', %s
        FROM (SELECT uuidv7() AS event_id FROM generate_series(1, %s)) AS e, unnest(%s::uuid[]) AS endpoint_id
        """,
        (json.dumps(DATA), count // ENDPOINTS, endpoints),
    )
    begun_s = time.monotonic()
    while _left(conn, endpoints):
        if time.monotonic() - begun_s > LONGEST_S:
            raise RuntimeError(f"not called within {LONGEST_S:g} s")
        await asyncio.sleep(POLL_S)
    took_s, after = time.monotonic() - begun_s, await _sink(sink_port)
    taken, ids = after["calls"] - before["calls"], after["ids"] - before["ids"]
    told = count // ENDPOINTS * ENDPOINTS
    return Webhooks(took_s, told, told - ids, taken - ids)


def _left(conn: psycopg.Connection[Any], endpoints: list[UUID]) -> bool:
    found = conn.execute(
        """
        SELECT FROM notify.deliveries
        WHERE state = 'pending' AND channel = 'webhook' AND recipient_id = ANY (%s) LIMIT 1
        """,
        (endpoints,),
    )
    return found.fetchone() is not None


async def _sink(port: int) -> dict[str, int]:
    async with httpx.AsyncClient(timeout=30) as client:
        found: dict[str, int] = (await client.get(f"http://127.0.0.1:{port}/")).json()
    return found
