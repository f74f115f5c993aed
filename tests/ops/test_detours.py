"""What the processes of a shop are told where a rehearsal leads their ways round."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from tidegate.ops.detours import lead_round
from tidegate.platform.embedded.ports import free_port
from tidegate.platform.problems import StartupError
from tidegate.platform.settings import SupervisorSettings

URLS = {
    "database_url": "postgresql://tidegate:secret@/tidegate?host=%2Fhome%2Fsocket&port=5433",
    "valkey_url": "redis://:secret@127.0.0.1:6380/0",
    "broker_url": "redis://:secret@127.0.0.1:6380/0",
    "smtp_url": "smtp://127.0.0.1:2525",
    "base_url": "http://127.0.0.1:8000",
}


@pytest.fixture
def listening() -> Iterator[tuple[int, int]]:
    """Ports at which proxies could be."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        yield one.getsockname()[1], other.getsockname()[1]


def test_ways_are_led_round_and_the_true_ones_noted_for_their_owner_alone(
    tmp_path: Path, listening: tuple[int, int]
) -> None:
    note, (first, second) = tmp_path / "detours.json", listening
    told = lead_round(URLS, {"postgres": first, "valkey": second}, note=note)
    assert told["database_url"].startswith(f"postgresql://tidegate:secret@127.0.0.1:{first}/tidegate?")
    assert "host=" not in told["database_url"]
    assert told["valkey_url"] == told["broker_url"] == f"redis://:secret@127.0.0.1:{second}/0"
    assert (told["smtp_url"], told["base_url"]) == (URLS["smtp_url"], URLS["base_url"])
    assert json.loads(note.read_text()) == {"postgres": URLS["database_url"], "valkey": URLS["valkey_url"]}
    assert note.stat().st_mode & 0o077 == 0


def test_another_broker_keeps_its_way_and_without_detours_nothing_is_noted(
    tmp_path: Path, listening: tuple[int, int]
) -> None:
    note = tmp_path / "detours.json"
    rabbit = URLS | {"broker_url": "amqp://rabbit.example/"}
    assert lead_round(rabbit, {"valkey": listening[0]}, note=tmp_path / "other")["broker_url"] == rabbit["broker_url"]
    assert lead_round(URLS, {}, note=note) == URLS
    assert not note.exists()
    with pytest.raises(StartupError, match="there is no 'moon'"):
        lead_round(URLS, {"moon": 1}, note=note)


def test_a_way_over_a_port_without_a_listener_is_refused_at_once(tmp_path: Path) -> None:
    port = free_port()
    with pytest.raises(StartupError, match=f"nothing listens at 127.0.0.1:{port}, over which postgres"):
        lead_round(URLS, {"postgres": port}, note=tmp_path / "detours.json")
    for wrong in (0, 65_536):
        with pytest.raises(ValidationError):
            SupervisorSettings(detours={"postgres": wrong})
