"""What a sweeper does with rows that fail: halves, left alone for a while, tried again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import OperationalError
from psycopg.errors import CheckViolation, DeadlockDetected

from tidegate.platform.problems import Overloaded
from tidegate.platform.set_aside import MOST_A_ROUND, PAUSE_S, SetAside

pytestmark = pytest.mark.anyio


class Work:
    """Fails as a whole when one of `broken` is in the batch; what it did stays done."""

    def __init__(self, broken: Collection[UUID], error: Exception | None = None) -> None:
        self.broken = set(broken)
        self.error = error or CheckViolation()
        self.done: list[UUID] = []
        self.calls = 0

    async def __call__(self, ids: Sequence[UUID]) -> int:
        self.calls += 1
        if self.broken & set(ids):
            raise self.error
        self.done += ids
        return len(ids)


def numbered(count: int) -> list[UUID]:
    return [UUID(int=n) for n in range(count)]


@given(st.integers(0, 60), st.sets(st.integers(0, 59), max_size=MOST_A_ROUND - 1))
async def test_all_but_the_broken_are_done_once(count: int, bad: set[int]) -> None:
    ids = numbered(count)
    broken = {each for each in ids if each.int in bad}
    aside, work = SetAside[UUID]("t"), Work(broken)
    assert await aside.run(ids, work) == count - len(broken)
    assert work.done == [each for each in ids if each not in broken]
    assert set(aside.ids) == broken
    calls = work.calls
    assert await aside.run(list(broken), work) == 0
    assert work.calls == calls, "left alone"


async def test_what_failed_is_tried_again_after_its_pause() -> None:
    now_s = 5.0
    aside, work = SetAside[UUID]("t", clock=lambda: now_s), Work(numbered(1))
    await aside.run(numbered(3), work)
    now_s += PAUSE_S - 1
    assert aside.ids == numbered(1)
    now_s += 1
    assert aside.ids == []
    work.broken.clear()
    assert await aside.run(numbered(1), work) == 1


async def test_where_everything_fails_a_round_ends_early() -> None:
    aside, work = SetAside[UUID]("t"), Work(numbered(500), RuntimeError("a bug"))
    assert await aside.run(numbered(500), work) == 0
    assert len(aside.ids) == MOST_A_ROUND
    assert work.calls < 4 * MOST_A_ROUND


@pytest.mark.parametrize("error", [DeadlockDetected(), OperationalError("gone"), TimeoutError(), Overloaded()])
async def test_what_is_no_fault_of_the_rows_sets_none_aside(error: Exception) -> None:
    aside, work = SetAside[UUID]("t"), Work(numbered(1), error)
    with pytest.raises(type(error)):
        await aside.run(numbered(8), work)
    assert (aside.ids, work.calls) == ([], 1)
