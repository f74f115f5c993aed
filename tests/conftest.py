"""Fixtures for all tests. Servers are real, started when first asked for, and gone with the session.

Async tests are plain `async def` functions: anyio runs them on asyncio.
"""

from __future__ import annotations

import gc
import os
import random
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import redis
from xdist.scheduler import LoadFileScheduling

from tests.in_memory import keep_temporary_files_in_memory
from tests.order import TOGETHER, long_files_first, together
from tests.servers import Shop, TestCluster
from tidegate.platform.database import Database, open_database
from tidegate.platform.embedded.postgres import EmbeddedPostgres
from tidegate.platform.embedded.running import running
from tidegate.platform.embedded.valkey import EmbeddedValkey
from tidegate.platform.sealing import current_sealer
from tidegate.platform.secrets import load_or_create
from tidegate.platform.settings import CacheSettings, DatabaseSettings, Settings, current_settings

DURABLE = os.environ.get("TIDEGATE_TEST_DURABLE") == "1"
"""Commits reach the disk in tests too; slower. What whole shops (`shop`) run is always durable."""

SEED = os.environ.get("TIDEGATE_TEST_SEED", "20260601")


def pytest_configure() -> None:
    """Before any temporary file is made."""
    if not DURABLE:
        keep_temporary_files_in_memory()


def pytest_collection_finish() -> None:
    """What is loaded by now lives as long as the run: the collector need not look at it again, as in a site process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Workers take long files first; a run without workers keeps its order."""
    if hasattr(config, "workerinput"):
        long_files_first(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """With `--dist loadfile` files that visit one shop are handed out together."""
    if config.getoption("dist") != "loadfile":
        return None
    scheduler = LoadFileScheduling(config, log)
    scheduler._split_scope = together
    return scheduler


SHARED = pytest.StashKey[list[Shop]]()
"""The shops of this process that several files visit."""


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """A worker ends its shop with the last test that visits it: an idle one takes a tenth of a core."""
    here = together(item.nodeid)
    if hasattr(item.config, "workerinput") and here in TOGETHER and (not nextitem or together(nextitem.nodeid) != here):
        for shop in item.config.stash.get(SHARED, []):
            shop.stop()


hypothesis.settings.register_profile("tidegate", deadline=None)  # a busy machine is no counterexample
hypothesis.settings.load_profile("tidegate")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, as the shop does."""
    return "asyncio"


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """What decides everything that is left to chance in a test."""
    sys.stdout.write(f"seed {SEED}: TIDEGATE_TEST_SEED={SEED} repeats {request.node.name}\n")
    return int(SEED)


@pytest.fixture
def dice(seed: int, request: pytest.FixtureRequest) -> random.Random:
    """Chance by the seed, different in each test."""
    return random.Random(f"{seed} {request.node.name}")


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """A developer's own TIDEGATE_* variables must not reach tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("TIDEGATE_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def server_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the session's servers, and its secrets."""
    home = tmp_path_factory.mktemp("servers")
    load_or_create(home)
    return home


@pytest.fixture(scope="session")
def postgres_server(server_home: Path) -> Iterator[EmbeddedPostgres]:
    """The session's PostgreSQL. `server.url(DATABASE)` connects as the shop's role, which may create databases."""
    limits = DatabaseSettings(embedded_memory_share=0.001)
    password = load_or_create(server_home)["database_password"]
    server = EmbeddedPostgres(server_home / "postgres", password, limits, durable=DURABLE)
    with running(server, log=server_home / "postgres.log"):
        yield server
    server.forget_socket()


@pytest.fixture(scope="session")
def cluster(postgres_server: EmbeddedPostgres) -> TestCluster:
    """Makes migrated databases."""
    cluster = TestCluster(postgres_server.url)
    cluster.migrate_template()
    return cluster


@pytest.fixture
def database_url(cluster: TestCluster) -> Iterator[str]:
    """A migrated database as new, for this test alone."""
    url = cluster.borrow()
    yield url
    cluster.give_back(url)


@pytest.fixture(scope="session")
def valkey_server(server_home: Path) -> Iterator[EmbeddedValkey]:
    """The session's Valkey."""
    password = load_or_create(server_home)["valkey_password"]
    server = EmbeddedValkey(server_home / "valkey", password, CacheSettings())
    with running(server, log=server_home / "valkey.log"):
        yield server


@pytest.fixture
def valkey_url(valkey_server: EmbeddedValkey) -> str:
    """An empty Valkey."""
    with redis.Redis.from_url(valkey_server.url()) as client:
        client.flushall()
    return valkey_server.url()


@pytest.fixture
def settings(
    server_home: Path, database_url: str, valkey_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Settings]:
    """Settings of a shop on this test's database, also as the process's own and in the environment of its children."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "secrets.json").write_bytes((server_home / "secrets.json").read_bytes())
    monkeypatch.setenv("TIDEGATE_HOME", str(home))
    monkeypatch.setenv("TIDEGATE_DATABASE_URL", database_url)
    monkeypatch.setenv("TIDEGATE_VALKEY_URL", valkey_url)
    # A test looks right after it changed something; those about kept answers switch them on.
    monkeypatch.setenv("TIDEGATE_CATALOG__KEPT_MAX_BYTES", "0")
    current_settings.cache_clear()
    current_sealer.cache_clear()
    yield current_settings()
    current_settings.cache_clear()
    current_sealer.cache_clear()


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The test's database, open."""
    async with open_database(settings) as database:
        yield database


@pytest.fixture(scope="session")
def shared_shop(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Shop]]:
    """Starts shops that run while the files that share them do: tests/order.py names those."""
    started = pytestconfig.stash.setdefault(SHARED, [])

    def start(name: str, **options: Any) -> Shop:
        started.append(Shop(tmp_path_factory.mktemp(name) / "home", **options))
        return started[-1].start().wait_ready()

    yield start
    for shop in started:
        shop.stop()


@pytest.fixture(scope="session")
def shop(shared_shop: Callable[..., Shop]) -> Shop:
    """One running demo shop that many tests share: do not stop it, kill its processes or count on being alone."""
    return shared_shop("shop")


@pytest.fixture
def new_shop(tmp_path: Path) -> Iterator[Callable[..., Shop]]:
    """Makes shops that a test may break: `new_shop()`, `.start()`, `.wait_ready()`; stopped at the test's end.

    Each has one site process: a second one takes seconds to start.
    """
    made: list[Shop] = []

    def make(*, environment: Mapping[str, str] | None = None, **options: Any) -> Shop:
        options.setdefault("home", tmp_path / f"shop-{len(made)}")
        small = {"TIDEGATE_SUPERVISOR__SITE_PROCESSES": "1"}
        made.append(Shop(environment=small | dict(environment or {}), **options))
        return made[-1]

    yield make
    for one in made:
        one.stop()
