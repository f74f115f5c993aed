"""The pool gives out connections that stand, and asks those that rested whether they do."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from tests.platform.entries import value
from tests.waiting import eventually
from tidegate.platform import database as pools
from tidegate.platform.broken_network import Proxy
from tidegate.platform.database import Connection, Database
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
async def far(proxy: Proxy, settings: Settings) -> AsyncIterator[Database]:
    """A pool of one connection, through the proxy."""
    limits = settings.database.model_copy(update={"pool_min": 1, "pool_max": 1})
    database = Database(settings.model_copy(update={"database": limits, "database_url": SecretStr(proxy.url)}))
    await database.open()
    yield database
    await database.close()


async def pid(database: Database) -> object:
    async with database.connection() as conn:
        return await value(conn, "SELECT pg_backend_pid()")


async def test_a_connection_that_was_just_used_is_given_without_a_round_trip(
    far: Database, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "UNASKED_S", 3_600.0)
    await pid(far)
    proxy.round_trips = 0
    await pid(far)
    assert proxy.round_trips == 1
    monkeypatch.setattr(pools, "UNASKED_S", 0.0)
    proxy.round_trips = 0
    await pid(far)
    assert proxy.round_trips == 2


async def test_one_whose_server_went_away_since_is_not_given_out(
    far: Database, proxy: Proxy, direct: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "UNASKED_S", 3_600.0)
    first = await pid(far)
    await direct.execute("SELECT pg_terminate_backend(%s)", (first,))
    await eventually(lambda: not proxy.has_connections)
    assert await pid(far) != first
