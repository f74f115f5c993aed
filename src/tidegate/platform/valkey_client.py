"""The client of Valkey that a process shares: one for each database pool, closed with it.

For what asks now and then; hot paths have lines of their own (`valkey`).
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from redis.asyncio import Redis

from tidegate.platform.database import Database
from tidegate.platform.settings import Settings

_clients: WeakKeyDictionary[Database, dict[str, Redis]] = WeakKeyDictionary()


def valkey_of(database: Database, settings: Settings) -> Redis:
    """The client of a process, by its database pool. It connects when it is first used, and again after a failure."""
    known = _clients.setdefault(database, {})
    url = settings.require_valkey_url()
    if url not in known:
        timeout_s = settings.cache.timeout_ms / 1000
        client: Redis = Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
        database.close_with(client.aclose)
        known[url] = client
    return known[url]
