"""What a beacon's address answers, and what it comes to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from structlog.testing import capture_logs

from tidegate.gate import fetch_beacon
from tidegate.gate.beacon import MAX_ANSWER_BYTES

PULSE = json.dumps({"pulse": {"version": "2.0", "values": ["a" * 128] * 20, "outputValue": "F4" * 64}}).encode()
ANSWERS = {
    "/short": b'{"round": 7,\n "randomness": "8f3a"}\n',
    "/long": PULSE,
    "/most": b"x" * MAX_ANSWER_BYTES,
    "/too-long": b"x" * (MAX_ANSWER_BYTES + 1),
    "/endless": b"x" * 8_000_000,
    "/empty": b" \n",
    "/escapes": b"8f3a \x1b[2J",
    "/bytes": b"\xff\xfe" * 16,
}


class Beacon(BaseHTTPRequestHandler):
    """Answers as the path says; /hangs never ends its answer, /drips sends it a byte at a time."""

    done = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("location", "/short")
            self.end_headers()
            return
        self.send_response(200 if self.path != "/broken" else 503)
        self.end_headers()
        if self.path in ("/hangs", "/drips"):
            while self.path == "/drips" and not self.done.wait(0.05):
                self.wfile.write(b"7")
            self.done.wait()
            return
        try:
            self.wfile.write(ANSWERS.get(self.path, b"away"))
        except ConnectionError:
            assert self.path == "/endless", "whoever has read enough goes away"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def beacon() -> Iterator[str]:
    Beacon.done.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Beacon) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        Beacon.done.set()
        server.shutdown()
        thread.join()


async def test_a_short_answer_is_the_value_as_one_line(beacon: str) -> None:
    assert await fetch_beacon(f"{beacon}/short", timeout_s=5) == '{"round": 7, "randomness": "8f3a"}'


@pytest.mark.parametrize("path", ["/long", "/most"])
async def test_of_a_long_answer_its_hash_is_the_value(beacon: str, path: str) -> None:
    """So that what goes into the key, the row and everybody's status stays small, and anybody can compute it."""
    assert await fetch_beacon(f"{beacon}{path}", timeout_s=5) == f"sha256:{sha256(ANSWERS[path]).hexdigest()}"


@pytest.mark.parametrize(
    ("path", "event", "reason"),
    [
        ("/too-long", "beacon_unusable", "too long"),
        ("/endless", "beacon_unusable", "too long"),
        ("/empty", "beacon_unusable", "empty"),
        ("/escapes", "beacon_unusable", "not printable"),
        ("/bytes", "beacon_unusable", "not UTF-8"),
        ("/moved", "beacon_unreachable", "HTTPStatusError"),
        ("/broken", "beacon_unreachable", "HTTPStatusError"),
    ],
)
async def test_what_cannot_be_used_is_no_value_and_the_log_says_why(
    beacon: str, path: str, event: str, reason: str
) -> None:
    with capture_logs() as logged:
        assert await fetch_beacon(f"{beacon}{path}", timeout_s=5) is None
    assert [(line["event"], line["reason"]) for line in logged] == [(event, reason)]


@pytest.mark.parametrize("path", ["/hangs", "/drips"])
async def test_an_answer_that_does_not_end_is_not_waited_for(beacon: str, path: str) -> None:
    with capture_logs() as logged:
        assert await fetch_beacon(f"{beacon}{path}", timeout_s=0.2) is None
    assert [line["event"] for line in logged] == ["beacon_unreachable"]


async def test_nobody_there_is_no_value() -> None:
    with capture_logs() as logged:
        assert await fetch_beacon("http://127.0.0.1:1/", timeout_s=5) is None
    assert [(line["event"], line["reason"]) for line in logged] == [("beacon_unreachable", "ConnectError")]
