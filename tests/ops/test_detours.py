"""What the processes of a shop are told where a rehearsal leads their ways round."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tidegate.ops.detours import lead_round
from tidegate.platform.problems import StartupError

URLS = {
    "database_url": "postgresql://tidegate:secret@/tidegate?host=%2Fhome%2Fsocket&port=5433",
    "valkey_url": "redis://:secret@127.0.0.1:6380/0",
    "broker_url": "redis://:secret@127.0.0.1:6380/0",
    "smtp_url": "smtp://127.0.0.1:2525",
    "base_url": "http://127.0.0.1:8000",
}


def test_ways_are_led_round_and_the_true_ones_noted_for_their_owner_alone(tmp_path: Path) -> None:
    note = tmp_path / "detours.json"
    told = lead_round(URLS, {"postgres": 7001, "valkey": 7002}, note=note)
    assert told["database_url"].startswith("postgresql://tidegate:secret@127.0.0.1:7001/tidegate?")
    assert "host=" not in told["database_url"]
    assert told["valkey_url"] == told["broker_url"] == "redis://:secret@127.0.0.1:7002/0"
    assert (told["smtp_url"], told["base_url"]) == (URLS["smtp_url"], URLS["base_url"])
    assert json.loads(note.read_text()) == {"postgres": URLS["database_url"], "valkey": URLS["valkey_url"]}
    assert note.stat().st_mode & 0o077 == 0


def test_another_broker_keeps_its_way_and_without_detours_nothing_is_noted(tmp_path: Path) -> None:
    note = tmp_path / "detours.json"
    rabbit = URLS | {"broker_url": "amqp://rabbit.example/"}
    assert lead_round(rabbit, {"valkey": 7002}, note=tmp_path / "other")["broker_url"] == rabbit["broker_url"]
    assert lead_round(URLS, {}, note=note) == URLS
    assert not note.exists()
    with pytest.raises(StartupError, match="there is no 'moon'"):
        lead_round(URLS, {"moon": 1}, note=note)
