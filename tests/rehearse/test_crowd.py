"""A crowd against a shop that answers as it is told to."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import MappingProxyType

import msgspec
import pytest

from tests.rehearse.makers import scenario
from tidegate.client import Drawn
from tidegate.platform.problems import StartupError
from tidegate.rehearse.answers import order_of
from tidegate.rehearse.contracts import End, Kind, Scenario, Step, Told
from tidegate.rehearse.crowd import Crowd, Usage
from tidegate.rehearse.returning import Returning
from tidegate.rehearse.rules import CONNECTION_LOST
from tidegate.rehearse.wire import Answer, Connection, Idle, Ways
from tidegate.rehearse.wording import Goods, Login, Wording

pytestmark = pytest.mark.anyio

STALL_S = 1.0
SIGN_IN = ("/api/v1/sessions", "/api/v1/login-links/use")


@dataclass
class Puppet:
    """A shop of a few lines. It sells `units`, and does not answer before `opened` is set."""

    units: int
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[tuple[str, str]] = field(default_factory=list)
    keys: Counter[str] = field(default_factory=Counter)
    refuse: int = 0
    """So many purchases are refused for load first."""

    drop_lines: int = 0
    """So many purchases lose their connection instead of an answer, after they took effect."""

    sold: dict[str, int] = field(default_factory=dict)
    visits: set[asyncio.Task[None]] = field(default_factory=set)
    port: int = 0
    ends: bool = False
    """Whether each answer is its connection's last."""

    def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits.add(asyncio.get_running_loop().create_task(self.serve(reader, writer)))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await read_head(reader):
            lines = head.decode().split("\r\n")
            verb, path, _ = lines[0].split(" ")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
            await reader.readexactly(int(headers.get("content-length", 0)))
            await self.opened.wait()
            self.asked.append((verb, path))
            status, body, more = self.answer(path, headers)
            if status == 0:
                break
            more += "connection: close\r\n" if self.ends else ""
            writer.write(f"HTTP/1.1 {status} X\r\n{more}content-length: {len(body)}\r\n\r\n{body}".encode())
            if self.ends:
                break
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    def answer(self, path: str, headers: dict[str, str]) -> tuple[int, str, str]:
        if path in SIGN_IN:
            return 201, '{"token":"fresh"}', ""
        if path != "/api/v1/purchases":
            return 200, "a page", ""
        key = headers["idempotency-key"]
        self.keys[key] += 1
        if self.refuse:
            self.refuse -= 1
            return 503, '{"type": "/problems/overloaded"}', "retry-after: 0\r\n"
        if key not in self.sold and len(self.sold) >= self.units:
            return 409, '{"type": "/problems/sold-out"}', ""
        self.sold.setdefault(key, len(self.sold))
        if self.drop_lines:
            self.drop_lines -= 1
            return 0, "", ""
        return 201, f'{{"id":"{self.sold[key]:036d}","state":"paid"}}', ""


async def read_head(reader: asyncio.StreamReader) -> bytes:
    try:
        return (await reader.readuntil(b"\r\n\r\n"))[:-4]
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


@asynccontextmanager
async def puppet(**how: int) -> AsyncIterator[Puppet]:
    shop = Puppet(**how)  # type: ignore[arg-type]
    server = await asyncio.start_server(shop.take, "127.0.0.1", 0)
    shop.port = server.sockets[0].getsockname()[1]
    yield shop
    server.close()
    await server.wait_closed()
    await asyncio.gather(*shop.visits)


async def play(
    shop: Puppet,
    wanted: Scenario,
    *,
    seed: int = 1,
    logins: Mapping[int, Login] = MappingProxyType({}),
    usage: Callable[[], Usage] = lambda: ({}, {}),
) -> Told:
    crowd = Crowd(
        wanted,
        wording=Wording(Goods(host="127.0.0.1", slug="lamps", sku="LAMP")),
        ways=Ways("127.0.0.1", shop.port, connections=4),
        tokens=[b"token-%d" % number for number in range(wanted.arrivals.shoppers)],
        seed=seed,
        logins=logins,
        usage=usage,
    )
    return await crowd.run()


async def test_stock_is_taken_at_whole_seconds_however_long_it_takes_to_look_at_the_processes() -> None:
    def look() -> Usage:
        time.sleep(0.4)
        return {"site": 0.5}, {"site": 100.0}

    async with puppet(units=5) as shop:
        asyncio.get_running_loop().call_later(3.7, shop.opened.set)
        visit = await play(shop, scenario(shoppers=2, units=5, room="none", mix={Kind.BROWSER: 1}), usage=look)
    first, *others = visit.timeline[:3]
    assert [first.at, *(second.at for second in others)] == pytest.approx([1.0, 2.0, 3.0], abs=0.25)
    assert (first.cpu, first.memory_mb) == ({"site": 0.5}, {"site": 100.0})
    assert all(second.work_us > 0 for second in visit.timeline[:3])


async def test_a_shop_that_stalls_cannot_hide_it() -> None:
    async with puppet(units=5) as shop:
        asyncio.get_running_loop().call_later(1.0 + STALL_S, shop.opened.set)
        visit = await play(shop, scenario(shoppers=200, units=5, room="none", mix={Kind.BROWSER: 1}))
    # Four connections are stuck; the others never were sent, and waited all the same.
    page = visit.latencies[Step.PAGE]
    assert page.count == 200 * 3
    assert page.p99_ms >= 900 * STALL_S
    assert visit.ends == {End.LOOKED: 200}


async def test_everybody_buys_once_until_all_is_sold() -> None:
    async with puppet(units=5, refuse=7, drop_lines=2) as shop:
        shop.opened.set()
        visit = await play(shop, scenario(shoppers=40, units=5, room="none"))
    assert visit.ends == {End.BOUGHT: 5, End.SOLD_OUT: 35}
    assert len(set(visit.orders)) == len(visit.orders) == 5 == len(shop.sold)
    assert visit.problems == {"overloaded": 7, "connection lost": 2}
    assert sum(count > 1 for count in shop.keys.values()) <= 9, "only what was refused or lost is asked again"
    assert sum(second.arrived for second in visit.timeline) <= 40 == visit.shoppers


async def test_the_same_seed_brings_the_same_crowd() -> None:
    heard = []
    for seed in (3, 3, 4):
        async with puppet(units=100) as shop:
            shop.opened.set()
            await play(shop, scenario(room="none", mix={Kind.BROWSER: 1, Kind.BUYER: 2}), seed=seed)
            heard.append((Counter(shop.asked), set(shop.keys)))
    assert heard[0] == heard[1] != heard[2]


async def test_who_must_sign_in_does_so_first_and_buys_with_the_session_that_they_get() -> None:
    logins = {1: Login(token="a-link"), 3: Login(email="ada@shop.example", password="secret words")}
    async with puppet(units=5) as shop:
        shop.opened.set()
        bearers = Counter[str]()
        plain = shop.answer

        def answer(path: str, headers: dict[str, str]) -> tuple[int, str, str]:
            bearers[f"{path} {headers.get('authorization', '-')}"] += 1
            return plain(path, headers)

        shop.answer = answer  # type: ignore[method-assign]
        visit = await play(shop, scenario(shoppers=5, units=5, room="none"), logins=logins)
    assert visit.ends == {End.BOUGHT: 5}
    assert [bearers[f"{path} -"] for path in SIGN_IN] == [1, 1]
    assert bearers["/api/v1/purchases bearer fresh"] == 2
    assert (visit.latencies[Step.SIGN_IN].count, visit.funnel["signed in"]) == (2, 2)
    assert list(visit.funnel)[:2] == ["came", "signed in"]


async def test_who_holds_first_pays_afterwards() -> None:
    async with puppet(units=3) as shop:
        shop.opened.set()
        bodies: list[tuple[str, str]] = []

        def answer(path: str, headers: dict[str, str]) -> tuple[int, str, str]:
            if path == "/api/v1/holds":
                bodies.append((path, headers["idempotency-key"]))
                return 201, f'{{"id":"{len(bodies):036d}","state":"held"}}', ""
            if path == "/api/v1/orders":
                bodies.append((path, headers["idempotency-key"]))
                return 201, f'{{"id":"{7:035d}{len(bodies)}","state":"paid"}}', ""
            return 200, "a page", ""

        shop.answer = answer  # type: ignore[method-assign]
        visit = await play(shop, scenario(shoppers=3, units=3, room="none", mix={Kind.HOLDER: 1}))
    assert visit.ends == {End.BOUGHT: 3}
    assert sorted(key for path, key in bodies if path.endswith("holds")) == [f"rehearsal-hold-{n}" for n in range(3)]
    assert sorted(key for path, key in bodies if path.endswith("orders")) == [f"rehearsal-pay-{n}" for n in range(3)]
    assert (visit.latencies[Step.HOLD].count, visit.latencies[Step.PAY].count) == (3, 3)


STATUS = (
    '{"phase":"open","mode":"arrival","lobby_opens_at":"2026-01-01T00:00:00Z","opens_at":"2026-01-01T00:00:00Z",'
    '"drawn":false,"serving":%d,"joined":1,"left":5,"paused":false,"at":"2026-01-01T00:00:10Z",'
    '"poll":{"near_s":0.05,"far_s":0.1,"per_s":1.0,"jitter":0.0}}'
)
PLACE = '{"id":"0192a000-0000-7000-8000-000000000000","number":3,"state":"admitted","pass":"p"}'


async def test_who_leaves_the_room_and_comes_back_waits_at_the_end_of_the_line_and_buys() -> None:
    async with puppet(units=1) as shop:
        shop.opened.set()
        seen: list[str] = []
        plain = shop.answer

        def answer(path: str, headers: dict[str, str]) -> tuple[int, str, str]:
            verb = shop.asked[-1][0]
            if path.endswith("/status"):
                return 200, STATUS % (9 if seen.count("join") > 1 else 0), ""
            if path.endswith("/places"):
                seen.append("join")
                return 201, f'{{"id":"{len(seen)}","ticket":"t","number":{len(seen)},"index":0}}', ""
            if "/places/" in path and verb == "DELETE":
                seen.append("leave")
                return 204, "", ""
            if "/places/" in path:
                return 200, PLACE, ""
            return plain(path, headers)

        shop.answer = answer  # type: ignore[method-assign]
        visit = await play(shop, scenario(shoppers=1, units=1, room="arrival", mix={Kind.RETURNER: 1}))
    assert seen == ["join", "leave", "join"]
    assert visit.ends == {End.BOUGHT: 1}
    assert visit.funnel == {"came": 1, "joined": 1, "let in": 1, "bought": 1}


async def test_nobody_asks_for_what_follows_from_the_draw() -> None:
    drawn = Drawn(seed="11" * 32, root="22" * 32, beacon=None, size=5)
    status = msgspec.json.decode(STATUS % 3) | {"mode": "draw", "drawn": True, "draw": msgspec.to_builtins(drawn)}
    status["poll"] |= {"near_s": 0.01, "far_s": 0.01}
    asked: Counter[str] = Counter()
    async with puppet(units=5) as shop:
        shop.opened.set()
        plain = shop.answer

        def answer(path: str, headers: dict[str, str]) -> tuple[int, str, str]:
            if path.endswith("/status"):
                asked["status"] += 1
                told = status if asked["purchase"] < 2 else status | {"phase": "sold_out"}
                return 200, msgspec.json.encode(told).decode(), ""
            if path.endswith("/places"):
                asked["join"] += 1
                return 201, f'{{"id":"{asked["join"] - 1}","ticket":"t","number":null,"index":{asked["join"] - 1}}}', ""
            if "/places/" in path:
                asked[path.rsplit("/", 1)[1]] += 1
                return 200, PLACE, ""
            asked["draw"] += path.endswith("/draw")
            asked["purchase"] += path.endswith("/purchases")
            return plain(path, headers)

        shop.answer = answer  # type: ignore[method-assign]
        visit = await play(shop, scenario(shoppers=5, units=5, room="draw", mix={Kind.BUYER: 1}))
    first = {str(index) for index in range(5) if order_of(drawn).number(index) < 3}
    assert len(first) == 2
    assert {key for key in asked if key.isdigit()} == first, "those whose turn it is ask for their place, nobody else"
    assert asked["draw"] == 0
    assert visit.ends == {End.BOUGHT: 2, End.SOLD_OUT: 3}


def test_a_connection_that_the_server_may_be_about_to_end_is_not_used() -> None:
    idle: Idle[object] = Idle()
    first, second, last = (Connection[object](Nobody()) for _ in range(3))
    last.last = True
    for each in (first, second, last):
        idle.put(each)
    assert [idle.take() for _ in range(3)] == [second, first, None]
    old: Idle[object] = Idle(kept_s=-1.0)
    old.put(first)
    old.put(second)
    assert old.take() is None
    assert list(old._connections) == [first]
    old.end_old()
    assert not old._connections
    idle.put(second)
    idle.discard(second)
    assert idle.take() is None


class Nobody:
    """Listens to connections, and does nothing."""

    def opened(self, connection: Connection[object]) -> None: ...

    def lost(self, connection: Connection[object], asker: object | None) -> None: ...

    def answered(self, connection: Connection[object], asker: object, answer: Answer) -> None: ...


async def test_an_answer_that_is_a_connection_s_last_costs_no_request() -> None:
    async with puppet(units=5) as shop:
        shop.opened.set()
        shop.ends = True
        visit = await play(shop, scenario(shoppers=20, units=5, room="none"))
    assert visit.problems.get(CONNECTION_LOST, 0) == 0
    assert visit.ends == {End.BOUGHT: 5, End.SOLD_OUT: 15}


async def test_whose_first_try_is_still_at_work_keeps_their_pass_and_asks_again() -> None:
    async with puppet(units=1) as shop:
        shop.opened.set()
        plain, tries = shop.answer, 0

        def answer(path: str, headers: dict[str, str]) -> tuple[int, str, str]:
            nonlocal tries
            if path.endswith("/purchases"):
                tries += 1
                if tries == 1:
                    return 409, '{"type": "/problems/key-in-flight"}', ""
            return plain(path, headers)

        shop.answer = answer  # type: ignore[method-assign]
        visit = await play(shop, scenario(shoppers=1, units=1, room="none", mix={Kind.BUYER: 1}))
    assert (tries, visit.ends) == (2, {End.BOUGHT: 1})


async def test_a_failure_of_the_shop_is_one_of_the_visit() -> None:
    async with puppet(units=1) as shop:
        shop.opened.set()
        shop.answer = lambda path, headers: (500, '{"type": "/problems/internal-error"}', "")  # type: ignore[method-assign]
        visit = await play(shop, scenario(shoppers=6, room="none"))
    assert visit.ends == {End.FAILED: 6}
    assert visit.problems == {"internal-error": 6}


@pytest.mark.parametrize("body", ["", "no JSON", "[1]"])
async def test_an_answer_that_nobody_can_read_is_a_failure_of_the_visit(body: str) -> None:
    async with puppet(units=1) as shop:
        shop.opened.set()
        shop.answer = lambda path, headers: (200, body, "")  # type: ignore[method-assign]
        visit = await play(shop, scenario(shoppers=5, room="draw"))
    assert visit.ends == {End.FAILED: 5}
    assert visit.problems == {"unreadable answer": 5}


async def test_nobody_listens_and_that_is_said() -> None:
    with pytest.raises(StartupError, match=r"127\.0\.0\.1:1 cannot be reached: "):
        await play(Puppet(units=1, port=1), scenario(room="none"))


async def test_a_shop_that_ends_every_connection_at_once_is_not_hammered() -> None:
    taken = 0

    def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        taken += 1
        writer.transport.abort()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        shop = Puppet(units=1, port=server.sockets[0].getsockname()[1])
        wanted = msgspec.structs.replace(scenario(shoppers=5, room="none"), lasts_s=2.0)
        visit = await play(shop, wanted)
    assert visit.ends.get(End.BOUGHT) is None
    assert 4 < taken < 4 * 8, "each of the four comes back ever more seldom"


def test_a_connection_that_was_of_use_comes_back_at_once() -> None:
    returning = Returning(4, seed=1)
    assert [returning.failures(served=False) for _ in range(9)] == [1, 1, 1, 1, 2, 2, 2, 2, 3]
    assert returning.pause_s(3) > returning.pause_s(1) > 0
    assert returning.pause_s(returning.failures(served=True)) == 0
