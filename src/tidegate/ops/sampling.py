"""Asking all processes for their metrics every few seconds, so that the status page has a past."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx
import structlog
from msgspec.structs import replace

from tidegate import gate
from tidegate.catalog import list_drops
from tidegate.inventory import stock_levels, taken_in_drop
from tidegate.ops.history import DropSample, ProcessState, Sample, Statuses, keep_sample
from tidegate.ops.scrapes import Reading, quantile_ms, read_metrics, since, together
from tidegate.platform.clock import database_now
from tidegate.platform.database import Connection, Database
from tidegate.platform.ids import DropId
from tidegate.platform.no_answer import NO_HTTP_ANSWER
from tidegate.platform.settings import Settings

log = structlog.get_logger(__name__)

ASK_S = 3.0
"""Longest wait for one process."""

NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts no authority: processes are asked over plain HTTP, and reading the authorities takes 20 ms each time."""

MAX_TARGETS = 200
MAX_STATUSES = 30
MAX_DROPS = 50


@dataclass(frozen=True, slots=True)
class Target:
    """A process, and where its metrics are: `host:port`."""

    name: str
    address: str


@dataclass(slots=True)
class Sampler:
    """Samples the shop; it remembers what was counted before, so one belongs to one scheduler."""

    database: Database
    settings: Settings
    _before: dict[str, Reading] = field(default_factory=dict)
    _at: float | None = None

    async def once(self) -> int:
        """Ask everyone and keep what they counted since the last time. Raises: one of `history.OUTAGE`."""
        targets = await find_targets(self.settings)
        found = dict(zip(targets, await _ask_all(targets), strict=True))
        now, before_at, self._at = time.time(), self._at, time.time()
        known = {target: reading for target, reading in found.items() if reading is not None}
        counted = {target: since(self._before.get(target.address), reading) for target, reading in known.items()}
        self._before = {target.address: reading for target, reading in known.items()}
        if before_at is None:
            return 0  # what was counted before this process came is no rate
        seconds = max(now - before_at, 0.001)
        total = together(counted.values())
        async with self.database.connection() as conn:
            drops = await _drops(conn, self.settings, at=now)
        await keep_sample(
            self.settings,
            sample=_sample(total, at=now, seconds=seconds),
            statuses=Statuses(
                statuses=_rates(total.requests, seconds)[:MAX_STATUSES],
                processes=tuple(_state(target, counted.get(target), seconds) for target in targets),
            ),
            drops=drops,
        )
        return 0


async def find_targets(settings: Settings) -> list[Target]:
    """The processes of the running `tidegate up`, and those that the setting `observability.scrape` names.

    A host name there that has several addresses stands for a process at each.
    """
    found = await asyncio.to_thread(_local_targets, settings)
    for each in settings.observability.scrape:
        host, _, port = each.rpartition(":")
        try:
            answers = await asyncio.get_running_loop().getaddrinfo(host, int(port), proto=6)
        except (OSError, ValueError):
            found.append(Target(each, each))
            continue
        found.extend(Target(each, _address(answer[4][0], int(port))) for answer in answers)
    return found[:MAX_TARGETS]


def _local_targets(settings: Settings) -> list[Target]:
    try:
        document = json.loads(settings.endpoints_file.read_bytes())
    except (OSError, ValueError):
        return []
    host = settings.observability.metrics_host
    host = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not listened on
    return [
        Target(str(each["name"]), _address(host, int(each["metrics_port"])))
        for each in document.get("processes", [])
        if each.get("metrics_port")
    ]


def _address(host: object, port: int) -> str:
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


async def _ask_all(targets: Sequence[Target]) -> list[Reading | None]:
    async with httpx.AsyncClient(timeout=ASK_S, trust_env=False, verify=NOBODY) as client:
        return await asyncio.gather(*(_ask(client, target) for target in targets))


async def _ask(client: httpx.AsyncClient, target: Target) -> Reading | None:
    """What a process has counted; None when it does not answer."""
    try:
        answer = await client.get(f"http://{target.address}/metrics")
        answer.raise_for_status()
        return await asyncio.to_thread(read_metrics, answer.text)
    except (*NO_HTTP_ANSWER, httpx.InvalidURL, ValueError, KeyError):
        return None


def _sample(total: Reading, *, at: float, seconds: float) -> Sample:
    def rate(first: str) -> float:
        return sum(count for status, count in total.requests.items() if status.startswith(first)) / seconds

    return Sample(
        at=at,
        seconds=seconds,
        requests_per_s=rate(""),
        refused_per_s=rate("4"),
        failed_per_s=rate("5"),
        p50_ms=quantile_ms(total.request_s, 0.5),
        p95_ms=quantile_ms(total.request_s, 0.95),
        p99_ms=quantile_ms(total.request_s, 0.99),
        oldest_event_s=total.oldest_event_s,
        events_waiting=int(total.events_waiting),
        tasks_waiting=int(total.tasks_waiting),
        batches_per_s=total.batches / seconds,
        batch_size=total.batch_requests / total.batches if total.batches else None,
        batch_p99_ms=quantile_ms(total.batch_s, 0.99),
        engine_p99_ms=_engine_p99_ms(total),
    )


def _engine_p99_ms(total: Reading) -> float | None:
    wait_ms, run_ms = quantile_ms(total.engine_wait_s, 0.99), quantile_ms(total.engine_run_s, 0.99)
    return None if wait_ms is None or run_ms is None else wait_ms + run_ms


def _rates(requests: dict[str, float], seconds: float) -> tuple[tuple[str, float], ...]:
    some = [(status, count / seconds) for status, count in requests.items() if count]
    return tuple(sorted(some, key=lambda pair: (-pair[1], pair[0])))


def _state(target: Target, reading: Reading | None, seconds: float) -> ProcessState:
    if reading is None:
        return ProcessState(target.name, up=False, cpu=None, memory_bytes=None, requests_per_s=0.0)
    return ProcessState(
        name=target.name if target.name != target.address and ":" not in target.name else reading.name or target.name,
        up=True,
        cpu=None if reading.cpu_s is None else reading.cpu_s / seconds,
        memory_bytes=reading.memory_bytes,
        requests_per_s=sum(reading.requests.values()) / seconds,
    )


async def _drops(conn: Connection, settings: Settings, *, at: float) -> dict[DropId, DropSample]:
    """The drops that run, as they stand."""
    now = await database_now(conn)
    live = [drop for drop in await list_drops(conn, limit=MAX_DROPS) if drop.closed_at is None and drop.opens_at <= now]
    levels = await stock_levels(conn, variant_ids=[item.variant_id for drop in live for item in drop.items])
    samples = {}
    for drop in live:
        known = [levels[item.variant_id] for item in drop.items if item.variant_id in levels]
        taken = await taken_in_drop(conn, drop_id=drop.id)
        held = min(taken, sum(level.held for level in known))
        sample = DropSample(at, held, taken - held, sum(level.available for level in known))
        room = await gate.view_room(conn, slug=drop.slug, settings=settings.admission) if drop.room != "none" else None
        if room is not None:
            sample = replace(
                sample, waiting=room.waiting, inside=room.inside, absent=room.absent, admitted=room.admitted
            )
        samples[drop.id] = sample
    return samples
