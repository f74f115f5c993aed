"""What is no shop to rehearse at is refused in one line, before anybody comes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tidegate.platform.problems import StartupError
from tidegate.rehearse.running import Rehearsal, rehearse_as_guests
from tidegate.rehearse.scenario import load_scenario


@contextmanager
def answering(answers: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """A server with these answers by path, and what it was asked; a text is told as it is, all else as JSON."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            found = answers.get(self.path, "nothing here")
            body = (found if isinstance(found, str) else json.dumps(found)).encode()
            self.send_response(200 if self.path in answers else 404)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def offer(phase: str = "open", *, room: str = "none", left: int = 5) -> dict[str, object]:
    return {"phase": phase, "room": room, "items": [{"sku": "LAMP", "quantity": 5, "left": left}]}


DROP, STATUS = "/api/v1/drops/lamps", "/api/v1/drops/lamps/status"


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({"/": "another site"}, "is no shop of this kind: it answers 404"),
        ({DROP: "<p>a page</p>"}, "is no shop of this kind: it answers 200"),
        ({DROP: offer("closed")}, "is closed"),
        ({DROP: offer("sold_out")}, "is sold out"),
        ({DROP: offer(left=0)}, "nothing is left of its stock"),
        ({DROP: {**offer(), "items": []}}, "nothing is left of its stock"),
        ({DROP: offer(room="draw"), STATUS: {"phase": "closed"}}, "the waiting room of 'lamps' is closed"),
        ({DROP: offer(room="draw")}, "does not tell of the waiting room"),
    ],
)
def test_what_is_no_shop_to_rehearse_at_is_refused_in_one_line(answers: dict[str, Any], says: str) -> None:
    wanted = Rehearsal(name="smoke", scenario=load_scenario("smoke"), seed=1)
    with answering(answers) as (url, asked), pytest.raises(StartupError) as refused:
        rehearse_as_guests(wanted, target=url, drop="lamps")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert set(asked) <= {DROP, STATUS}, "nobody came"
