"""The line of a request is what the common processors would write, and its metrics are what the client would count."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
import structlog
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from tests.logs import CaughtLogs, caught_logs
from tests.waiting import eventually
from tidegate.platform.access_log import BUCKETS_S, REQUEST_ID, SECONDS, Answered, flush_requests, note_request
from tidegate.platform.settings import Settings

AT = 1_793_628_000.25


def answered(route: str = "/api/v1/holds", *, seconds: float = 0.0123, status: int = 201) -> Answered:
    return ("POST", route, status, seconds, "0198c0de", AT)


@pytest.fixture
def logs() -> Iterator[CaughtLogs]:
    with caught_logs(Settings()) as caught:
        yield caught


async def test_a_line_has_the_fields_of_all_other_lines(logs: CaughtLogs) -> None:
    token = REQUEST_ID.set("0198c0de")
    structlog.get_logger().info("request", method="POST", route="/api/v1/holds", status=201, ms=12.3)
    REQUEST_ID.reset(token)
    note_request(answered())
    common, ours = logs.lines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", common.pop("timestamp"))
    assert ours.pop("timestamp") == "2026-11-02T14:00:00.250000Z"
    assert ours == common


async def test_lines_are_written_soon_and_whole(logs: CaughtLogs) -> None:
    for number in range(600):
        note_request(answered(status=200 + number % 3))
    assert len([json.loads(line) for line in super(CaughtLogs, logs).getvalue().splitlines()]) == 512
    await eventually(lambda: super(CaughtLogs, logs).getvalue().count("\n") == 600)
    assert [line["status"] for line in logs.lines()] == [200 + number % 3 for number in range(600)]


async def test_probes_are_quiet_and_names_are_escaped(logs: CaughtLogs) -> None:
    for route in ("/livez", "/static", '/odd/"name"\\'):
        note_request(answered(route))
    assert [line["route"] for line in logs.lines()] == ['/odd/"name"\\']


async def test_a_higher_level_writes_no_lines() -> None:
    with caught_logs(Settings(), log_level="warning") as logs:
        note_request(answered())
        assert logs.getvalue() == ""


async def test_a_terminal_gets_its_lines_at_once() -> None:
    with caught_logs(Settings(), log_format="console") as logs:
        note_request(answered())
        text = super(CaughtLogs, logs).getvalue()
    assert "request_id=0198c0de" in text
    assert "route=/api/v1/holds" in text


async def test_times_are_counted_as_the_client_library_counts_them(logs: CaughtLogs) -> None:
    name, route = "tidegate_http_request_seconds", "/only/here"
    theirs = CollectorRegistry()
    histogram = Histogram(name, "Same.", ["route", "method"], buckets=BUCKETS_S, registry=theirs)
    for seconds in (0.0, 0.001, 0.00101, 0.3, 10.0, 30.0, 31.0, *BUCKETS_S):
        note_request(answered(route, seconds=seconds))
        histogram.labels(route, "POST").observe(seconds)
    flush_requests()
    ours = CollectorRegistry()
    ours.register(SECONDS)

    def samples(registry: CollectorRegistry) -> list[str]:
        return [
            line for line in generate_latest(registry).decode().splitlines() if route in line and "_created" not in line
        ]

    assert samples(ours) == samples(theirs)
    assert len(samples(ours)) == len(BUCKETS_S) + 3
