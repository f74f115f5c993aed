"""The shop from inside while the crowd is there: what its processes use, and what their metrics count."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import httpx
import msgspec

from tidegate.rehearse.measures import Batches, Inside, Passed
from tidegate.rehearse.monitor import Monitor
from tidegate.rehearse.rules import CROWD, OTHERS

EVERY_S = 2.0
"""How often the metrics are read: often enough for a rush, seldom enough not to be felt."""

ANSWER_S = 1.0
QUIET_CORES = 0.4
"""A shop whose processes use less has started: what they import before is no part of a sale."""

LOOK_S = 1.0
QUIET_WITHIN_S = 20.0
VISITORS, VISIT_S = 12, 10.0
MOST_KEPT = 3_600
WANTED = ("tidegate_http_request_seconds_", "tidegate_batch_", "tidegate_payments_provider_seconds_")

Counts = dict[tuple[str, str], float]
"""Sums and counts by metric and by what they are of."""


class Watch:
    """Call `look` once a second, in a thread, as a `Monitor`; now and then it reads the metrics as well."""

    def __init__(self, monitor: Monitor, metrics_ports: Callable[[], Sequence[int]]) -> None:
        """`metrics_ports` are those of this moment."""
        self._monitor, self._ports_now = monitor, metrics_ports
        self._ports: Sequence[int] | None = None
        self._client = httpx.Client(timeout=ANSWER_S, trust_env=False)
        self._seen: list[tuple[float, float, Inside]] = []
        self._before, self._read_at = self._read(), time.time()

    def look(self) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """Cores and MiB by kind of process."""
        if time.time() - self._read_at >= EVERY_S and len(self._seen) < MOST_KEPT:
            now, at = self._read(), time.time()
            if now is not None and self._before is not None:
                self._seen.append((self._read_at, at, inside_of(self._before, now)))
            self._before, self._read_at = now, at
        return self._monitor.look()

    def inside(self, *, began_at: float) -> tuple[Inside, ...]:
        """What was counted, in seconds after the begin."""
        return tuple(
            msgspec.structs.replace(each, since=round(since - began_at, 1), at=round(at - began_at, 1))
            for since, at, each in self._seen
            if at > began_at
        )

    def close(self) -> None:
        """Nothing more will be read."""
        self._client.close()

    def _read(self) -> Counts | None:
        """What all processes have counted; None when one did not answer or is another, since then sums would jump."""
        total: Counts = {}
        before, ports = self._ports, self._ports_now()
        self._ports = ports
        if not ports or (before is not None and before != ports):
            return None
        for port in ports:
            try:
                text = self._client.get(f"http://127.0.0.1:{port}/metrics").raise_for_status().text
            except httpx.HTTPError:
                return None
            read_counts(text, total)
        return total


async def quiet(look: Callable[[], tuple[Mapping[str, float], Mapping[str, float]]]) -> None:
    """Return when the shop has started and does next to nothing, or after `QUIET_WITHIN_S`."""
    for _ in range(round(QUIET_WITHIN_S / LOOK_S)):
        await asyncio.sleep(LOOK_S)
        cores, _ = await asyncio.to_thread(look)
        if sum(each for kind, each in cores.items() if kind not in (CROWD, OTHERS)) < QUIET_CORES:
            return


async def look_around(url: str, paths: Sequence[str]) -> None:
    """Look at pages as visitors before the sale do, until each process has made each of them once, most likely."""
    for _ in range(VISITORS):
        async with httpx.AsyncClient(base_url=url, timeout=VISIT_S, trust_env=False) as visitor:
            for path in paths:
                with suppress(httpx.HTTPError):  # the crowd will tell
                    await visitor.get(path)


def read_counts(text: str, into: Counts) -> None:
    """Add a process's sums and counts, as Prometheus writes them, to those of others."""
    for line in text.splitlines():
        if not line.startswith(WANTED):
            continue
        series, _, value = line.rpartition(" ")
        name, _, labels = series.partition("{")
        if not name.endswith(("_sum", "_count")):
            continue
        told = dict(_label(each) for each in labels.rstrip("}").split('",') if each)
        of = f"{told['method']} {told['route']}" if "route" in told else told.get("batch", "")
        into[name, of] = into.get((name, of), 0.0) + float(value)


def _label(text: str) -> tuple[str, str]:
    name, _, value = text.partition('="')
    return name, value.rstrip('"')


def inside_of(before: Counts, now: Counts) -> Inside:
    """What happened between two readings; what a process counted before it was started anew is left out."""

    def more(name: str, of: str) -> float:
        return max(now.get((name, of), 0.0) - before.get((name, of), 0.0), 0.0)

    routes: dict[str, Passed] = {}
    batches: dict[str, Batches] = {}
    gateway = Passed(0.0, 0.0)
    for name, of in now:
        match name:
            case "tidegate_http_request_seconds_count" if count := more(name, of):
                routes[of] = Passed(count, round(more("tidegate_http_request_seconds_sum", of), 4))
            case "tidegate_batch_size_count" if count := more(name, of):
                batches[of] = Batches(
                    count,
                    more("tidegate_batch_size_sum", of),
                    round(more("tidegate_batch_run_seconds_sum", of), 4),
                    round(more("tidegate_batch_wait_seconds_sum", of), 4),
                )
            case "tidegate_payments_provider_seconds_count" if count := more(name, of):
                gateway = Passed(count, round(more("tidegate_payments_provider_seconds_sum", of), 4))
            case _:
                pass
    return Inside(0.0, 0.0, routes, batches, gateway)
