"""Applications that speak to notify over HTTP, without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx

from tidegate.notify.applications import KeyRole, create_key
from tidegate.notify.deliveries import deliver_due
from tidegate.platform.database import Database
from tidegate.platform.ids import EventId, new_id
from tidegate.platform.settings import Settings


@dataclass(frozen=True, slots=True)
class Application:
    """An application and its key."""

    web: httpx.AsyncClient
    token: str

    async def ask(self, method: str, path: str, *, key: str = "", **body: Any) -> httpx.Response:
        """One request of it; the body is what is named."""
        headers = {"authorization": f"Bearer {self.token}"} | ({"idempotency-key": key} if key else {})
        return await self.web.request(method, f"/api/v1/notify{path}", json=body or None, headers=headers)

    async def add(self, *external_ids: str, **fields: Any) -> None:
        """Have it know recipients, each with an address at post.example."""
        rows = [{"external_id": each, "email": f"{each}@post.example", **fields} for each in external_ids]
        answer = await self.ask("PUT", "/recipients", recipients=rows)
        assert answer.status_code == 200, answer.text

    async def follow(self, topic: str, *external_ids: str) -> None:
        """Have a topic, and these follow it."""
        assert (await self.ask("PUT", f"/topics/{topic}", title=topic.title())).status_code == 200
        answer = await self.ask("PUT", f"/topics/{topic}/followers", add=list(external_ids))
        assert answer.json() == {"added": len(external_ids), "removed": 0, "unknown": []}

    async def tell(self, *recipients: str, key: str = "", **changes: Any) -> httpx.Response:
        """Ask for a message to recipients that are named."""
        body = {
            "urgency": "transactional",
            "to": {"recipients": list(recipients)},
            "variables": {"title": "Your code", "body": "It is 42."},
        } | changes
        return await self.ask("POST", "/events", key=key or str(new_id()), **body)


async def make_application(
    database: Database, web: httpx.AsyncClient, slug: str, role: KeyRole = KeyRole.SENDER
) -> Application:
    """An application, known by this name from now on."""
    async with database.transaction() as conn:
        made = await create_key(conn, application=slug, role=role)
    return Application(web, made.token)


@asynccontextmanager
async def client_of(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app that runs in this process."""
    async with (
        app.app.router.lifespan_context(app.app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8000") as web,
    ):
        yield web


async def deliver(database: Database, settings: Settings, event_id: str) -> None:
    """What a worker does with an event's messages to single people."""
    await deliver_due(database, settings, limit=1_000, event_ids=[EventId(UUID(event_id))])
