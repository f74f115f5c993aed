"""One database for all payment tests, emptied before each: a clone a test costs more than most of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from tests.gateway.server import Gateway, open_gateway
from tests.servers import TestCluster

EMPTY = """
DELETE FROM payments.refunds;
DELETE FROM payments.charges;
DELETE FROM payments.webhook_events;
DELETE FROM payments.sandbox_refunds;
DELETE FROM payments.sandbox_payments;
DELETE FROM payments.sandbox_webhooks;
"""


@pytest.fixture(scope="session")
def payments_url(cluster: TestCluster) -> Iterator[str]:
    url = cluster.clone()
    yield url
    cluster.drop(url)


@pytest.fixture
def database_url(payments_url: str) -> str:
    with psycopg.connect(payments_url, autocommit=True) as conn:
        conn.execute(EMPTY)
    return payments_url


@pytest.fixture
def fresh_database_url(cluster: TestCluster) -> Iterator[str]:
    """A database of its own, for tests that leave more behind than payments."""
    url = cluster.borrow()
    yield url
    cluster.give_back(url)


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    """A simulator of Stripe, for this test alone."""
    async with open_gateway() as gateway:
        yield gateway
