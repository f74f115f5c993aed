"""Telling how long shoppers wait of late: each site process once a second, through Valkey."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, cast

import msgspec
from redis.asyncio import Redis

from tidegate.platform.latency import SECONDS_KEPT, Counted, Waits, step_of, take_counted, together
from tidegate.platform.valkey import OUTAGE

LAG_EVERY_S: Final = 0.05
KEPT_S: Final = 4
"""A process that has told nothing for so long is forgotten."""

WHO: Final = "tidegate:latency"
"""Names of the processes that told something; each has a key of its own."""
SEEN: Final = "tidegate:latency:seen"
"""Stands while there was a process within the last `WHO_KEPT_S` seconds."""
WHO_KEPT_S: Final = 3_600
PROCESSES_MOST: Final = 500


@asynccontextmanager
async def sharing_latency(valkey: Redis) -> AsyncIterator[None]:
    """Share what this process measures, for the length of a block."""
    Counted.wanted = True
    stop = asyncio.Event()
    tasks = [asyncio.create_task(_measure_lag(), name="lag"), asyncio.create_task(_share(valkey, stop), name="latency")]
    try:
        yield
    finally:
        Counted.wanted = False
        stop.set()  # a cancellation in the midst of a command may come out as an outage of Valkey
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _measure_lag() -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_EVERY_S
        await asyncio.sleep(LAG_EVERY_S)
        Counted.lags[step_of(loop.time() - due)] += 1


async def _share(valkey: Redis, stop: asyncio.Event) -> None:
    key = f"{WHO}:{socket.gethostname()}:{os.getpid()}"
    seconds: deque[Waits] = deque(maxlen=SECONDS_KEPT)
    while not stop.is_set():
        await asyncio.sleep(1.0)
        seconds.append(take_counted())
        with suppress(*OUTAGE):
            line: Any = valkey.pipeline(transaction=False)
            line.set(key, msgspec.json.encode(together(seconds)), ex=KEPT_S)
            line.sadd(WHO, key)
            line.expire(WHO, WHO_KEPT_S)
            line.set(SEEN, b"1", ex=WHO_KEPT_S)
            await line.execute()


async def read_latency(valkey: Redis) -> Waits | None:
    """What all processes had of late; None where those that were there tell nothing. Raises: one of `OUTAGE`.

    Where no process was for an hour, no shoppers are: they had nothing.
    """
    names = list(await cast("Awaitable[set[bytes]]", valkey.smembers(WHO)))[:PROCESSES_MOST]
    told = dict(zip(names, await valkey.mget(names), strict=True)) if names else {}
    if gone := [name for name, text in told.items() if text is None]:
        await valkey.srem(WHO, *gone)
    waits = [msgspec.json.decode(text, type=Waits) for text in told.values() if text is not None]
    if waits:
        return together(waits)
    return None if await valkey.exists(SEEN) else Waits()
