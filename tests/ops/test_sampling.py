"""The status page's figures: read from real metrics, measured between two moments, kept for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from pydantic import SecretStr

from tidegate.ops import history, read_samples, read_statuses
from tidegate.ops.history import Sample, Statuses, keep_sample
from tidegate.ops.sampling import Sampler, find_targets
from tidegate.ops.scrapes import Reading, quantile_ms, read_metrics, since, together
from tidegate.platform.database import Database
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio

BOUNDS = (0.01, 0.1, 1.0, float("inf"))
TIMES = st.lists(st.floats(min_value=0.0, max_value=0.999), min_size=1, max_size=50)


@given(TIMES, st.floats(min_value=0.01, max_value=1.0))
def test_a_quantile_is_in_the_bucket_of_the_true_one(times: list[float], share: float) -> None:
    buckets = {bound: float(sum(each <= bound for each in times)) for bound in BOUNDS}
    found = quantile_ms(buckets, share)
    assert found is not None
    rank = next(n for n in range(1, len(times) + 1) if n >= share * len(times) - 1e-9)
    true = sorted(times)[rank - 1]
    below = max((bound for bound in (0.0, *BOUNDS) if bound < true), default=0.0)
    above = min(bound for bound in BOUNDS if bound >= true)
    assert below * 1000 - 1e-6 <= found <= above * 1000 + 1e-6


@given(st.dictionaries(st.sampled_from(["200", "404", "503"]), st.integers(0, 9), max_size=3))
def test_what_was_counted_since(counts: dict[str, int]) -> None:
    before = Reading(started_at=1.0, requests={"200": 5.0})
    now = Reading(started_at=1.0, requests={status: 5.0 + count for status, count in counts.items()})
    assert since(before, now).requests == {s: float(n if s == "200" else n + 5) for s, n in counts.items()}
    anew = Reading(started_at=2.0, requests={status: float(count) for status, count in counts.items()})
    assert since(before, anew) == anew, "a process that started since counts from nothing"


def test_several_processes_together() -> None:
    one = Reading(
        requests={"200": 2.0}, request_s={0.1: 1.0, 1.0: 2.0}, oldest_event_s=3.0, batches=1, batch_requests=4
    )
    other = Reading(requests={"200": 1.0, "500": 1.0}, request_s={0.1: 2.0, 1.0: 2.0}, batches=1, batch_requests=2)
    total = together([one, other])
    assert total.requests == {"200": 3.0, "500": 1.0}
    assert total.request_s == {0.1: 3.0, 1.0: 4.0}
    assert (total.batches, total.batch_requests, total.oldest_event_s) == (2, 6, 3.0)


def test_nothing_counted_has_no_quantile() -> None:
    assert quantile_ms({}, 0.5) is None
    assert quantile_ms({0.1: 0.0, float("inf"): 0.0}, 0.5) is None
    assert quantile_ms({0.1: 0.0, float("inf"): 4.0}, 0.5) == 100.0, "beyond the last bound it is told as that"


def test_only_metrics_are_metrics() -> None:
    assert read_metrics("") == Reading()
    with pytest.raises(ValueError, match="could not convert"):
        read_metrics('tidegate_outbox_pending{a="b"} many\n')


@pytest.fixture
def process() -> Iterator[tuple[int, Callable[[int], None]]]:
    """A process's metrics on a port, and a way to let it answer so many requests, one of which fails."""
    registry = CollectorRegistry()
    requests = Counter("tidegate_http_requests", "-", ["route", "method", "status"], registry=registry)
    seconds = Histogram("tidegate_http_request_seconds", "-", ["route", "method"], registry=registry)
    Gauge("tidegate_outbox_oldest_seconds", "-", registry=registry).set(7)

    def answer(count: int) -> None:
        requests.labels("/", "GET", 200).inc(count - 1)
        requests.labels("/", "GET", 503).inc()
        requests.labels("/livez", "GET", 200).inc(1_000)
        for _ in range(count):
            seconds.labels("/", "GET").observe(0.02)

    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    yield server.server_port, answer
    server.shutdown()
    server.server_close()
    thread.join()


async def test_two_rounds_make_a_sample(
    database: Database, settings: Settings, process: tuple[int, Callable[[int], None]]
) -> None:
    port, answer = process
    scrape = [f"127.0.0.1:{port}", "127.0.0.1:1"]
    told = settings.observability.model_copy(update={"scrape": scrape})
    shop = settings.model_copy(update={"observability": told})
    sampler = Sampler(database, shop)
    answer(50)
    kept = len(await read_samples(shop))
    await sampler.once()
    assert len(await read_samples(shop)) == kept, "what was counted before is no rate"
    answer(40)
    await sampler.once()
    sample = (await read_samples(shop))[-1]
    assert round(sample.requests_per_s * sample.seconds) == 40
    assert round(sample.failed_per_s * sample.seconds) == 1
    assert sample.oldest_event_s == 7
    assert sample.p99_ms is not None
    assert 10 <= sample.p99_ms <= 25
    statuses = await read_statuses(shop)
    assert [status for status, _ in statuses.statuses] == ["200", "503"]
    assert [process.up for process in statuses.processes] == [True, False]


async def test_only_so_many_are_kept(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "KEPT", 20)
    for at in range(25):
        sample = Sample(at, 10, 0, 0, 0, None, None, None, 0, 0, 0, 0, None, None)
        await keep_sample(settings, sample=sample, statuses=Statuses((), ()), drops={})
    samples = await read_samples(settings)
    assert [each.at for each in samples] == list(range(5, 25))


async def test_without_valkey_there_is_no_past(settings: Settings) -> None:
    away = settings.model_copy(update={"valkey_url": SecretStr("redis://127.0.0.1:1")})
    assert await read_samples(away) == ()
    assert await read_statuses(away) == Statuses((), ())


async def test_names_of_processes_that_are_not_there(settings: Settings) -> None:
    told = settings.observability.model_copy(update={"scrape": ["no-such-host.invalid:9464", "nonsense"]})
    targets = await find_targets(settings.model_copy(update={"observability": told}))
    assert [target.name for target in targets][-2:] == ["no-such-host.invalid:9464", "nonsense"]
