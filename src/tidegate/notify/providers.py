"""What a mail server puts up with, and how much of it one process may use.

A quota is a bucket of tokens in Valkey, one per server and sender, out of which each process takes blocks. It fails
towards a share: while Valkey is away each process takes `mail.local_share` of the quota by its own clock. A bucket that
Valkey does not know begins with one token, so that nobody who flushes it doubles the quota. What nobody waits for
leaves a fifth of the bucket to receipts and links.

A server that says "later" to most of what it gets is given half of it from then on, and more again while it does not
complain. A server that does not answer at all is left alone for a while: nothing is claimed then, so that it costs no
message an attempt. Both are known to each process by itself: it hears the same answers as the others.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

from prometheus_client import Gauge

from tidegate.notify.adapters import MAIL
from tidegate.notify.channels import Adapter
from tidegate.notify.slowing import Bucket, Cap, burst_of, complains
from tidegate.platform.breaker import Breaker, BreakerState
from tidegate.platform.database import Database
from tidegate.platform.settings import Settings
from tidegate.platform.valkey import OUTAGE, Script, ScriptLine

RESERVED: Final = 0.2
"""Part of the bucket that bulk leaves."""

KEPT_S: Final = 86_400
"""How long Valkey knows a bucket that nobody uses."""

TAKE: Final = Script(f"""
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local per_s, burst, wanted, floor = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local known = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = math.min(burst, tonumber(known[1] or 1) + math.max(now - tonumber(known[2] or now), 0) * per_s)
local granted = math.max(0, math.min(wanted, math.floor(tokens - floor)))
tokens = tokens - granted
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens), 'at', string.format('%.6f', now))
redis.call('EXPIRE', KEYS[1], {KEPT_S})
return {{granted, math.ceil(math.max(floor + 1 - tokens, 0) / per_s * 1000)}}
""")
"""Takes tokens; answers how many, and in how many milliseconds there is another one."""

SLOWED = Gauge(
    "tidegate_mail_slowed",
    "1 while this process sends less than it could, since the far side asked for it.",
    ["channel"],
)
LEFT_ALONE = Gauge(
    "tidegate_mail_server_left_alone", "1 while this process leaves a far side alone that was silent.", ["channel"]
)


@dataclass(frozen=True, slots=True)
class Grant:
    """How many mails may be sent now; `wait_s` is when to ask again where there are none."""

    mails: int
    wait_s: float = 0.0


class Provider:
    """A mail server, or another channel's far side, as one process knows it, for one sender.

    It belongs to one event loop.
    """

    def __init__(
        self, settings: Settings, adapter: Adapter = MAIL, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.pace = 0.0
        """Mails a second that a task of this process sent last; 0 before there was one."""
        limits = self._limits = adapter.limits(settings)
        self.servers = adapter.lines(settings)
        self._channel = adapter.channel
        self._clock = clock
        self._breaker = Breaker(failures=limits.breaker_failures, pause_s=limits.breaker_pause_s, clock=clock)
        self._cap = Cap()
        self._capped = Bucket()
        self._share = Bucket()
        self._left = 0
        self._turn = asyncio.Lock()
        self._key = adapter.quota_key(settings)
        self._valkey = (
            ScriptLine(
                settings.require_valkey_url(),
                scripts=(TAKE,),
                timeout_s=settings.cache.timeout_ms / 1000,
                name="mail quota",
            )
            if limits.per_s
            else None
        )

    @property
    def left_alone(self) -> bool:
        """Whether the server was silent too often."""
        return self._breaker.state is BreakerState.OPEN

    async def ask(self, wanted: int, *, urgent: bool) -> Grant:
        """How many of `wanted` mails may be claimed now. `urgent`: somebody waits for them."""
        if not self._breaker.admits():
            return Grant(0, self._limits.breaker_pause_s)
        if self._breaker.state is BreakerState.HALF_OPEN:
            wanted = 1
        now_s = self._clock()
        per_s = self._cap.at(now_s)
        SLOWED.labels(self._channel).set(per_s < math.inf)
        wanted = self._capped.take(wanted, per_s=per_s, burst=per_s, now_s=now_s)
        if not wanted:
            return Grant(0, self._capped.wait_s(per_s=per_s))
        return Grant(wanted) if self._valkey is None else await self._of_quota(self._valkey, wanted, urgent=urgent)

    async def _of_quota(self, valkey: ScriptLine, wanted: int, *, urgent: bool) -> Grant:
        burst = burst_of(self._limits.per_s, self._limits.burst)
        floor = 0 if urgent else int(burst * RESERVED)
        async with self._turn:
            kept, self._left = min(self._left, wanted), max(self._left - wanted, 0)
            if kept == wanted:
                return Grant(kept)
            asked = (self._limits.per_s, burst, wanted - kept, floor)
            try:
                granted, wait_ms = await valkey.ask(TAKE, [self._key], [str(each).encode() for each in asked])
            except OUTAGE:
                return self._of_share(wanted - kept, kept)
        return Grant(kept + int(granted), int(wait_ms) / 1000)

    def _of_share(self, wanted: int, kept: int) -> Grant:
        per_s = self._limits.per_s * self._limits.local_share
        burst = burst_of(self._limits.per_s, self._limits.burst) * self._limits.local_share
        taken = self._share.take(wanted, per_s=per_s, burst=burst, now_s=self._clock())
        return Grant(kept + taken, self._share.wait_s(per_s=per_s))

    def give_back(self, mails: int) -> None:
        """What was granted and not needed: this process takes it first, the next time."""
        if self._valkey is not None:
            self._left = min(self._left + mails, self._limits.window)

    def answered(self, mails: int, *, busy: int, pace: float) -> None:
        """The server answered about so many mails, at a pace of so many a second; `busy`: so often with "later"."""
        if mails:
            self._breaker.succeeded()
            LEFT_ALONE.labels(self._channel).set(0)
        if complains(taken=max(mails - busy, 0), busy=busy):
            self._cap = self._cap.lowered(now_s=self._clock(), pace=pace)

    def silent(self) -> None:
        """The server could not be reached, or did not answer."""
        self._breaker.failed()
        LEFT_ALONE.labels(self._channel).set(self.left_alone)

    async def close(self) -> None:
        """Close the connections to the mail server and to Valkey."""
        await self.servers.close()
        if self._valkey is not None:
            await self._valkey.close()


_known: WeakKeyDictionary[Database, dict[str, Provider]] = WeakKeyDictionary()


def provider_of(database: Database, settings: Settings, adapter: Adapter = MAIL) -> Provider:
    """What the process of a database pool knows of a channel's far side in the settings."""
    known = _known.setdefault(database, {})
    name = f"{adapter.channel} {settings.mail.model_dump_json()}"
    if name not in known:
        known[name] = Provider(settings, adapter)
        database.close_with(known[name].close)
    return known[name]
