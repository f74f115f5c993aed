"""Counting what somebody asks for in Valkey: buckets that fill up for a while, several at once.

Whoever counts decides what happens while Valkey is away, which is any of `OUTAGE`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Final, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tidegate.platform.settings import Settings

OUTAGE: Final = (RedisError, OSError, TimeoutError)
IPV6_PREFIX = 64
"""One customer's network: whoever has one IPv6 address has these all."""

COUNT: Final = """
local wait = 0
for _, bucket in ipairs(KEYS) do
    local count = redis.call('INCR', bucket)
    if count == 1 then redis.call('EXPIRE', bucket, ARGV[1]) end
    if count > tonumber(ARGV[2]) then wait = math.max(wait, redis.call('TTL', bucket), 1) end
end
return wait
"""

FORGET: Final = """
for _, bucket in ipairs(KEYS) do
    if redis.call('EXISTS', bucket) == 1 then redis.call('DECR', bucket) end
end
return 0
"""


async def count_in(settings: Settings, buckets: Sequence[str], *, window_s: int, most: int) -> int:
    """Add one to each bucket. Seconds until the fullest one ends when one is over `most`, else 0. Raises: OUTAGE."""
    return await _run_script(settings, COUNT, buckets, window_s, most)


async def take_back(settings: Settings, buckets: Sequence[str]) -> None:
    """Take one out of each bucket. Raises: OUTAGE."""
    await _run_script(settings, FORGET, buckets)


def network_of(address: str) -> str:
    """What attempts from `address` are counted under: the IPv4 address, the IPv6 /64, or the text itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))
    return str(parsed)


async def _run_script(settings: Settings, script: str, buckets: Sequence[str], *arguments: int) -> int:
    async with _valkey(settings) as valkey:
        answer = valkey.eval(script, len(buckets), *buckets, *(str(argument) for argument in arguments))
        return int(await cast(Awaitable[int], answer))


@asynccontextmanager
async def _valkey(settings: Settings) -> AsyncIterator[Redis]:
    """A connection for one exchange: what is counted here is rare, and nothing is left to close."""
    timeout_s = settings.cache.timeout_ms / 1000
    client = Redis.from_url(
        settings.require_valkey_url(),
        single_connection_client=True,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=None,
    )
    try:
        yield client
    finally:
        await client.aclose()
