"""Tests of notify share one database, emptied between them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.emptying import empty
from tests.notify.postbox import Postbox, open_postbox
from tests.servers import TestCluster
from tidegate.platform.settings import Settings


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
async def postbox() -> AsyncIterator[Postbox]:
    """A mail server that keeps what it gets."""
    async with open_postbox() as box:
        yield box


@pytest.fixture
def mailing(settings: Settings, postbox: Postbox) -> Settings:
    """Settings of a shop that mails to the postbox."""
    return with_mail(settings, smtp_url=postbox.url, sender="The Shop <shop@shop.example>", timeout_s=5)


def with_mail(settings: Settings, **changes: object) -> Settings:
    """These settings with others for mail."""
    return settings.model_copy(update={"mail": settings.mail.model_copy(update=changes)})
