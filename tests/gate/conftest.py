"""Rooms to wait in. Tests of the gate share one database, emptied between them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.emptying import empty
from tests.guests import make_guest
from tests.servers import TestCluster
from tidegate.entrypoints.site import create_app
from tidegate.gate import Gate, Joined, JoinWish, Room, RoomMode, create_room, find_room, open_gate, open_rooms_once
from tidegate.platform.database import Database
from tidegate.platform.ids import DropId, PersonId, new_id
from tidegate.platform.settings import Settings

MakeRoom = Callable[..., Awaitable[Room]]


@pytest.fixture(scope="package")
def package_database_url(cluster: TestCluster) -> Iterator[str]:
    """The database of these tests."""
    url = cluster.clone()
    yield url
    cluster.drop(url)


@pytest.fixture
def database_url(package_database_url: str) -> str:
    """It, emptied."""
    return empty(package_database_url)


@pytest.fixture
async def gate(database: Database, settings: Settings) -> AsyncIterator[Gate]:
    """The gate of one process."""
    async with open_gate(database, settings) as gate:
        yield gate


@pytest.fixture
def make_room(database: Database, settings: Settings) -> MakeRoom:
    """Make a room: in its lobby unless told otherwise, an hour before it opens."""

    async def make(
        slug: str = "boots",
        *,
        mode: RoomMode = RoomMode.DRAW,
        opens_in_s: float = 3600,
        lobby_in_s: float = -60,
        guests: bool = False,
        beacon_source: str = "",
    ) -> Room:
        now = datetime.now(UTC)
        async with database.transaction() as conn:
            await create_room(
                conn,
                drop_id=DropId(new_id()),
                slug=slug,
                mode=mode,
                opens_at=now + timedelta(seconds=opens_in_s),
                lobby_opens_at=now + timedelta(seconds=min(lobby_in_s, opens_in_s)),
                guests=guests,
                beacon_source=beacon_source,
            )
        await open_rooms_once(database)
        return await room_of(database, slug)

    return make


async def room_of(database: Database, slug: str = "boots") -> Room:
    async with database.connection() as conn:
        room = await find_room(conn, slug=slug)
    assert room is not None
    return room


async def let_open(database: Database, settings: Settings, slug: str = "boots") -> Room:
    """T0 is now."""
    async with database.transaction() as conn:
        await conn.execute(
            "UPDATE gate.rooms SET opens_at = clock_timestamp(), lobby_opens_at = least(lobby_opens_at,"
            " clock_timestamp()) WHERE slug = %s",
            (slug,),
        )
    await open_rooms_once(database)
    return await room_of(database, slug)


@pytest.fixture
async def site(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the whole site application, whose status is renewed as fast as may be."""
    async with site_of(settings) as client:
        yield client


@asynccontextmanager
async def site_of(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """The same with these settings."""
    quick = settings.gate.model_copy(update={"status_refresh_ms": 20})
    app: Any = create_app(settings.model_copy(update={"demo": True, "gate": quick}))
    transport = httpx.ASGITransport(app=app)
    lifespan = app.app.router.lifespan_context(app.app)
    async with lifespan, httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        yield client


async def account(database: Database) -> dict[str, str]:
    """Headers of somebody with an account."""
    async with database.transaction() as conn:
        made = await make_guest(conn)
        await conn.execute(
            "UPDATE accounts.people SET role = 'customer', email_sealed = '.', email_fingerprint = sha256(%s)"
            " WHERE id = %s",
            (made.person.id.bytes, made.person.id),
        )
    return {"authorization": f"Bearer {made.token}"}


def somebody() -> PersonId:
    return PersonId(new_id())


async def join(gate: Gate, buyer_id: PersonId | None = None, slug: str = "boots", *, guest: bool = False) -> Joined:
    return await gate.join(JoinWish(slug, buyer_id or somebody(), guest))
