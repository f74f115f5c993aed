"""Reading a process's metrics, and what happened between two readings. Pure: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from prometheus_client.parser import text_string_to_metric_families

from tidegate.platform.access_log import QUIET_ROUTES

K = TypeVar("K", str, float)

ENGINE = frozenset({"holds", "purchases"})
"""Batches in which stock is taken."""

Buckets = dict[float, float]
"""Cumulative counts of a histogram by upper bound, in seconds."""


@dataclass(slots=True)
class Reading:
    """What one process had counted since it started, and what it says of itself now."""

    name: str = ""
    started_at: float = 0.0
    requests: dict[str, float] = field(default_factory=dict)
    """Answers by status."""
    request_s: Buckets = field(default_factory=dict)
    batch_s: Buckets = field(default_factory=dict)
    engine_wait_s: Buckets = field(default_factory=dict)
    engine_run_s: Buckets = field(default_factory=dict)
    batches: float = 0.0
    batch_requests: float = 0.0
    cpu_s: float | None = None
    memory_bytes: float | None = None
    events_waiting: float = 0.0
    oldest_event_s: float = 0.0
    tasks_waiting: float = 0.0


def read_metrics(text: str) -> Reading:
    """A process's metrics in Prometheus' text format. Raises: ValueError when it is none."""
    reading = Reading()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            _take(reading, sample.name, sample.labels, float(sample.value))
    return reading


def _take(reading: Reading, name: str, labels: Mapping[str, str], value: float) -> None:
    match name:
        case "tidegate_http_requests_total" if labels["route"] not in QUIET_ROUTES:
            _add(reading.requests, labels["status"], value)
        case "tidegate_http_request_seconds_bucket" if labels["route"] not in QUIET_ROUTES:
            _add(reading.request_s, float(labels["le"]), value)
        case _ if name.startswith("tidegate_batch_"):
            _take_batch(reading, name, labels, value)
        case "tidegate_lane_tasks_waiting":
            reading.tasks_waiting += value
        case "tidegate_outbox_pending":
            reading.events_waiting = value
        case "tidegate_outbox_oldest_seconds":
            reading.oldest_event_s = value
        case "process_cpu_seconds_total":
            reading.cpu_s = value
        case "process_resident_memory_bytes":
            reading.memory_bytes = value
        case "process_start_time_seconds":
            reading.started_at = value
        case "tidegate_process_info":
            reading.name = labels["process"]


def _take_batch(reading: Reading, name: str, labels: Mapping[str, str], value: float) -> None:
    sells = labels.get("batch") in ENGINE
    match name:
        case "tidegate_batch_run_seconds_bucket":
            _add(reading.batch_s, float(labels["le"]), value)
            if sells:
                _add(reading.engine_run_s, float(labels["le"]), value)
        case "tidegate_batch_wait_seconds_bucket" if sells:
            _add(reading.engine_wait_s, float(labels["le"]), value)
        case "tidegate_batch_size_count":
            reading.batches += value
        case "tidegate_batch_size_sum":
            reading.batch_requests += value


def since(before: Reading | None, now: Reading) -> Reading:
    """What was counted after `before`; all of it when the process has started since."""
    if before is None or before.started_at != now.started_at:
        return now
    return Reading(
        name=now.name,
        started_at=now.started_at,
        requests=_less(now.requests, before.requests),
        request_s=_less(now.request_s, before.request_s),
        batch_s=_less(now.batch_s, before.batch_s),
        engine_wait_s=_less(now.engine_wait_s, before.engine_wait_s),
        engine_run_s=_less(now.engine_run_s, before.engine_run_s),
        batches=max(0.0, now.batches - before.batches),
        batch_requests=max(0.0, now.batch_requests - before.batch_requests),
        cpu_s=None if now.cpu_s is None or before.cpu_s is None else max(0.0, now.cpu_s - before.cpu_s),
        memory_bytes=now.memory_bytes,
        events_waiting=now.events_waiting,
        oldest_event_s=now.oldest_event_s,
        tasks_waiting=now.tasks_waiting,
    )


def together(readings: Iterable[Reading]) -> Reading:
    """What several processes counted, added up; of what each measures of the whole shop, the greatest."""
    total = Reading()
    for each in readings:
        for status, count in each.requests.items():
            _add(total.requests, status, count)
        for bound, count in each.request_s.items():
            _add(total.request_s, bound, count)
        for bound, count in each.batch_s.items():
            _add(total.batch_s, bound, count)
        for bound, count in each.engine_wait_s.items():
            _add(total.engine_wait_s, bound, count)
        for bound, count in each.engine_run_s.items():
            _add(total.engine_run_s, bound, count)
        total.batches += each.batches
        total.batch_requests += each.batch_requests
        total.events_waiting = max(total.events_waiting, each.events_waiting)
        total.oldest_event_s = max(total.oldest_event_s, each.oldest_event_s)
        total.tasks_waiting = max(total.tasks_waiting, each.tasks_waiting)
    return total


def quantile_ms(buckets: Buckets, share: float) -> float | None:
    """The time, in ms, within which `share` of what was counted ended: linear within a bucket, as Prometheus does.

    None when nothing was counted. What lies beyond the last bound is told as that bound.
    """
    bounds = sorted(buckets)
    if not bounds or buckets[bounds[-1]] <= 0:
        return None
    wanted = share * buckets[bounds[-1]]
    low, below = 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= wanted:
            if bound == float("inf"):
                return low * 1000
            inside = buckets[bound] - below
            return (low + (bound - low) * ((wanted - below) / inside if inside else 1.0)) * 1000
        low, below = bound, buckets[bound]
    return low * 1000


def _add(into: dict[K, float], key: K, value: float) -> None:
    into[key] = into.get(key, 0.0) + value


def _less(now: dict[K, float], before: dict[K, float]) -> dict[K, float]:
    return {key: max(0.0, value - before.get(key, 0.0)) for key, value in now.items()}
