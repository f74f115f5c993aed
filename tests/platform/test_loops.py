"""Periodic loops: each on its own, none fatal, all stopped in bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import REGISTRY

from tests.waiting import eventually
from tidegate.platform.loops import Loop, run_loops

pytestmark = pytest.mark.anyio

LONG_S = 3_600.0


@asynccontextmanager
async def running(*loops: Loop, grace_s: float = 5) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(run_loops(loops, stop=stop, grace_s=grace_s, draw=lambda: 0.5))
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await task


class Rounds:
    """Work that counts its rounds; `answers` are taken one after another, then 0."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers = list(answers)
        self.count = 0

    async def __call__(self) -> int:
        self.count += 1
        answer = self.answers.pop(0) if self.answers else 0
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_a_round_that_did_something_is_followed_at_once_and_an_idle_one_by_a_pause() -> None:
    work = Rounds(3, 2, 0, 5)
    async with running(Loop("t-busy", work, LONG_S)):
        await eventually(lambda: work.count == 3)
        await asyncio.sleep(0)
        assert work.count == 3
    assert REGISTRY.get_sample_value("tidegate_loop_items_total", {"loop": "t-busy"}) == 5


async def test_a_pause_ends_when_there_is_news() -> None:
    work, wake = Rounds(), asyncio.Event()
    async with running(Loop("t-wake", work, LONG_S, wake=wake)):
        await eventually(lambda: work.count == 1)
        wake.set()
        await eventually(lambda: work.count == 2)


async def test_what_comes_while_a_gap_is_kept_waits_for_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    gaps: list[float] = []

    async def wait(_stop: asyncio.Event, wake: asyncio.Event | None, seconds: float) -> None:
        gaps.append(seconds)
        if wake is not None:
            await _stop.wait()

    monkeypatch.setattr("tidegate.platform.loops._wait", wait)
    work, news = Rounds(3, 2), asyncio.Event()
    async with running(Loop("t-gap", work, LONG_S, wake=news, gap_s=0.25)):
        await eventually(lambda: work.count == 3)
    assert gaps == [0.25, 0.25, LONG_S]


async def test_a_loop_that_fails_comes_back_and_does_not_touch_the_others() -> None:
    failing = Rounds(OSError("database away"), ValueError("again"), 1)
    steady = Rounds()
    async with running(Loop("t-failing", failing, 0.001, backoff_base_s=0.001), Loop("t-steady", steady, 0.001)):
        await eventually(lambda: failing.count >= 4 and steady.count >= 4)
    assert REGISTRY.get_sample_value("tidegate_loop_runs_total", {"loop": "t-failing", "outcome": "failed"}) == 2
    assert REGISTRY.get_sample_value("tidegate_loop_runs_total", {"loop": "t-steady", "outcome": "failed"}) is None


async def test_a_round_that_hangs_is_cut_off() -> None:
    rounds = 0

    async def hang() -> int:
        nonlocal rounds
        rounds += 1
        await asyncio.Event().wait()
        return 0

    async with running(Loop("t-hang", hang, 0.001, timeout_s=0.01, backoff_base_s=0.001)):
        await eventually(lambda: rounds == 2)


async def test_a_round_in_progress_may_end_within_the_grace_and_no_longer() -> None:
    ended = []
    begun = asyncio.Event()

    async def last_words() -> int:
        begun.set()
        await asyncio.sleep(0.01)
        ended.append("well")
        return 0

    async def deaf() -> int:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cut off")
        return 0

    async with running(Loop("t-words", last_words, LONG_S), Loop("t-deaf", deaf, LONG_S), grace_s=0.2):
        await begun.wait()
    assert ended == ["well", "cut off"]
