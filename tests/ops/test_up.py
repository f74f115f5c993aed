"""`tidegate up` as people use it: real processes, killed and stopped in every way that the documentation promises."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.servers import AS_SHIPPED, Shop, is_gone, wait_until

CHILDREN = {"postgres", "valkey", "site-1", "site-2", "worker", "worker-urgent", "scheduler", "mail-catcher"}

LAUNCH_AS_ORDINARY_USER = (
    "import os, sys; from tidegate.platform.embedded.launch import take_account\n"
    "take_account('namespace'); assert os.geteuid() != 0; os.execv(sys.argv[1], sys.argv[1:])"
)
ORDINARY_USER = (sys.executable, "-c", LAUNCH_AS_ORDINARY_USER) if os.geteuid() == 0 else ()

NewShop = Callable[..., Shop]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """One shop whose life these tests follow, in their order.

    Its folder's name is too long for a socket. An ordinary user starts it first; root takes it over where root runs us.
    """
    folder = tmp_path_factory.mktemp("up") / ("a-long-name-" * 8)
    folder.mkdir()
    shop = Shop(folder / "home", arguments=(), environment=AS_SHIPPED)
    try:
        yield shop.start(prefix=ORDINARY_USER).wait_ready()
    finally:
        shop.stop()


def refusal(shop: Shop) -> str:
    """What `up` says instead of starting: one line on stderr, exit code 2."""
    done = shop.run("up")
    assert (done.returncode, done.stdout) == (2, ""), done
    assert done.stderr.startswith("tidegate: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_the_start_says_what_runs_and_where(shop: Shop) -> None:
    said = shop.said()
    for name, pid in shop.pids().items():
        assert f"{name} " in said
        assert psutil.pid_exists(pid)
    assert set(shop.pids()) == CHILDREN
    assert f"Shop: {shop.base_url}\n" in said
    assert "Administrator: admin@" in said
    assert "\x1b" not in said, "no colours where nobody sees them"


def test_only_the_owner_can_read_what_is_in_the_folder(shop: Shop) -> None:
    for path in (shop.home, shop.home / "run", shop.home / "log", shop.home / "postgres" / "data"):
        assert path.stat().st_mode & 0o077 == 0, path
    for path in (shop.home / "run" / "endpoints.json", shop.home / "secrets.json", *shop.home.glob("log/*")):
        assert path.stat().st_mode & 0o077 == 0, path


def test_no_command_line_shows_a_password(shop: Shop) -> None:
    passwords = [shop.endpoints()["database_url"].split(":")[2].split("@")[0], (shop.home / "secrets.json").read_text()]
    lines = []
    for process in shop.processes():
        with suppress(psutil.NoSuchProcess):  # PostgreSQL's helpers come and go
            lines.append(" ".join(process.cmdline()))
    assert any("valkey-server" in line for line in lines)
    assert not any(password in line for line in lines for password in passwords)


def test_every_child_has_a_process_group_of_its_own(shop: Shop) -> None:
    assert {os.getpgid(pid) for pid in shop.pids().values()} == set(shop.pids().values())


def test_other_commands_find_the_running_shop(shop: Shop) -> None:
    done = shop.run("migrate")
    assert (done.returncode, done.stderr) == (0, "")
    assert "already" in done.stdout


def test_a_second_up_on_the_same_folder_is_refused(shop: Shop) -> None:
    assert f"already (process {shop.endpoints()['supervisor_pid']})" in refusal(shop)


def test_an_up_on_the_same_port_is_refused(shop: Shop, tmp_path: Path) -> None:
    assert f"port {shop.port} of 127.0.0.1 is taken" in refusal(Shop(tmp_path / "other", port=shop.port))


def test_each_child_that_is_killed_is_started_again(shop: Shop) -> None:
    before = shop.pids()
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: set(shop.pids()) == CHILDREN and not set(shop.pids().values()) & {0, *before.values()})
    wait_until(lambda: all(shop.get("/readyz")[0] == 200 for _ in range(8)), timeout_s=30, what="a shop that is ready")
    for name in CHILDREN:
        assert f"{name} was ended by SIGKILL; starting it again in" in shop.said()
    running = {process.pid for process in shop.processes()}
    assert not running & set(before.values())


def test_nobody_waits_for_a_site_process_that_hangs(shop: Shop) -> None:
    """Each of them has a connection of its own, as somebody who comes now has."""
    hanging = shop.pids()["site-1"]
    os.kill(hanging, signal.SIGSTOP)
    try:
        assert Counter(shop.get("/readyz")[0] for _ in range(20)) == {200: 20}
    finally:
        os.kill(hanging, signal.SIGCONT)


def test_a_shop_gets_more_and_new_processes_without_losing_a_request(shop: Shop) -> None:
    """`tidegate scale` and `tidegate restart`, while people look around and look into their carts."""
    stop, answers = threading.Event(), Counter[tuple[str, int]]()

    def look(path: str) -> None:
        with httpx.Client(base_url=shop.base_url, timeout=20) as client:
            while not stop.wait(0.05):
                answers[path, client.get(path).status_code] += 1

    with ThreadPoolExecutor(2) as people:
        looking = [people.submit(look, path) for path in ("/", "/cart")]
        try:
            scaled, before = shop.run("scale", "checkout=1", timeout_s=150), shop.pids()
            restarted, after = shop.run("restart", timeout_s=200), shop.pids()
        finally:
            stop.set()
        for each in looking:
            each.result()
    assert (scaled.returncode, scaled.stderr) == (0, "")
    assert "site=2, gate=0, checkout=1, worker=2" in scaled.stdout
    assert (restarted.returncode, restarted.stderr) == (0, "")
    assert set(before) == set(after) == CHILDREN | {"checkout-1"}
    assert {name for name in before if before[name] == after[name]} == {"postgres", "valkey", "mail-catcher"}
    assert set(answers) == {("/", 200), ("/cart", 200)}
    assert min(answers.values()) > 10
    gone = [pid for name, pid in before.items() if pid != after[name]]
    assert not any(psutil.pid_exists(pid) for pid in gone)


def test_a_killed_supervisor_leaves_nothing_running_and_the_next_one_recovers(shop: Shop) -> None:
    assert shop.process is not None
    with psycopg.connect(shop.endpoints()["database_url"], autocommit=True) as conn:
        conn.execute("CREATE TABLE public.kept (id int)")
    children = shop.processes()
    shop.process.kill()
    shop.process.wait()
    _, left = psutil.wait_procs(children, timeout=0)
    assert left, "they should have been running a moment ago"
    shop.start().wait_ready()
    wait_until(lambda: all(is_gone(child) for child in children), what="an end of the first start's processes")
    assert shop.said().count("Administrator: ") == 1, "the password is told once"
    with psycopg.connect(shop.endpoints()["database_url"], autocommit=True) as conn:
        conn.execute("DROP TABLE public.kept")


def test_without_a_next_one_nothing_is_left_for_long(shop: Shop) -> None:
    assert shop.process is not None
    shop.process.kill()
    shop.process.wait()
    wait_until(lambda: not shop.processes(), timeout_s=15, what="an end of all processes")


def test_a_stop_during_the_start_ends_everything(shop: Shop) -> None:
    shop.start()
    wait_until(lambda: any("postgres" in str(process) for process in shop.processes()))
    assert shop.stop(timeout_s=20) == 0
    assert not shop.processes()


def test_a_child_that_cannot_start_says_why(shop: Shop) -> None:
    wrong = Shop(shop.home, environment={"TIDEGATE_HTTP__TRUSTED_PROXIES": '["garbage"]'})
    assert "did not start: TIDEGATE_HTTP__TRUSTED_PROXIES: 'garbage'" in refusal(wrong)
    assert not shop.processes()


def test_a_second_signal_kills_everything_at_once(shop: Shop) -> None:
    shop.start().wait_ready()
    assert shop.process is not None
    for pid in shop.pids().values():
        os.kill(pid, signal.SIGSTOP)  # now nobody can stop in order
    asked = shop.said().count("once more kills everything")
    shop.process.send_signal(signal.SIGINT)
    wait_until(lambda: shop.said().count("once more kills everything") > asked)
    shop.process.send_signal(signal.SIGINT)
    assert shop.process.wait(5) == 130
    wait_until(lambda: not shop.processes(), timeout_s=5)


def test_one_signal_stops_everything_in_order(shop: Shop) -> None:
    shop.start().wait_ready()
    url = shop.endpoints()["database_url"]
    socket_folder = Path(str(conninfo_to_dict(url)["host"]))
    assert socket_folder.exists()
    with psycopg.connect(url) as conn:
        conn.execute("UPDATE public.alembic_version SET version_num = '9999'")  # for the next test
    assert shop.stop(timeout_s=20) == 0
    assert not shop.processes()
    assert not shop.endpoints()
    assert not socket_folder.exists(), "nothing is left outside of TIDEGATE_HOME"
    assert "database system is shut down" in (shop.home / "log" / "postgres.log").read_text().splitlines()[-1]
    assert (shop.home / "lock").read_text() == ""
    done = shop.run("migrate")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "start the shop with `tidegate up`" in done.stderr


def test_a_database_of_a_newer_version_is_refused(shop: Shop) -> None:
    assert "newer Tidegate (revision 9999" in refusal(shop)
    assert not shop.processes()


def test_servers_with_a_url_of_their_own_are_not_started(new_shop: NewShop, database_url: str, valkey_url: str) -> None:
    urls = {
        "TIDEGATE_DATABASE_URL": database_url,
        "TIDEGATE_VALKEY_URL": valkey_url,
        "TIDEGATE_MAIL__SMTP_URL": "smtp://127.0.0.1:25",
    }
    shop = new_shop(arguments=(), environment=urls).start().wait_ready()
    assert set(shop.pids()) == {"site-1", "worker", "scheduler"}
    assert not (shop.home / "postgres").exists()
    shop.stop()


def test_a_database_that_is_away_is_one_clear_line(tmp_path: Path) -> None:
    away = {
        "TIDEGATE_DATABASE_URL": "postgresql://nobody:nothing@127.0.0.1:1/none",
        "TIDEGATE_SUPERVISOR__START_TIMEOUT_S": "1",
    }
    assert "no answer from PostgreSQL" in refusal(Shop(tmp_path / "home", environment=away))


def test_the_version_is_told_without_a_shop(tmp_path: Path) -> None:
    done = Shop(tmp_path / "home").run("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "tidegate")
    assert not (tmp_path / "home").exists()
