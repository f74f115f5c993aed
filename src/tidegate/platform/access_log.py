"""What is written about every answered request, a line and its metrics, past the processors of all other log lines.

Those cost 27 us a line, half of what a hot request may cost at the edge. Nothing in this line can need redaction: a
route's template, a method out of a fixed list, numbers, and a request id of ours or of a trusted proxy's fixed form.
Requests are noted, and counted and logged together at most FLUSH_S later, which costs less than one at a time; a
process that is killed loses those of that moment.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from functools import lru_cache
from itertools import accumulate
from typing import ClassVar, TextIO

import msgspec
import structlog
from prometheus_client import REGISTRY, Counter, Metric
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector
from structlog.typing import EventDict

from tidegate.platform.latency import note_times

REQUESTS = Counter("tidegate_http_requests", "Answered requests.", ["route", "method", "status"])
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

QUIET_ROUTES = frozenset({"/livez", "/readyz", "/static"})
"""Logged at `debug`: they say nothing about shoppers and come every second."""

FLUSH_S = 0.05
FLUSH_REQUESTS = 256
"""So many requests are counted and logged at once, without waiting."""

REQUEST_ID: ContextVar[str] = ContextVar("tidegate_request_id", default="")
"""The id of the request that is being served; stands in every log line that is written meanwhile."""

Answered = tuple[str, str, int, float, str, float]
"""Method, route, status, seconds that it took, request id, and when it was answered (Unix time)."""

log = structlog.get_logger("tidegate.access")


class _Seconds(Collector):
    """A histogram by route and method that takes many times at once, at a third of the client's own cost."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str], tuple[list[int], list[float]]] = {}

    def observe(self, route: str, method: str, times: Sequence[float]) -> None:
        """Count these times, in seconds."""
        series = self._series.get((route, method))
        if series is None:
            series = self._series[route, method] = ([0] * (len(BUCKETS_S) + 1), [0.0])
        counts, total = series
        for seconds in times:
            counts[bisect_left(BUCKETS_S, seconds)] += 1
        total[0] += sum(times)

    def collect(self) -> Iterable[Metric]:
        """What Prometheus asks for, from a thread of its own."""
        family = HistogramMetricFamily(
            "tidegate_http_request_seconds",
            "Time from a request's first byte to its response's last.",
            labels=["route", "method"],
        )
        bounds = [*map(str, BUCKETS_S), "+Inf"]
        for labels, (counts, total) in list(self._series.items()):
            family.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), sum_value=total[0])
        yield family


SECONDS = _Seconds()
REGISTRY.register(SECONDS)


class AccessLog:
    """Access lines as JSON on `out`, for a process whose logs are JSON."""

    def __init__(self, out: TextIO, *, process_name: str, level: int) -> None:
        self._out = out
        self._level = level
        self._end = f'Z","process":{msgspec.json.encode(process_name).decode()}}}\n'

    def write(self, requests: Sequence[Answered]) -> None:
        """One line for each, all at once."""
        lines = []
        date_of = -1
        date = ""
        for method, route, status, seconds, request_id, at in requests:
            level = _level(route)
            if level < self._level:
                continue
            second = int(at)
            if second != date_of:
                date_of, date = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            lines.append(
                f'{_start(method, route, status, level)}{round(seconds * 1000, 1)},"request_id":"{request_id}",'
                f'"timestamp":"{date}.{int((at - second) * 1_000_000):06}{self._end}'
            )
        if lines:
            self._out.write("".join(lines))
            self._out.flush()


class _Process:
    """What this process notes, and where its access lines go; None: through the common processors."""

    noted: ClassVar[list[Answered]] = []
    access_log: ClassVar[AccessLog | None] = None


def use_access_log(access_log: AccessLog | None) -> None:
    """Let this process write its access lines there; None: through the common processors."""
    flush_requests()
    _Process.access_log = access_log


def note_request(request: Answered) -> None:
    """Count and log an answered request soon; call inside the event loop.

    Method and route are of a fixed set, and the id needs no escaping in JSON.
    """
    noted = _Process.noted
    noted.append(request)
    if _Process.access_log is None or len(noted) >= FLUSH_REQUESTS:
        flush_requests()
    elif len(noted) == 1:
        asyncio.get_running_loop().call_later(FLUSH_S, flush_requests)


def flush_requests() -> None:
    """Count and log what was noted so far."""
    noted, _Process.noted = _Process.noted, []
    if not noted:
        return
    times: dict[tuple[str, str, int], list[float]] = {}
    for method, route, status, seconds, _, _ in noted:
        times.setdefault((route, method, status), []).append(seconds)
    for kind, each in times.items():
        route, method, _ = kind
        _count(*kind).inc(len(each))
        SECONDS.observe(route, method, each)
        if route not in QUIET_ROUTES:
            note_times(each)
    if _Process.access_log is not None:
        _Process.access_log.write(noted)
        return
    for method, route, status, seconds, request_id, _ in noted:
        log.log(
            _level(route),
            "request",
            method=method,
            route=route,
            status=status,
            ms=round(seconds * 1000, 1),
            request_id=request_id,
        )


def add_request_id(logger: object, method: str, event: EventDict) -> EventDict:
    """The processor that tells in other lines which request they belong to."""
    request_id = REQUEST_ID.get()
    if request_id:
        event.setdefault("request_id", request_id)
    return event


def _level(route: str) -> int:
    return logging.DEBUG if route in QUIET_ROUTES else logging.INFO


@lru_cache(maxsize=4_096)
def _count(route: str, method: str, status: int) -> Counter:
    """The counter of one kind of answer; looking it up by label costs more than counting."""
    return REQUESTS.labels(route, method, status)


@lru_cache(maxsize=4_096)
def _start(method: str, route: str, status: int, level: int) -> str:
    """The part of a line that all requests of a kind share, up to the number of milliseconds."""
    fields = {
        "event": "request",
        "level": logging.getLevelName(level).lower(),
        "method": method,
        "route": route,
        "status": status,
    }
    return msgspec.json.encode(fields).decode()[:-1] + ',"ms":'


atexit.register(flush_requests)
