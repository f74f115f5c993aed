"""Tests of notify share one database, emptied between them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.emptying import empty
from tests.servers import TestCluster


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
