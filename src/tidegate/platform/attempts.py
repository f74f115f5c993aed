"""Counting wrong attempts in Valkey, per somebody and per network: two buckets, so that neither hides the other.

Both fail open: while Valkey is away nothing is counted. A limit that failed closed would make Valkey something that
nobody can sign in or buy without.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import structlog
from redis.asyncio import BlockingConnectionPool, Redis

from tidegate.platform.problems import TooManyRequests
from tidegate.platform.sealing import current_sealer
from tidegate.platform.settings import Settings
from tidegate.platform.valkey import OUTAGE, PAUSE_S, closed_is_lost

log = structlog.get_logger(__name__)

IPV6_PREFIX = 64
"""One customer's network: whoever has one IPv6 address has these all."""

MAX_CONNECTIONS = 16
"""Most exchanges with Valkey at once; others wait for their turn as long as for an answer."""

FULL_FOR = """
local function full_for(bucket, most)
    if (tonumber(redis.call('GET', bucket) or '0') or 0) < tonumber(most) then return 0 end
    return math.max(redis.call('TTL', bucket), 1)
end
"""
"""For scripts: for how many seconds a bucket is full that holds so many, 0 for not at all."""

COUNT = f"""{FULL_FOR}
local wait = 0
for place, bucket in ipairs(KEYS) do wait = math.max(wait, full_for(bucket, ARGV[place])) end
if wait > 0 then return wait end
for _, bucket in ipairs(KEYS) do
    if redis.call('INCR', bucket) == 1 then redis.call('EXPIRE', bucket, ARGV[#KEYS + 1]) end
end
return 0
"""
"""What is refused is not counted: whoever keeps on trying fills no bucket of others."""

FORGET = """
for _, bucket in ipairs(KEYS) do
    if redis.call('EXISTS', bucket) == 1 then redis.call('DECR', bucket) end
end
return 0
"""


_away_until: dict[str, float] = {}
"""Until when each Valkey of this process is left alone (monotonic clock): nobody else then waits for it in vain."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where attempts are counted: a key of Valkey, and how many it holds in a window."""

    key: str
    most: int


@dataclass(frozen=True, slots=True)
class Limit:
    """Buckets none of which may be full, and how to say that one is, for so many seconds."""

    buckets: tuple[Bucket, ...]
    words: Callable[[int], str]

    def refuse(self, wait_s: int) -> None:
        """Raises: TooManyRequests, unless `wait_s` is 0."""
        _refuse(wait_s, self.words)


def buckets_of(purpose: str, *, who: str, address: str, most: int, most_per_network: int = 0) -> tuple[Bucket, ...]:
    """The buckets of somebody and of the network of an address (empty: none); `most_per_network` 0: as many as `most`.

    Their keys are keyed hashes, since Valkey is no place for personal data.
    """
    sealer = current_sealer()
    own = Bucket(f"{purpose}:who:{sealer.fingerprint(who, column=f'attempts.{purpose}.who').hex()}", most)
    if not address:
        return (own,)
    network = sealer.fingerprint(network_of(address), column=f"attempts.{purpose}.network").hex()
    return (own, Bucket(f"{purpose}:network:{network}", most_per_network or most))


def network_of(address: str) -> str:
    """What attempts from `address` are counted under: the IPv4 address, the IPv6 /64, or the text itself."""
    try:
        socket.inet_pton(socket.AF_INET, address)
    except (OSError, ValueError):
        return _other_network_of(address)
    return address


def _other_network_of(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))
    return str(parsed)


class Attempts:
    """Counts in Valkey, over connections that are opened when they are needed. `close` it at its end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Redis | None = None

    @asynccontextmanager
    async def counted(
        self,
        buckets: Sequence[Bucket],
        *,
        window_s: int,
        wrong: type[Exception],
        words: Callable[[int], str],
    ) -> AsyncIterator[None]:
        """Count an attempt for the length of a block; unless that ends in `wrong`, it is not counted after all.

        It is counted before it is looked at, so that attempts sent at once cannot slip past together.
        Raises: TooManyRequests with `words(seconds)` when a bucket is full.
        """
        await self.count(buckets, window_s=window_s, words=words)
        failed = False
        try:
            yield
        except wrong:
            failed = True
            raise
        finally:
            if not failed:
                await self._ask(FORGET, buckets)

    async def count(self, buckets: Sequence[Bucket], *, window_s: int, words: Callable[[int], str]) -> None:
        """Add one to each bucket. Raises: TooManyRequests with `words(seconds)` when one is full; then to none."""
        _refuse(await self._ask(COUNT, buckets, *(bucket.most for bucket in buckets), window_s), words)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _ask(self, script: str, buckets: Sequence[Bucket], *arguments: int) -> int:
        """What a script answers; 0 while Valkey is away, which is then left alone for a moment."""
        where = self._settings.valkey_url.get_secret_value()
        if time.monotonic() < _away_until.get(where, 0.0):
            return 0
        try:
            keys = [bucket.key for bucket in buckets]
            patience_s = self._settings.cache.timeout_ms / 1000  # of all: over a slow way each step may take as long
            with closed_is_lost():
                answer = self._connected().eval(script, len(keys), *keys, *(str(argument) for argument in arguments))
                return int(await asyncio.wait_for(cast(Awaitable[int], answer), patience_s))
        except OUTAGE as error:
            _away_until[where] = time.monotonic() + PAUSE_S
            log.warning("attempts are not counted", error=type(error).__name__)
            return 0

    def _connected(self) -> Redis:
        if self._client is None:
            timeout_s = self._settings.cache.timeout_ms / 1000
            pool = BlockingConnectionPool.from_url(
                self._settings.require_valkey_url(),
                max_connections=MAX_CONNECTIONS,
                timeout=timeout_s,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                retry=None,
            )
            self._client = Redis.from_pool(pool)
        return self._client


@asynccontextmanager
async def open_attempts(settings: Settings) -> AsyncIterator[Attempts]:
    """For one attempt of a kind that is rare: nothing is left to close."""
    attempts = Attempts(settings)
    try:
        yield attempts
    finally:
        await attempts.close()


def _refuse(retry_after_s: int, words: Callable[[int], str]) -> None:
    if retry_after_s:
        raise TooManyRequests(words(retry_after_s), retry_after_s=retry_after_s)
