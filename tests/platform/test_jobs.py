"""Jobs with a real worker on a real broker: what is killed or lost comes back, and has its effect once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg
import pytest
from celery import Celery
from kombu.exceptions import OperationalError
from pydantic import SecretStr

from tests.platform.workbench import SUBSCRIPTIONS, TABLES
from tests.servers import TestCluster, is_gone, wait_until
from tests.waiting import eventually
from tidegate.notify.deliveries import TURN_S
from tidegate.notify.pacing import REST_MOST_S
from tidegate.platform.bytecode import cache_environment
from tidegate.platform.database import Database, open_database
from tidegate.platform.embedded.running import running, start
from tidegate.platform.embedded.valkey import EmbeddedValkey
from tidegate.platform.ids import EventId, new_id
from tidegate.platform.jobs import LANES, Progress, free_room, lane_depths, make_app
from tidegate.platform.outbox import Event, write_events
from tidegate.platform.relay import relay_once
from tidegate.platform.sealing import current_sealer
from tidegate.platform.secrets import load_or_create
from tidegate.platform.settings import CacheSettings, Settings, current_settings

pytestmark = pytest.mark.anyio

LEASE_S = 2
QUEUE_MAX = 50


@dataclass(slots=True)
class Bench:
    """A worker process, its database and its broker."""

    settings: Settings
    valkey: EmbeddedValkey
    broker: subprocess.Popen[bytes]
    log: Path
    compiled: Path
    worker: subprocess.Popen[bytes] | None = field(default=None)

    def ensure_worker(self) -> psutil.Process:
        """The worker, started if it is not there, when it is ready; the broker as well."""
        if self.broker.poll() is not None:
            self.restore_broker()
        if self.worker is None or self.worker.poll() is not None:
            self.log.unlink(missing_ok=True)
            with self.log.open("ab") as out:
                self.worker = subprocess.Popen(
                    [sys.executable, "-m", "tests.platform.workbench"],
                    env={**os.environ, **cache_environment(self.compiled)},
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                )
        wait_until(lambda: "worker ready" in self.log.read_text(), what=f"a worker; see {self.log}")
        return psutil.Process(self.worker.pid)

    def stop_worker(self) -> None:
        if self.worker is not None:
            self.worker.kill()
            self.worker.wait()

    def lose_broker(self) -> None:
        """Kill -9: nothing of what it had is kept."""
        for one in [*psutil.Process(self.broker.pid).children(recursive=True), psutil.Process(self.broker.pid)]:
            one.kill()
        self.broker.wait()

    def restore_broker(self) -> None:
        """The same port, empty."""
        self.broker = start(self.valkey.program(), log=self.log.with_name("valkey.log"))
        wait_until(self.valkey.is_ready)

    def rows(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.settings.require_database_url(), autocommit=True) as conn:
            cursor = conn.execute(statement, values)
            found: list[tuple[object, ...]] = cursor.fetchall() if cursor.description else []
            return found

    def raise_sign(self, name: str) -> None:
        self.rows("INSERT INTO bench.signs VALUES (%s)", name)


@pytest.fixture(scope="module")
def bench(
    cluster: TestCluster, server_home: Path, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Bench]:
    """A bench for all tests of this file; each asks for a running worker, so that it may be killed."""
    folder = tmp_path_factory.mktemp("bench")
    valkey = EmbeddedValkey(folder / "valkey", load_or_create(server_home)["valkey_password"], CacheSettings())
    url = cluster.clone()
    with running(valkey, log=folder / "valkey.log") as broker, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIDEGATE_HOME", str(server_home))
        patch.setenv("TIDEGATE_DATABASE_URL", url)
        patch.setenv("TIDEGATE_VALKEY_URL", valkey.url())
        patch.setenv("TIDEGATE_JOBS__EVENT_LEASE_S", str(LEASE_S))
        patch.setenv("TIDEGATE_JOBS__QUEUE_MAX", str(QUEUE_MAX))
        patch.setenv("TIDEGATE_JOBS__SOFT_SHUTDOWN_S", "1")
        current_settings.cache_clear()
        current_sealer.cache_clear()
        bench = Bench(
            current_settings(), valkey, broker, folder / "worker.log", pytestconfig.rootpath / ".pytest_cache"
        )
        bench.rows(TABLES)
        try:
            yield bench
        finally:
            bench.stop_worker()
            if bench.broker is not broker and bench.broker.poll() is None:
                bench.lose_broker()
    current_settings.cache_clear()
    current_sealer.cache_clear()
    cluster.drop(url)


@pytest.fixture
def app(bench: Bench) -> Celery:
    return make_app(bench.settings)


async def write(database: Database, count: int = 1, **payload: object) -> list[EventId]:
    events = [Event(EventId(new_id()), "bench", payload) for _ in range(count)]
    async with database.transaction() as conn:
        await write_events(conn, events)
    return [event.id for event in events]


def states(bench: Bench, events: list[EventId]) -> set[object]:
    return {row[0] for row in bench.rows("SELECT state FROM platform.outbox WHERE id = ANY (%s)", events)}


def count(bench: Bench, table: str, events: list[EventId]) -> int:
    (row,) = bench.rows(f"SELECT count(*) FROM bench.{table} WHERE event_id = ANY (%s)", events)
    assert isinstance(row[0], int)
    return row[0]


async def relay_until(bench: Bench, database: Database, condition: Callable[[], bool]) -> None:
    """Do what the scheduler's relay does until `condition` holds."""

    async def round_and_look() -> bool:
        await relay_once(database, bench.settings, SUBSCRIPTIONS)
        return condition()

    await eventually(round_and_look, timeout_s=60)  # a busy machine starts a worker slowly


@pytest.mark.usefixtures("app")
async def test_events_reach_their_handlers(bench: Bench) -> None:
    bench.ensure_worker()
    async with open_database(bench.settings) as database:
        events = await write(database, 120)
        await relay_until(bench, database, lambda: states(bench, events) == {"done"})
    assert count(bench, "effects", events) == 120


@pytest.mark.usefixtures("app")
async def test_the_broker_is_given_no_more_than_it_has_room_for(bench: Bench) -> None:
    bench.stop_worker()
    bench.lose_broker()
    bench.restore_broker()
    async with open_database(bench.settings) as database:
        events = await write(database, QUEUE_MAX + 30)
        assert await relay_once(database, bench.settings, SUBSCRIPTIONS) == QUEUE_MAX
        assert await relay_once(database, bench.settings, SUBSCRIPTIONS) == 0
        assert sum(lane_depths().values()) == QUEUE_MAX
        assert free_room(bench.settings) == 0
        bench.ensure_worker()
        await relay_until(bench, database, lambda: states(bench, events) == {"done"})
    assert count(bench, "effects", events) == len(events)


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize("whom", ["process of the pool", "whole worker"])
async def test_what_a_killed_worker_was_doing_is_done_once_by_another(bench: Bench, whom: str) -> None:
    worker = bench.ensure_worker()
    async with open_database(bench.settings) as database:
        events = await write(database, wait_for=whom)
        await relay_until(bench, database, lambda: count(bench, "runs", events) == 1)
        pool = worker.children()
        victims = [worker] if whom == "whole worker" else pool
        for victim in victims:
            victim.kill()
        wait_until(lambda: all(is_gone(one) for one in [*victims, *pool]))
        if worker in victims:
            bench.stop_worker()  # a process is gone before the last of its threads, and only then reaped
        assert count(bench, "effects", events) == 0
        bench.raise_sign(whom)
        bench.ensure_worker()
        await relay_until(bench, database, lambda: states(bench, events) == {"done"})
    assert count(bench, "effects", events) == 1
    assert count(bench, "runs", events) >= 2


@pytest.mark.usefixtures("app")
async def test_a_broker_that_lost_everything_costs_time_and_no_event(bench: Bench) -> None:
    worker = bench.ensure_worker()
    async with open_database(bench.settings) as database:
        running_now = await write(database, wait_for="after the outage")
        await relay_until(bench, database, lambda: count(bench, "runs", running_now) == 1)
        bench.lose_broker()
        events = await write(database, 5)
        begun = time.monotonic()
        with pytest.raises(OperationalError):
            await relay_once(database, bench.settings, SUBSCRIPTIONS)
        assert time.monotonic() - begun < 10
        bench.restore_broker()
        bench.raise_sign("after the outage")
        await relay_until(bench, database, lambda: states(bench, events + running_now) == {"done"})
    assert count(bench, "effects", events + running_now) == 6
    assert worker.is_running()


@pytest.mark.usefixtures("app")
async def test_a_worker_stops_in_bounded_time_though_a_task_hangs(bench: Bench) -> None:
    worker = bench.ensure_worker()
    async with open_database(bench.settings) as database:
        events = await write(database, wait_for="never")
        await relay_until(bench, database, lambda: count(bench, "runs", events) == 1)
        worker.send_signal(signal.SIGTERM)
        pool = worker.children()
        assert bench.worker is not None
        bench.worker.wait(timeout=9)
        assert not [one for one in pool if one.is_running()]
        async with database.connection() as conn:
            await conn.execute("DELETE FROM platform.outbox WHERE id = ANY (%s)", (events,))


def test_a_worker_that_idles_beside_work_is_found_out() -> None:
    progress = Progress(stall_s=30)
    assert not progress.stalled(waiting=5, running=0, taken=7, now_s=0)
    assert not progress.stalled(waiting=5, running=0, taken=7, now_s=29)
    assert progress.stalled(waiting=5, running=0, taken=7, now_s=30)


@pytest.mark.parametrize("now", [{"waiting": 0}, {"running": 1}, {"taken": 8}])
def test_a_worker_that_does_something_is_left_alone(now: dict[str, int]) -> None:
    progress = Progress(stall_s=30)
    still = {"waiting": 5, "running": 0, "taken": 7}
    progress.stalled(**still, now_s=0)
    assert not progress.stalled(**(still | now), now_s=40)
    assert not progress.stalled(**(still | now), now_s=69)


@pytest.mark.parametrize("broker_url", ["redis://127.0.0.1:1/0", "amqp://guest:guest@127.0.0.1:1//"])
def test_no_task_is_lost_hoarded_or_handed_out_twice_by_how_celery_is_set(settings: Settings, broker_url: str) -> None:
    told = settings.model_copy(update={"broker_url": SecretStr(broker_url)})
    conf = make_app(told).conf
    assert (conf.task_acks_late, conf.task_ignore_result, conf.worker_prefetch_multiplier) == (True, True, 1)
    assert not conf.task_reject_on_worker_lost
    assert conf.result_backend is None
    assert conf.worker_soft_shutdown_timeout == settings.jobs.soft_shutdown_s > 0
    assert conf.task_time_limit >= settings.mail.lease_s > TURN_S + REST_MOST_S
    assert conf.broker_transport_options["visibility_timeout"] >= 2 * conf.task_time_limit
    assert settings.supervisor.stop_timeout_s > settings.jobs.soft_shutdown_s
    is_rabbitmq = broker_url.startswith("amqp")
    assert conf.worker_disable_prefetch is not is_rabbitmq, "RabbitMQ has a prefetch count of its own"
    assert conf.broker_transport_options["confirm_publish"]
    kinds = {(queue.name, (queue.queue_arguments or {}).get("x-queue-type")) for queue in conf.task_queues}
    assert kinds == {(lane, "quorum" if is_rabbitmq else None) for lane in LANES}
