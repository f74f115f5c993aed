"""`tidegate room` as a merchant meets it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.gate.conftest import MakeRoom, let_open, room_of
from tidegate.ops.rooms_cli import room_app
from tidegate.platform.database import Database
from tidegate.platform.problems import StartupError
from tidegate.platform.settings import Settings


async def room(*words: str) -> Any:
    """What the command says, run as a process of its own would."""
    return await asyncio.to_thread(CliRunner().invoke, room_app, list(words))


async def test_a_value_is_given_once(make_room: MakeRoom, database: Database, settings: Settings) -> None:
    await make_room(beacon_source="staff")
    early = await room("beacon", "boots", "4 2 6 6 1")
    assert isinstance(early.exception, StartupError)
    assert "right after the room has opened" in str(early.exception)
    await let_open(database, settings)
    said = await room("beacon", "boots", "4 2 6 6 1")
    assert said.exit_code == 0 and "'4 2 6 6 1'" in said.stdout
    again = await room("beacon", "boots", "6 6 6 6 6")
    assert isinstance(again.exception, StartupError)
    assert "can have one only" in str(again.exception)
    assert (await room_of(database)).beacon == "4 2 6 6 1"


@pytest.mark.usefixtures("settings")
async def test_keys_are_made_and_retired() -> None:
    first = json.loads((await room("keys", "--json")).stdout)
    made = json.loads((await room("rotate-key", "--json")).stdout)["key"]
    listed = json.loads((await room("keys", "--json")).stdout)
    assert made in listed["keys"] and listed["signs"] == first["signs"]
    assert "signs" in (await room("keys")).stdout
    assert (await room("retire-key", first["signs"])).exit_code == 0
    after = json.loads((await room("keys", "--json")).stdout)
    assert first["signs"] not in after["keys"]
    for key in list(after["keys"])[1:]:
        await room("retire-key", key)
    last = json.loads((await room("keys", "--json")).stdout)["signs"]
    assert (await room("retire-key", last)).exit_code == 1
