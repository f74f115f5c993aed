"""Tests of accounts share one database, emptied between them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from tests.emptying import empty
from tests.servers import TestCluster
from tidegate import accounts
from tidegate.accounts import Desk, http, http_account, pages, pages_account
from tidegate.platform.database import Database
from tidegate.platform.edge.stack import make_app
from tidegate.platform.ids import PersonId
from tidegate.platform.settings import Settings
from tidegate.web import error_page


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
def taken() -> list[tuple[PersonId, PersonId]]:
    """Which guest became which person."""
    return []


@pytest.fixture
async def browser(
    database: Database, settings: Settings, taken: list[tuple[PersonId, PersonId]]
) -> AsyncIterator[httpx.AsyncClient]:
    """A browser on the pages of accounts."""

    async def take(conn: object, guest: PersonId, person: PersonId) -> None:
        taken.append((guest, person))

    app = FastAPI()
    for router in (http.router, http_account.router, pages.router, pages_account.router):
        app.include_router(router)
    transport = httpx.ASGITransport(make_app(app, settings, hot=http.ROUTES, error_page=error_page))
    headers = {"accept": "text/html", "sec-fetch-site": "same-origin"}
    async with (
        Redis.from_url(settings.require_valkey_url()) as valkey,
        accounts.open_sessions(database, settings, valkey=valkey) as sessions,
        httpx.AsyncClient(transport=transport, base_url=settings.base_url, headers=headers) as client,
    ):
        app.state.settings, app.state.database, app.state.sessions = settings, database, sessions
        app.state.resolve_person, app.state.make_guest = sessions.find, sessions.make_guest
        app.state.take_over = (take,)
        app.state.forget_person = ()
        yield client


@pytest.fixture
async def desk(database: Database, settings: Settings) -> AsyncIterator[Desk]:
    """What the use cases stand on."""
    async with (
        Redis.from_url(settings.require_valkey_url()) as valkey,
        accounts.open_sessions(database, settings, valkey=valkey) as sessions,
    ):
        yield Desk(database, settings, sessions)
