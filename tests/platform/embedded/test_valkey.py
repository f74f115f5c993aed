"""The embedded Valkey: behind a password, bounded in memory, back on the same port after a crash."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import redis

from tests.servers import wait_until
from tidegate.platform.embedded.running import running, start, stop
from tidegate.platform.embedded.valkey import EmbeddedValkey
from tidegate.platform.settings import CacheSettings


@pytest.fixture
def server(tmp_path: Path) -> EmbeddedValkey:
    return EmbeddedValkey(tmp_path / 'val "key', "se/cret", CacheSettings(embedded_max_memory_mb=64))


def test_it_asks_for_the_password_which_no_command_line_shows(server: EmbeddedValkey, tmp_path: Path) -> None:
    with running(server, log=tmp_path / "log") as process, redis.Redis.from_url(server.url()) as client:
        assert client.ping()
        with redis.Redis(port=server.port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        assert server.password not in " ".join(psutil.Process(process.pid).cmdline())
        assert server.configuration.stat().st_mode & 0o077 == 0


def test_memory_is_bounded_and_queues_never_give_way(server: EmbeddedValkey, tmp_path: Path) -> None:
    with running(server, log=tmp_path / "log"), redis.Redis.from_url(server.url()) as client:
        found = client.config_get("max*")
        assert found["maxmemory"] == str(64 * 1024 * 1024)
        assert found["maxmemory-policy"] == "volatile-lru"  # only keys with a time to live


def test_a_killed_server_comes_back_on_the_same_port(server: EmbeddedValkey, tmp_path: Path) -> None:
    with running(server, log=tmp_path / "log") as process, redis.Redis.from_url(server.url()) as client:
        assert client.ping()
        process.kill()
        process.wait()
        again = start(server.program(), log=tmp_path / "log")
        try:
            wait_until(server.is_ready)
            assert client.ping()
        finally:
            stop(again, with_signal=server.program().stop_signal)
    url = server.url()
    server.prepare()
    assert server.url() == url
