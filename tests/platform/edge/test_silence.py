"""A process that says nothing is asked, for longer each time, until it is heard."""

from __future__ import annotations

import asyncio

import pytest

from tests.waiting import eventually
from tidegate.platform.edge.silence import Watch

pytestmark = pytest.mark.anyio

PATIENCE_S = 0.02


class Process:
    """What is watched. It answers while `lives`."""

    def __init__(self) -> None:
        self.lives = asyncio.Event()
        self.asked = 0
        self.turns: list[bool] = []
        self.watch = Watch(self.question, patience_s=PATIENCE_S, on_turn=self.turns.append)

    async def question(self) -> None:
        self.asked += 1
        await self.lives.wait()


async def test_it_is_silent_until_it_answers_a_question() -> None:
    process = Process()
    process.watch.begin()
    await eventually(lambda: process.asked == 3)
    assert process.watch.silent
    process.watch.end()
    process.lives.set()
    await eventually(lambda: not process.watch.silent)
    assert (process.asked, process.turns) == (3, [True, False]), "the answer to a question that waits is taken"


async def test_what_others_get_from_it_counts() -> None:
    process = Process()
    process.watch.begin()
    await eventually(lambda: process.asked == 1)
    process.watch.hear()
    await eventually(lambda: process.asked == 2)
    assert process.turns == [], "it said something while it was asked"


async def test_nothing_is_asked_while_nobody_waits() -> None:
    process = Process()
    process.watch.begin()
    process.watch.end()
    second = Process()
    second.watch.begin()
    await eventually(lambda: second.asked == 2)
    assert process.asked == 0
    for each in (process, second):
        each.watch.stop()
