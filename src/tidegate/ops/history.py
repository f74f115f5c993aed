"""What the scheduler measured of the shop, kept in Valkey for a while: losing it costs a picture, never a fact."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

import msgspec
from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tidegate.platform.ids import DropId
from tidegate.platform.settings import Settings

SAMPLES = "tidegate:status:samples"
LATEST = "tidegate:status:processes"
DROP = "tidegate:status:drop:{}"

KEPT = 720
"""Samples that are kept: two hours, one every 10 seconds."""

T = TypeVar("T", bound=Struct)

KEPT_S = 7 * 86_400
OUTAGE = (RedisError, OSError, TimeoutError)


class Sample(Struct, frozen=True):
    """What all processes together did in the `seconds` before `at` (Unix time). None: nothing to measure it by."""

    at: float
    seconds: float
    requests_per_s: float
    refused_per_s: float
    """Answers of 4xx."""
    failed_per_s: float
    """Answers of 5xx."""
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    oldest_event_s: float
    """Age of the oldest outbox event, and so of the oldest job, that is not done."""
    events_waiting: int
    tasks_waiting: int
    batches_per_s: float
    batch_size: float | None
    """Requests in one batch, on average."""
    batch_p99_ms: float | None
    engine_p99_ms: float | None = None
    """How long the slowest percent of holds and purchases waited for a batch and were in one, at most."""


class ProcessState(Struct, frozen=True):
    """A process as it was last asked. `memory_bytes` and `cpu` (cores) are None where the system does not tell."""

    name: str
    up: bool
    cpu: float | None
    memory_bytes: float | None
    requests_per_s: float


class Statuses(Struct, frozen=True):
    """Answers by status in the last interval, per second, the most frequent first; and processes by name."""

    statuses: tuple[tuple[str, float], ...]
    processes: tuple[ProcessState, ...]


class DropSample(Struct, frozen=True):
    """A running drop at a moment (Unix time): items held, paid and left (None: nobody knows).

    Where it has a room: people who wait, who are inside and hold nothing yet, who never came, who were let in so far.
    """

    at: float
    held: int
    paid: int
    left: int | None
    waiting: int | None = None
    inside: int | None = None
    absent: int | None = None
    admitted: int | None = None


@asynccontextmanager
async def _valkey(settings: Settings) -> AsyncIterator[Redis]:
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


async def keep_sample(
    settings: Settings, *, sample: Sample, statuses: Statuses, drops: dict[DropId, DropSample]
) -> None:
    """Keep what was measured. Raises: one of OUTAGE."""
    async with _valkey(settings) as valkey, valkey.pipeline(transaction=False) as pipe:
        _append(pipe, SAMPLES, sample)
        _replace(pipe, LATEST, statuses)
        for drop_id, each in drops.items():
            _append(pipe, DROP.format(drop_id), each)
        await pipe.execute()


async def read_samples(settings: Settings, *, limit: int = KEPT) -> tuple[Sample, ...]:
    """The last samples, the oldest first; none while Valkey is away."""
    return await _read(settings, SAMPLES, Sample, limit)


async def read_statuses(settings: Settings) -> Statuses:
    """The latest answers by status and processes; none while Valkey is away."""
    try:
        async with _valkey(settings) as valkey:
            found = await valkey.get(LATEST)
        return msgspec.json.decode(found, type=Statuses) if found else Statuses((), ())
    except (*OUTAGE, msgspec.MsgspecError):
        return Statuses((), ())


async def read_drop_samples(settings: Settings, *, drop_id: DropId, limit: int = KEPT) -> tuple[DropSample, ...]:
    """The last samples of a drop, the oldest first; none while Valkey is away."""
    return await _read(settings, DROP.format(drop_id), DropSample, limit)


def _replace(pipe: Any, key: str, value: Struct) -> None:
    pipe.set(key, msgspec.json.encode(value), ex=KEPT_S)


def _append(pipe: Any, key: str, value: Struct) -> None:
    pipe.lpush(key, msgspec.json.encode(value))
    pipe.ltrim(key, 0, KEPT - 1)
    pipe.expire(key, KEPT_S)


async def _read(settings: Settings, key: str, kind: type[T], limit: int) -> tuple[T, ...]:
    try:
        async with _valkey(settings) as valkey:
            found = await cast(Awaitable[list[bytes]], valkey.lrange(key, 0, min(limit, KEPT) - 1))
        return tuple(msgspec.json.decode(each, type=kind) for each in reversed(found))
    except (*OUTAGE, msgspec.MsgspecError):
        return ()
