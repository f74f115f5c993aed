"""Periodic work inside one process: each loop on its own, with jitter, backoff and metrics."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog
from prometheus_client import Counter, Gauge, Histogram

from tidegate.platform.backoff import backoff_s
from tidegate.platform.failures import describe_error

log = structlog.get_logger(__name__)

RUNS = Counter("tidegate_loop_runs", "Rounds of a periodic loop.", ["loop", "outcome"])
ITEMS = Counter("tidegate_loop_items", "Things that a periodic loop got done.", ["loop"])
SECONDS = Histogram("tidegate_loop_seconds", "Length of one round of a periodic loop.", ["loop"])
SUCCEEDED_AT = Gauge("tidegate_loop_succeeded_at_seconds", "When a loop last ended a round well (Unix time).", ["loop"])


@dataclass(frozen=True, slots=True)
class Loop:
    """`run` does one bounded round and says how much it got done; a round that did something is followed by another.

    `pause_s` is kept after an idle round, give or take a tenth, unless `wake` is set earlier. `gap_s` is kept after the
    others, so that what comes one by one is done together. A failed or overlong round is repeated after a pause that
    doubles from `pause_s` (at least `backoff_base_s`) to `backoff_cap_s`.
    """

    name: str
    run: Callable[[], Awaitable[int]]
    pause_s: float
    wake: asyncio.Event | None = None
    timeout_s: float = 60.0
    backoff_base_s: float = 0.2
    backoff_cap_s: float = 5.0
    gap_s: float = 0.0


async def run_loops(
    loops: Sequence[Loop], *, stop: asyncio.Event, grace_s: float, draw: Callable[[], float] = random.random
) -> None:
    """Run all loops until `stop` is set; rounds in progress then have `grace_s` seconds before they are cancelled."""
    tasks = [asyncio.create_task(_keep_running(loop, stop, draw), name=loop.name) for loop in loops]
    if not tasks:
        return
    try:
        await stop.wait()
        await asyncio.wait(tasks, timeout=grace_s)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keep_running(loop: Loop, stop: asyncio.Event, draw: Callable[[], float]) -> None:
    failures = 0
    while not stop.is_set():
        if loop.wake is not None:
            loop.wake.clear()
        try:
            done = await _run_once(loop)
        except Exception as error:
            failures += 1
            RUNS.labels(loop.name, "failed").inc()
            if failures == 1:  # an outage is one line, not one a second
                log.warning("loop failed", loop=loop.name, error=describe_error(error))
            base_s = max(loop.pause_s, loop.backoff_base_s)
            cap_s = max(loop.pause_s, loop.backoff_cap_s)
            await _wait(stop, None, backoff_s(failures=failures, base_s=base_s, cap_s=cap_s, draw=draw()))
            continue
        if failures:
            log.info("loop recovered", loop=loop.name, failures=failures)
            failures = 0
        if not done:
            await _wait(stop, loop.wake, loop.pause_s * (0.9 + 0.2 * draw()))
        elif loop.gap_s:
            await _wait(stop, None, loop.gap_s)


async def _run_once(loop: Loop) -> int:
    started = time.monotonic()
    async with asyncio.timeout(loop.timeout_s):
        done = await loop.run()
    SECONDS.labels(loop.name).observe(time.monotonic() - started)
    SUCCEEDED_AT.labels(loop.name).set_to_current_time()
    RUNS.labels(loop.name, "ok").inc()
    ITEMS.labels(loop.name).inc(done)
    return done


async def _wait(stop: asyncio.Event, wake: asyncio.Event | None, seconds: float) -> None:
    """Return after `seconds`, or when `stop` or `wake` is set."""
    waiters = [asyncio.create_task(event.wait()) for event in (stop, wake) if event is not None]
    try:
        await asyncio.wait(waiters, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiters:
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)
