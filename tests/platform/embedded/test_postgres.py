"""The embedded PostgreSQL: durable, private, and able to start again after whatever happened to it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.servers import wait_until
from tidegate.platform.embedded import accounts
from tidegate.platform.embedded.orphans import processes_in
from tidegate.platform.embedded.postgres import EmbeddedPostgres
from tidegate.platform.embedded.running import running, start, stop
from tidegate.platform.problems import StartupError
from tidegate.platform.settings import DatabaseSettings

LIMITS = DatabaseSettings(embedded_memory_share=0.01, embedded_max_connections=20)


def make_server(folder: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(folder, "a b'c/d", LIMITS)


@pytest.fixture(scope="module")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> EmbeddedPostgres:
    """A server that is prepared; tests start and break it one after the other."""
    server = make_server(tmp_path_factory.mktemp("embedded") / "postgres")
    server.prepare()
    return server


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "postgres.log"


def ask(server: EmbeddedPostgres, query: str) -> object:
    with psycopg.connect(server.url(), autocommit=True) as conn:
        row = conn.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def test_commits_are_durable(initialised: EmbeddedPostgres, log: Path) -> None:
    with running(initialised, log=log):
        for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
            assert ask(initialised, f"SELECT current_setting('{name}')") == "on", name
        assert ask(initialised, "SELECT current_setting('wal_level')") == "replica"
        assert ask(initialised, "SELECT current_setting('max_connections')") == "20"
        assert ask(initialised, "SELECT current_setting('max_locks_per_transaction')") == "256"


def test_the_shops_role_is_no_superuser_and_the_superuser_cannot_log_in(
    initialised: EmbeddedPostgres, log: Path
) -> None:
    with running(initialised, log=log):
        assert ask(initialised, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
        with pytest.raises(psycopg.OperationalError, match="authentication failed"):
            psycopg.connect(initialised.url().replace("//tidegate:", "//postgres:"))


def test_the_socket_and_the_loopback_port_ask_for_the_password(initialised: EmbeddedPostgres, log: Path) -> None:
    with running(initialised, log=log):
        for host in (str(initialised.socket_folder), "127.0.0.1"):
            where = {"host": host, "port": initialised.port, "dbname": "tidegate", "user": "tidegate"}
            psycopg.connect(**where, password=initialised.password).close()  # type: ignore[arg-type]
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(**where, password="wrong")  # type: ignore[arg-type]


def test_after_a_crash_the_url_stays_even_if_somebody_took_the_loopback_port(
    initialised: EmbeddedPostgres, log: Path
) -> None:
    url = initialised.url()
    with socket.create_server(("127.0.0.1", initialised.port)):
        again = start_again(initialised, log)
        try:
            assert ask(initialised, "SELECT 1") == 1
            assert initialised.url() == url
        finally:
            stop(again, with_signal=signal.SIGINT)


def test_orphaned_backends_of_a_killed_postmaster_are_waited_for(initialised: EmbeddedPostgres, log: Path) -> None:
    with running(initialised, log=log) as postmaster:
        with psycopg.connect(initialised.url(), autocommit=True) as conn:
            conn.execute("CREATE TABLE kept (id int)")
            conn.execute("INSERT INTO kept VALUES (1)")
        busy = threading.Thread(target=_long_query, args=(initialised.url(),))
        busy.start()
        wait_until(lambda: ask(initialised, "SELECT count(*) > 1 FROM pg_stat_activity WHERE state = 'active'"))
        postmaster.kill()
        postmaster.wait()
        assert processes_in(initialised.data), "the busy backend should still hold the shared memory"
        began = time.monotonic()
        again = start_again(initialised, log)
        assert time.monotonic() - began < 15
        try:
            assert ask(initialised, "SELECT count(*) FROM kept") == 1
        finally:
            stop(again, with_signal=signal.SIGINT)
            busy.join()


def test_a_server_that_is_still_shutting_down_is_waited_for(initialised: EmbeddedPostgres, log: Path) -> None:
    with running(initialised, log=log) as postmaster:
        postmaster.send_signal(signal.SIGINT)
        again = start_again(initialised, log)
        assert postmaster.wait(1) == 0
        stop(again, with_signal=signal.SIGINT)


def test_a_lock_file_whose_process_id_was_given_to_another_program(initialised: EmbeddedPostgres, log: Path) -> None:
    with running(initialised, log=log) as postmaster:
        lock = (initialised.data / "postmaster.pid").read_text()
        postmaster.kill()
        postmaster.wait()
    bystander = subprocess.Popen(["/bin/sleep", "60"])
    try:
        (initialised.data / "postmaster.pid").write_text(lock.replace(str(postmaster.pid), str(bystander.pid), 1))
        with running(initialised, log=log):
            assert ask(initialised, "SELECT 1") == 1
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_data_folder_of_another_version_is_left_alone(tmp_path: Path) -> None:
    server = make_server(tmp_path / "postgres")
    server.data.mkdir(parents=True)
    (server.data / "PG_VERSION").write_text("17\n")
    with pytest.raises(StartupError, match=r"made by PostgreSQL 17, this is PostgreSQL 18"):
        server.prepare()


def test_a_first_start_that_was_killed_half_way_is_begun_anew(tmp_path: Path, log: Path) -> None:
    folder = tmp_path / "postgres"
    script = (
        "import sys; from pathlib import Path; from tidegate.platform.embedded.postgres import *\n"
        f"EmbeddedPostgres(Path({str(folder)!r}), 'x', DatabaseSettings()).prepare()"
    )
    half_way = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
    wait_until(lambda: any(folder.glob("data.new.*/base")), what="initdb at work")
    half_way.kill()
    half_way.wait()
    server = make_server(folder)
    assert not server.data.exists()
    with running(server, log=log):
        assert ask(server, "SELECT 1") == 1
    assert not list(folder.glob("data.new.*"))


def test_a_folder_with_a_long_name_gets_its_socket_elsewhere(tmp_path: Path, log: Path) -> None:
    folder = tmp_path / ("long-" * 20) / "postgres's"
    folder.parent.mkdir()
    server = make_server(folder)
    with running(server, log=log):
        assert ask(server, "SELECT 1") == 1
        assert folder not in server.socket_folder.parents
        assert server.socket_folder.stat().st_mode & 0o077 == 0
        longest = max(len(os.fsencode(file)) for file in server.socket_folder.iterdir())
        assert longest < 107
    server.forget_socket()
    assert not server.socket_folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_where_namespaces_are_refused_another_user_owns_the_folder(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "_candidates", lambda data: ["65534:65534"])
    server = make_server(tmp_path / "postgres")
    with running(server, log=log) as postmaster:
        assert ask(server, "SELECT 1") == 1
        assert psutil.Process(postmaster.pid).uids().real == 65534
        assert server.data.stat().st_uid == 65534
    monkeypatch.undo()
    with running(server, log=log) as postmaster:  # found again by its owner
        assert psutil.Process(postmaster.pid).uids().real == 65534


def _long_query(url: str) -> None:
    with suppress(psycopg.OperationalError), psycopg.connect(url, autocommit=True) as conn:
        conn.execute("SELECT count(*) FROM generate_series(1, 1000000000000)")


def start_again(server: EmbeddedPostgres, log: Path) -> subprocess.Popen[bytes]:
    """What the supervisor does after a death."""
    server.clear()
    process = start(server.program(), log=log)
    wait_until(server.is_ready, timeout_s=30)
    return process


def test_what_goes_by_itself_while_it_is_killed_is_no_error(
    initialised: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    seen = psutil.Process(child.pid)
    child.wait()
    monkeypatch.setattr("tidegate.platform.embedded.postgres.processes_in", lambda _data: [seen])
    initialised.kill()
    assert not seen.is_running()
