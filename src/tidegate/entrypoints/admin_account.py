"""The first administrator."""

from __future__ import annotations

import asyncio

from tidegate import accounts
from tidegate.platform.database import open_database
from tidegate.platform.settings import Settings


def ensure(settings: Settings) -> str | None:
    """See to it that there is an administrator; the generated password the first time, None from then on.

    The account's address is `accounts.ADMIN_EMAIL`. Raises: OUTAGE when PostgreSQL is away.
    """
    return asyncio.run(_ensure(settings))


async def _ensure(settings: Settings) -> str | None:
    async with open_database(settings) as database:
        return await accounts.ensure_admin(database)
