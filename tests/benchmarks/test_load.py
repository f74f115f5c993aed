"""The load generator: a stall shows, nobody is forgotten, and a purchase in two steps carries its hold along."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.load import Plan, Report, main
from benchmarks.visits import Wording

HOLD = "0198c000-0000-7000-8000-000000000001"
ORDER = "0198c000-0000-7000-8000-000000000002"
STALL_S = 1.0

Reply = Callable[[str, dict[str, Any]], tuple[int, dict[str, Any]]]


class Shop(threading.Thread):
    """A server on one thread for each connection: what it answers is `reply`'s."""

    def __init__(self, reply: Reply, *, hang_up_after: int = 10**9) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self.listener.getsockname()[1])
        self.seen: list[tuple[str, dict[str, Any], str]] = []
        self.lock = threading.Lock()
        self._reply = reply
        self._left = hang_up_after

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            while request := lines.readline():
                headers: dict[str, str] = {}
                while (line := lines.readline().strip()) != b"":
                    name, _, value = line.decode().partition(":")
                    headers[name.lower()] = value.strip()
                body: dict[str, Any] = msgspec.json.decode(lines.read(int(headers["content-length"])) or b"{}")
                path = request.split()[1].decode()
                with self.lock:
                    self.seen.append((path, body, headers.get("authorization", "")))
                    self._left -= 1
                    if self._left < 0:
                        return
                    status, document = self._reply(path, body)
                raw = msgspec.json.encode(document)
                head = f"HTTP/1.1 {status} Whatever\r\ncontent-length: {len(raw)}\r\n\r\n"
                connection.sendall(head.encode() + raw)


@contextmanager
def shop(reply: Reply, **options: Any) -> Iterator[Shop]:
    server = Shop(reply, **options)
    server.start()
    try:
        yield server
    finally:
        server.listener.close()


def paid(path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    return 201, {"id": HOLD if path.endswith("/holds") else ORDER, "state": "paid"}


@pytest.fixture
def crowd(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Report]:
    """Runs the generator on a plan; its report."""

    def come(port: int, **changes: Any) -> Report:
        plan = Plan(
            port=port, kind="express", rate_per_s=200, seconds=2, first_buyer=7, buyers=10_000, connections=16,
            answer_timeout_s=5, ids_file=str(tmp_path / "ids"),
        )  # fmt: skip
        plan = msgspec.structs.replace(plan, **changes)
        (tmp_path / "plan.json").write_bytes(msgspec.json.encode(plan))
        assert main([str(tmp_path / "plan.json")]) == 0
        return msgspec.json.decode(capfd.readouterr().out, type=Report)

    return come


def test_a_server_that_stalls_for_a_second_shows_in_p99(crowd: Callable[..., Report]) -> None:
    stalled = threading.Event()
    never = threading.Event()

    def reply(path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if len(server.seen) > 100 and not stalled.is_set():
            stalled.set()
            never.wait(STALL_S)
        return paid(path, body)

    with shop(reply) as server:
        report = crowd(server.port)
    assert report.errors == 0
    assert report.p99_ms > STALL_S * 900
    assert report.max_ms < STALL_S * 3000
    assert report.p50_ms < report.p99_ms


def test_everyone_who_came_is_accounted_for(crowd: Callable[..., Report], tmp_path: Path) -> None:
    with shop(paid) as server:
        report = crowd(server.port, seconds=1)
    assert report.arrived == report.paid == report.requests == len(server.seen) > 100
    assert report.statuses == {"201": report.arrived}
    assert (tmp_path / "ids").read_text().split() == [ORDER] * report.arrived
    assert len({who for _, _, who in server.seen}) == report.arrived, "each is another buyer"
    assert 0 < report.cpu_s < 10


def test_two_steps_carry_the_hold_along(crowd: Callable[..., Report]) -> None:
    with shop(paid) as server:
        report = crowd(server.port, kind="two_step", seconds=0.5, drop="the-drop", skus=3)
    assert report.requests == 2 * report.paid == len(server.seen)
    orders = [body for path, body, _ in server.seen if path == "/api/v1/orders"]
    holds = [body for path, body, _ in server.seen if path == "/api/v1/holds"]
    assert {body["hold_id"] for body in orders} == {HOLD}
    assert {body["drop"] for body in holds} == {"the-drop"}
    assert {body["lines"][0]["sku"] for body in holds} == {"HOT-000000", "HOT-000001", "HOT-000002"}
    assert report.first_step_p99_ms is not None


def test_strangers_become_guests_and_buy_as_these(crowd: Callable[..., Report]) -> None:
    tokens = iter(range(10**6))

    def reply(path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return (201, {"token": f"session-{next(tokens)}"}) if path == "/api/v1/guests" else paid(path, body)

    with shop(reply) as server:
        report = crowd(server.port, kind="guest", seconds=0.5, code="SPRING")
    assert report.requests == 2 * report.paid == len(server.seen)
    bought = [(body, who) for path, body, who in server.seen if path == "/api/v1/purchases"]
    assert {body["code"] for body, _ in bought} == {"SPRING"}
    assert len({who for _, who in bought}) == report.paid
    assert all(who.startswith("Bearer session-") for _, who in bought)
    assert report.first_step_p99_ms is not None


def test_refusals_and_lost_answers_are_errors(crowd: Callable[..., Report]) -> None:
    gone: dict[str, Any] = {"type": "https://shop.example/problems/sold-out", "status": 409}

    def reply(path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return (409, gone) if len(server.seen) % 2 else paid(path, body)

    with shop(reply, hang_up_after=40) as server:
        report = crowd(server.port, seconds=0.5, connections=4)
    assert report.problems["sold-out"] == report.statuses["409"] == 20
    assert report.broken > 0
    assert report.paid == 20
    assert report.errors == report.arrived - 20


def test_a_closed_loop_stops_when_buyers_run_out(crowd: Callable[..., Report]) -> None:
    with shop(paid) as server:
        report = crowd(server.port, rate_per_s=0, seconds=5, buyers=100)
    assert report.arrived == report.paid == 100


def test_requests_say_how_long_they_are() -> None:
    wording = Wording(port=1, drop=None, provider="instant", token="tok_ok", sku_format="A%-%06d")
    for request in (wording.purchase(12, 3), wording.hold(12, 3), wording.order(12, HOLD.encode())):
        head, _, body = request.partition(b"\r\n\r\n")
        assert f"content-length: {len(body)}".encode() in head
        assert b"Bearer benchmark-buyer-0000000012" in head
    assert msgspec.json.decode(wording.hold(12, 3).partition(b"\r\n\r\n")[2])["lines"][0]["sku"] == "A%-000003"
