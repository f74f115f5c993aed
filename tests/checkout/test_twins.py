"""Requests with one key in one process: one of them works, all are answered, whoever goes away meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tidegate.checkout.twins import Twins
from tidegate.platform.idempotency import RequestKey, fingerprint
from tidegate.platform.ids import PersonId, new_id
from tidegate.platform.problems import KeyReused, NotFound

pytestmark = pytest.mark.anyio

KEY = RequestKey(PersonId(new_id()), "k", fingerprint("/", "body"))


class Work:
    """Work that goes on until it is let go; `begun` counts its runs."""

    def __init__(self, outcome: str | Exception = "done") -> None:
        self.begun = 0
        self.let_go = asyncio.Event()
        self._outcome = outcome

    async def __call__(self) -> str:
        self.begun += 1
        await self.let_go.wait()
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


async def started(
    twins: Twins, work: Callable[[], Awaitable[str]], callers: int
) -> list[asyncio.Task[tuple[str, bool]]]:
    """That many callers with one key, the first of whom is at work, and the others wait."""
    tasks = [asyncio.create_task(twins.share(KEY, work)) for _ in range(callers)]
    await settled()
    return tasks


async def settled() -> None:
    """Everybody has gone as far as they can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_works_and_all_share_the_outcome() -> None:
    twins, work = Twins(), Work()
    tasks = await started(twins, work, 4)
    work.let_go.set()
    assert await asyncio.gather(*tasks) == [("done", False), ("done", True), ("done", True), ("done", True)]
    assert work.begun == 1
    assert await twins.share(KEY, work) == ("done", False), "nothing is remembered afterwards"


async def test_when_the_first_goes_away_the_next_does_the_work() -> None:
    twins, work = Twins(), Work()
    first, *others = await started(twins, work, 4)
    first.cancel()
    await settled()
    assert work.begun == 2
    others[0].cancel()
    await settled()
    assert work.begun == 3
    work.let_go.set()
    outcomes = await asyncio.gather(first, *others, return_exceptions=True)
    assert [type(each) for each in outcomes[:2]] == [asyncio.CancelledError, asyncio.CancelledError]
    assert outcomes[2:] == [("done", False), ("done", True)]


async def test_whoever_waits_may_go_away_too() -> None:
    twins, work = Twins(), Work()
    first, second, third = await started(twins, work, 3)
    second.cancel()
    await settled()
    assert second.cancelled()
    work.let_go.set()
    assert [*await asyncio.gather(first, third)] == [("done", False), ("done", True)]
    assert work.begun == 1


async def test_a_failure_is_shared_and_another_request_is_refused() -> None:
    twins, work = Twins(), Work(NotFound("gone"))
    tasks = await started(twins, work, 3)
    with pytest.raises(KeyReused):
        await twins.share(RequestKey(KEY.buyer_id, KEY.key, fingerprint("/", "another")), work)
    work.let_go.set()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [(type(each), str(each)) for each in errors] == [(NotFound, str(errors[0]))] * 3
    assert len({id(each) for each in errors}) == 3, "nobody raises what another one raises"
    assert work.begun == 1


async def test_without_a_key_everybody_works() -> None:
    twins, work = Twins(), Work()
    work.let_go.set()
    assert [*await asyncio.gather(twins.share(None, work), twins.share(None, work))] == [("done", False)] * 2
    assert work.begun == 2
