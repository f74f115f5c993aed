"""Transactions on a real PostgreSQL, directly and through a proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg import AsyncConnection

from tests.platform.entries import TABLES, connector
from tidegate.platform.broken_network import Proxy
from tidegate.platform.database import Connection
from tidegate.platform.transactions import PostgresTransactions


@pytest.fixture
def entries_url(database_url: str) -> str:
    """A database with the tables of `entries`."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(TABLES)
    return database_url


@pytest.fixture
async def direct(entries_url: str) -> AsyncIterator[Connection]:
    """A connection that nothing disturbs."""
    async with await AsyncConnection.connect(entries_url, autocommit=True) as conn:
        yield conn


@pytest.fixture
async def proxy(entries_url: str) -> AsyncIterator[Proxy]:
    async with Proxy.before_postgres(entries_url) as proxy:
        yield proxy


@pytest.fixture(params=[False, True], ids=["locks until the disk", "locks released early"])
def release_early(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
async def transactions(entries_url: str, release_early: bool) -> AsyncIterator[PostgresTransactions]:
    transactions = PostgresTransactions(connector(entries_url), release_early=release_early)
    yield transactions
    await transactions.close()


@pytest.fixture
async def through(proxy: Proxy, release_early: bool) -> AsyncIterator[PostgresTransactions]:
    """Transactions through the proxy."""
    transactions = PostgresTransactions(connector(proxy.url), release_early=release_early)
    yield transactions
    await transactions.close()
