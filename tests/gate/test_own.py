"""The gate as a process of its own before shops of other makers, which are processes of their own too."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from tests.commands import run_forked
from tests.servers import COMPILED_PYTHON, TestCluster, is_gone, wait_until
from tests.sizes import at_full_size
from tidegate.platform.embedded.ports import free_port
from tidegate.platform.secrets import load_or_create

TOKEN = re.compile(r'name="form_token" value="([^"]+)"')
STAGE = re.compile(r'data-stage="(\w+)"')
ONWARD = re.compile(r'href="(http://[^"]*tidegate_pass=[^"]+)"')
QUICK = {
    "TIDEGATE_GATE__STATUS_REFRESH_MS": "50",
    "TIDEGATE_ADMISSION__INTERVAL_MS": "100",
    "TIDEGATE_ADMISSION__START_PER_S": "1000",
}
"""As fast as may be: what is tested is not how long people wait."""

START = Callable[..., subprocess.Popen[bytes]]


@dataclass(frozen=True)
class OwnGate:
    """A gate that runs, and the environment in which its commands do."""

    address: str
    environment: dict[str, str]
    process: subprocess.Popen[bytes]

    def run(self, *words: str) -> Any:
        """What a `tidegate` command beside it says, which is JSON."""
        done = run_forked([*words, "--json"], env=self.environment, timeout_s=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def status(self, slug: str) -> dict[str, Any]:
        """The room as everybody sees it."""
        found: dict[str, Any] = httpx.get(f"{self.address}/api/v1/drops/{slug}/status").json()
        return found


class Person:
    """A browser at the shop and at the gate."""

    def __init__(self, shop: str, name: str = "") -> None:
        self.shop = shop
        self.web = httpx.Client(follow_redirects=True, timeout=20)
        if name:
            self.web.get(f"{shop}/login", params={"name": name})

    def come(self) -> httpx.Response:
        """Wish to buy."""
        return self.web.get(f"{self.shop}/buy", params={"size": "2"})

    def take_place(self, page: httpx.Response) -> httpx.Response:
        token = TOKEN.search(page.text)
        assert token is not None, page.text
        return self.web.post(str(page.url), data={"form_token": token[1]}, headers={"sec-fetch-site": "same-origin"})

    def stage(self, room: str) -> tuple[str, str]:
        """What the room's page is about, and the way on if there is one."""
        page = self.web.get(room).text
        found, onward = STAGE.search(page), ONWARD.search(page)
        assert found is not None, page
        return found[1], onward[1].replace("&amp;", "&") if onward else ""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[START]:
    """Start programs that end with the test."""
    running: list[subprocess.Popen[bytes]] = []

    def run(*command: str, environment: dict[str, str], ready: str) -> subprocess.Popen[bytes]:
        log = tmp_path / f"{len(running)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, *command], env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        running.append(process)

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return httpx.get(ready).status_code == 200
            except httpx.TransportError:
                return False

        wait_until(answers, timeout_s=60, what=ready)
        return process

    yield run
    for process in running:
        process.terminate()
    for process in running:
        process.wait(30)


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")} | COMPILED_PYTHON


def start_gate(start: START, home: Path, **environment: str) -> OwnGate:
    port = free_port()
    told = {**clean(), **QUICK, "TIDEGATE_HOME": str(home), "TIDEGATE_PORT": str(port), **environment}
    address = f"http://127.0.0.1:{port}"
    process = start("-m", "tidegate", "serve", "gate", environment=told, ready=f"{address}/readyz")
    return OwnGate(address, told, process)


@pytest.fixture
def person() -> Iterator[Callable[..., Person]]:
    """Makes people with browsers, which are closed at the end."""
    made: list[Person] = []

    def make(shop: str, name: str = "") -> Person:
        made.append(Person(shop, name))
        return made[-1]

    yield make
    for each in made:
        each.web.close()


@pytest.fixture
def confined_url(cluster: TestCluster, database_url: str) -> Iterator[str]:
    """The database for a role that may do no more than docs/how-to/in-front-of-my-shop.md says."""
    rights = re.findall(r"```sql\n(.*?)```", Path("docs/how-to/in-front-of-my-shop.md").read_text(), re.DOTALL)
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(rights[0].replace("CREATE ROLE gate LOGIN PASSWORD '...'", "CREATE ROLE gate LOGIN PASSWORD 'g'"))
        name = conn.info.dbname
    base = psycopg.conninfo.conninfo_to_dict(database_url)
    yield f"postgresql://gate:g@/{name}?host={base['host']}&port={base['port']}"
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("GRANT gate TO CURRENT_USER")
        conn.execute("DROP OWNED BY gate")
        conn.execute("DROP ROLE gate")


def open_now(url: str) -> None:
    """T0 is now."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("UPDATE gate.rooms SET opens_at = clock_timestamp(), lobby_opens_at = clock_timestamp()")


@pytest.mark.parametrize("maker", ["fastapi", pytest.param("flask", marks=at_full_size)])
@pytest.mark.timeout(300)
def test_a_shop_of_another_maker_sells_what_it_has_to_those_whose_turn_it_is(
    maker: str,
    start: START,
    person: Callable[..., Person],
    confined_url: str,
    tmp_path: Path,
    server_home: Path,
) -> None:
    secrets = load_or_create(server_home)
    gate = start_gate(
        start,
        tmp_path / "home",
        TIDEGATE_DATABASE_URL=confined_url,
        TIDEGATE_SECURITY__FORM_KEY=secrets["form_key"],
        TIDEGATE_SECURITY__SEALING_KEYS=secrets["sealing_keys"],
        TIDEGATE_SECURITY__FINGERPRINT_KEY=secrets["fingerprint_key"],
    )
    shop = f"http://127.0.0.1:{free_port()}"
    made = gate.run("room", "create", "lamp", "--title", "The lamp", "--shop", shop, "--opens-at", "+1h")
    told = {"GATE": gate.address, "SLUG": "lamp", "DROP": made["drop"], "SHOP_KEY": made["key"], "STOCK": "2"}
    wait_until(lambda: gate.status("lamp").get("phase") == "lobby", what="the lobby")
    port = {"SHOP_PORT": shop.rpartition(":")[2]}
    start("-m", f"tests.gate.shops.{maker}_shop", environment={**clean(), **told, **port}, ready=f"{shop}/login?name=x")

    stranger = person(shop).come()
    assert (STAGE.search(stranger.text) or [""])[0] == 'data-stage="join"'
    assert "Sign in there" in stranger.text and "form_token" not in stranger.text
    people = {name: person(shop, name) for name in ("ann", "ben", "cem", "dot", "eve")}
    for each in people.values():
        page = each.come()
        assert str(page.url) == made["room"], "what the shop said of people leaves the address"
        assert STAGE.search(each.take_place(page).text)[1] == "line"  # type: ignore[index]
    again = person(shop, "ann").come()
    assert STAGE.search(again.text)[1] == "line", "the same account in another browser has its place"  # type: ignore[index]
    wait_until(lambda: gate.status("lamp")["joined"] == 5, what="five places")

    open_now(confined_url)
    turns = wait_until(
        lambda: [found for found in people.items() if found[1].stage(made["room"])[0] == "turn"], what="a turn"
    )
    wait_until(lambda: gate.status("lamp")["serving"] == 3, what="as many as the stock serves")
    turns = [found for found in people.items() if found[1].stage(made["room"])[0] == "turn"]
    waiting = [found for found in people.items() if found not in turns]
    assert (len(turns), len(waiting)) == (2, 3)
    onward = turns[0][1].stage(made["room"])[1]
    thief = waiting[0][1]
    assert str(thief.web.get(onward).url) == made["room"], "a pass is good for its own account only"
    assert thief.web.post(f"{shop}/buy").status_code == 403
    for _name, each in turns:
        inside = each.web.get(each.stage(made["room"])[1])
        assert inside.text.startswith("buy here") and str(inside.url) == f"{shop}/buy?size=2"
        assert each.web.post(f"{shop}/buy").text == "bought"
        again = each.web.post(f"{shop}/buy")
        assert (again.status_code, "has been used" in again.text) == (409, True)
    wait_until(lambda: gate.status("lamp")["phase"] == "sold_out", what="sold out, told to all")
    assert gate.status("lamp")["left"] == 0
    assert all('data-part="sold_out"' in each.web.get(made["room"]).text for _, each in waiting)
    wait_until(lambda: turns[0][1].stage(made["room"])[0] == "spent", what="the pass is spent")
    listed = gate.run("room", "list")["rooms"][0]
    assert (listed["spent"], listed["no_shows"]) == (2, 0)
    for path in ("/", "/drops/lamp/draw", "/problems/pass-expired"):
        assert httpx.get(f"{gate.address}{path}", headers={"accept": "text/html"}).status_code == 200
    verified = gate.run("verify-draw", f"{gate.address}/api/v1/drops/lamp/draw")
    assert (verified["ok"], verified["size"]) == (True, 5)


@pytest.mark.timeout(300)
def test_everything_killed_in_the_midst_of_a_draw_leaves_one_draw_done_once(start: START, tmp_path: Path) -> None:
    """With a PostgreSQL of its own, which is killed as well, between the cut of the log and the draw."""
    home, told = tmp_path / "home", {"TIDEGATE_GATE__BEACON_URL": "staff", "TIDEGATE_GATE__BEACON_STAFF_WAIT_S": "3600"}
    gate = start_gate(start, home, **told)
    drop = f"{gate.address}/api/v1/drops/mug"
    gate.run("room", "create", "mug", "--title", "A mug", "--shop", "http://x.test", "--opens-at", "+1h", "--guests")
    wait_until(lambda: gate.status("mug").get("phase") == "lobby", what="the lobby")
    people = [{"authorization": f"Bearer {httpx.post(f'{drop}/visitors', json={}).json()['token']}"} for _ in range(3)]
    places = [httpx.post(f"{drop}/places", headers=headers).json() for headers in people]
    refused = httpx.put(f"{drop}/goods", json={"left": 1}, headers=people[0])
    assert (refused.status_code, refused.json()["type"]) == (401, "/problems/shop-key-not-good")
    open_now(json.loads((home / "run" / "endpoints.json").read_text())["database_url"])
    wait_until(lambda: gate.status("mug")["phase"] == "open", what="the cut")
    before = httpx.get(f"{drop}/draw").json()
    assert (before["size"], before["seed"], gate.status("mug")["drawn"]) == (3, None, False)
    family = [psutil.Process(gate.process.pid), *psutil.Process(gate.process.pid).children(recursive=True)]
    assert any(process.name() == "postgres" for process in family)
    for process in family:
        with suppress(psutil.NoSuchProcess):  # it ended by itself when another had been killed
            process.kill()
    wait_until(lambda: all(is_gone(process) for process in family), what="nothing left of it")

    again = start_gate(start, home, **told)
    drop = f"{again.address}/api/v1/drops/mug"
    late = {"authorization": f"Bearer {httpx.post(f'{drop}/visitors', json={}).json()['token']}"}
    assert httpx.post(f"{drop}/places", headers=late).status_code == 201
    assert [httpx.post(f"{drop}/places", headers=headers).json()["id"] for headers in people] == [
        place["id"] for place in places
    ]
    again.run("room", "beacon", "mug", "4 2 6")
    wait_until(lambda: again.status("mug")["drawn"], what="the draw")
    drawn = httpx.get(f"{drop}/draw").json()
    assert (drawn["commitment"], drawn["root"], drawn["size"]) == (before["commitment"], before["root"], 3)
    numbers = [httpx.post(f"{drop}/places", headers=headers).json()["number"] for headers in [*people, late]]
    assert sorted(numbers[:3]) == [1, 2, 3] and numbers[3] == 4
    verdict = again.run("verify-draw", f"{drop}/draw")
    assert (verdict["ok"], verdict["assurance"]) == (True, "verifiable")
    children = psutil.Process(again.process.pid).children(recursive=True)
    again.process.send_signal(signal.SIGTERM)
    assert again.process.wait(30) == 0
    assert all(is_gone(child) for child in children)
