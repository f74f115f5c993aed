"""A failure that several callers share is one object for each of them."""

from __future__ import annotations

import asyncio
import errno
import traceback

import pytest
from psycopg.errors import UniqueViolation

from tidegate.platform.failures import outcome_of, own_copy
from tidegate.platform.problems import NotFound, Overloaded, Problem


def cause() -> ValueError:
    """A failure that has been raised, so that it knows where it comes from."""
    try:
        raise ValueError("why")
    except ValueError as error:
        return error


class Odd(Exception):
    """One whose text is not its argument."""

    def __init__(self, *, number: int) -> None:
        super().__init__(f"number {number}")
        self.number = number


@pytest.mark.parametrize(
    "error",
    [
        NotFound("gone"),
        Overloaded(),
        Odd(number=4),
        OSError(errno.ENOSPC, "full", "a file"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        UniqueViolation("twice"),
    ],
)
def test_a_copy_says_the_same(error: Exception) -> None:
    error.__cause__ = cause()
    copied = own_copy(error)
    assert copied is not error
    assert (type(copied), str(copied), copied.args) == (type(error), str(error), error.args)
    assert copied.__dict__ == error.__dict__
    assert copied.__cause__ is error.__cause__
    if isinstance(error, Problem):
        assert isinstance(copied, Problem) and copied.status == error.status


async def test_each_of_many_raises_its_own_and_the_traceback_does_not_grow() -> None:
    async def fail() -> None:
        raise NotFound("gone")

    work = asyncio.ensure_future(fail())
    errors = await asyncio.gather(*(outcome_of(work) for _ in range(20)), return_exceptions=True)
    assert len({id(error) for error in errors}) == 20
    frames = {len(traceback.extract_tb(error.__traceback__)) for error in errors if isinstance(error, NotFound)}
    assert len(frames) == 1, "all have come the same way"


async def test_the_work_outlives_a_caller() -> None:
    go = asyncio.Event()

    async def wait() -> str:
        await go.wait()
        return "done"

    work = asyncio.ensure_future(wait())
    first, second = (asyncio.ensure_future(outcome_of(work)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    go.set()
    assert await second == "done"
