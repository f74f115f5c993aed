"""How many processes of each kind: what is typed, and the way from a command to the supervisor."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.ops.control import Control, Say, ask_supervisor
from tidegate.ops.counts import LEAST, MOST, counts_of, parse_counts
from tidegate.platform.problems import StartupError
from tidegate.platform.settings import Settings

pytestmark = pytest.mark.anyio


@given(st.dictionaries(st.sampled_from(sorted(LEAST)), st.integers(0, MOST), min_size=1))
def test_counts_are_read_as_they_are_written(counts: dict[str, int]) -> None:
    text = ",".join(f"{kind}={count}" for kind, count in counts.items())
    if any(count < LEAST[kind] for kind, count in counts.items()):
        with pytest.raises(StartupError, match="is not possible"):
            parse_counts([text])
    else:
        assert parse_counts([text]) == counts == parse_counts(text.split(","))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("till=2", "names no kind of process"),
        ("", "names no kind of process"),
        ("checkout", "has no number of processes"),
        ("checkout=-1", "has no number of processes"),
        ("checkout=two", "has no number of processes"),
        ("checkout=²", "has no number of processes"),
        ("checkout=65", "0 to 64 are"),
        ("checkout=99999", "has no number of processes"),
        ("site=0", "1 to 64 are"),
        ("site=1,site=2", "named twice"),
    ],
)
def test_what_is_no_count_is_refused_in_one_line(text: str, says: str) -> None:
    with pytest.raises(StartupError, match=says) as caught:
        parse_counts([text])
    assert "\n" not in str(caught.value)


def test_settings_say_what_a_shop_begins_with() -> None:
    assert counts_of(Settings()) == {"site": 2, "gate": 0, "checkout": 0, "worker": 2}


async def ask(settings: Settings, asked: Mapping[str, Any]) -> list[str]:
    said: list[str] = []
    await asyncio.to_thread(ask_supervisor, settings, asked, on_line=said.append)
    return said


async def test_a_command_has_the_supervisor_do_something(settings: Settings) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def handle(asked: Mapping[str, Any], say: Say) -> None:
        match asked["do"]:
            case "wait":
                begun.set()
                await go_on.wait()
            case "fail":
                raise StartupError("checkout-1 did not start: no memory")
        await say(f"{asked['do']} is done")

    with pytest.raises(StartupError, match="start it with `tidegate up`"):
        await ask(settings, {"do": "scale"})
    control = Control(handle)
    told = await control.start()
    settings.endpoints_file.parent.mkdir()
    settings.endpoints_file.write_text(json.dumps({"control": told | {"key": "guessed"}}))
    with pytest.raises(StartupError, match="stopped before"):
        await ask(settings, {"do": "scale"})
    settings.endpoints_file.write_text(json.dumps({"control": told}))
    assert await ask(settings, {"do": "scale"}) == ["scale is done"]
    with pytest.raises(StartupError, match="checkout-1 did not start: no memory"):
        await ask(settings, {"do": "fail"})
    waiting = asyncio.create_task(ask(settings, {"do": "wait"}))
    await begun.wait()
    with pytest.raises(StartupError, match="another command is still being carried out"):
        await ask(settings, {"do": "scale"})
    go_on.set()
    assert await waiting == ["wait is done"]
    await control.close()
    with pytest.raises(StartupError, match="no shop runs"):
        await ask(settings, {"do": "scale"})
