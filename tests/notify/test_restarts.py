"""In the middle of a send PostgreSQL ends at once, and Valkey loses all that it knows; both come back."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from benchmarks.followers import add_followers, email_of
from tests.notify.moody_server import MoodyServer, open_moody_server
from tests.notify.processes import Processes, begin, inboxes, progress
from tests.servers import TestCluster
from tests.waiting import eventually
from tidegate import notify
from tidegate.platform.bytecode import cache_environment
from tidegate.platform.database import Database
from tidegate.platform.embedded.postgres import EmbeddedPostgres
from tidegate.platform.embedded.running import running
from tidegate.platform.embedded.valkey import EmbeddedValkey
from tidegate.platform.problems import Overloaded
from tidegate.platform.secrets import load_or_create
from tidegate.platform.settings import CacheSettings, DatabaseSettings, current_settings

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]

CROWD, REFUSED = 2_000, 20
LEASE_S = 6
AWAY_S = 1.0
"""Longest that a server stays away."""

OVER_S = 60.0
"""Longest that a send may take, whatever happens to it."""


class Restarted:
    """A server of these tests alone, which may end at any moment and come back where it was."""

    def __init__(self, server: EmbeddedPostgres | EmbeddedValkey, stack: ExitStack) -> None:
        self.server = server
        self._stack = stack
        self._log = server.folder.with_suffix(".log")
        self._process = stack.enter_context(running(server, log=self._log))

    async def restart(self, *, end_with: signal.Signals, away_s: float) -> None:
        """SIGQUIT is `pg_ctl stop -m immediate`."""
        self._process.send_signal(end_with)
        self._process.wait()
        back_s = time.monotonic() + away_s
        await eventually(lambda: time.monotonic() >= back_s)
        self._process = self._stack.enter_context(running(self.server, log=self._log))


@pytest.fixture(scope="module")
def postgres(server_home: Path) -> Iterator[Restarted]:
    """Durable: what was committed must be there after the restart."""
    server = EmbeddedPostgres(
        server_home / "restarted-postgres",
        load_or_create(server_home)["database_password"],
        DatabaseSettings(embedded_memory_share=0.001),
    )
    with ExitStack() as stack:
        yield Restarted(server, stack)
    server.forget_socket()


@pytest.fixture(scope="module")
def valkey(server_home: Path) -> Iterator[Restarted]:
    """It keeps nothing on disk."""
    password = load_or_create(server_home)["valkey_password"]
    with ExitStack() as stack:
        yield Restarted(EmbeddedValkey(server_home / "restarted-valkey", password, CacheSettings()), stack)


@pytest.fixture(scope="module")
def restarted_cluster(postgres: Restarted) -> TestCluster:
    assert isinstance(postgres.server, EmbeddedPostgres)
    cluster = TestCluster(postgres.server.url)
    cluster.migrate_template()
    return cluster


@pytest.fixture
def database_url(restarted_cluster: TestCluster) -> str:
    return restarted_cluster.clone()


@pytest.fixture
def valkey_url(valkey: Restarted) -> str:
    assert isinstance(valkey.server, EmbeddedValkey)
    return valkey.server.url()


@pytest.fixture
async def moody(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MoodyServer]:
    """Where the shop's processes mail to."""
    async with open_moody_server() as server:
        for name, value in {
            "MAIL__SMTP_URL": server.url,
            "MAIL__LEASE_S": str(LEASE_S),
            "MAIL__TIMEOUT_S": "2",
            "MAIL__BATCH": "200",
            "MAIL__WINDOW": "64",
            "FOLLOWS__BATCH": "400",
            "JOBS__EVENT_LEASE_S": "2",
            "JOBS__NOTIFY_SWEEP_S": "1",
            "JOBS__SOFT_SHUTDOWN_S": "1",
            "JOBS__BROKER_TIMEOUT_S": "1",
        }.items():
            monkeypatch.setenv(f"TIDEGATE_{name}", value)
        current_settings.cache_clear()
        yield server


@pytest.fixture
def processes(moody: MoodyServer, pytestconfig: pytest.Config, tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(tmp_path, {**os.environ, **cache_environment(pytestconfig.rootpath / ".pytest_cache")})
    yield processes
    processes.stop()


async def test_a_send_survives_restarts_of_its_servers_and_tells_nobody_twice(
    postgres: Restarted,
    valkey: Restarted,
    moody: MoodyServer,
    database: Database,
    processes: Processes,
    dice: random.Random,
) -> None:
    everybody = [email_of("lamps", number) for number in range(CROWD)]
    moody.nobodies.update(dice.sample(everybody, REFUSED))
    stopped = dice.choice(sorted(set(everybody) - moody.nobodies))
    with psycopg.connect(current_settings().require_database_url(), autocommit=True) as conn:
        add_followers(conn, kind="collection", key="lamps", count=CROWD)
    async with database.transaction() as own:
        await notify.stop_address(own, email=stopped, why="asked for it", by=None)
    processes.start("scheduler")
    processes.start("worker")
    event_id = await begin(database, "lamps")
    for server, end_with in dice.sample([(postgres, signal.SIGQUIT), (valkey, signal.SIGKILL)], 2):
        moment = moody.taken.total() + dice.randint(CROWD // 10, CROWD // 3)
        await eventually(lambda: moody.taken.total() >= moment, timeout_s=OVER_S)  # noqa: B023 - called here only
        assert moody.taken.total() < CROWD - REFUSED - 1, "in the middle"
        await server.restart(end_with=end_with, away_s=dice.uniform(0, AWAY_S))

    async def over() -> bool:
        try:
            return (await progress(database, event_id)).over
        except (psycopg.OperationalError, Overloaded):
            return False

    await eventually(over, timeout_s=OVER_S)
    done = await progress(database, event_id)
    assert (done.followers, done.messages) == (CROWD, 2 * CROWD)
    assert (done.delivered, done.failed, done.suppressed) == (2 * CROWD - REFUSED - 1, REFUSED, 1)
    assert await inboxes(database, event_id) == CROWD
    assert set(moody.taken) == set(everybody) - moody.nobodies - {stopped}
    assert moody.taken.total() - len(moody.taken) <= done.doubtful, "only what nobody can know"
