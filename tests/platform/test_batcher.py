"""Batches form by themselves, stay within their bounds, and leave no caller without an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from prometheus_client import REGISTRY

from tests.virtual_time import run_virtually
from tidegate.platform import batcher
from tidegate.platform.batcher import HUNG, SWEEP_S, Batcher, WrongResults
from tidegate.platform.problems import Overloaded
from tidegate.platform.settings import BatchSettings

TURN_S = 1.0
"""How long a batch takes here, in virtual seconds."""

LIMITS = BatchSettings(batch_max=4, queue_max=6, deadline_s=3.0)


class Bench:
    """A batcher whose batches take `turn_s` and answer each request with its double."""

    def __init__(
        self,
        limits: BatchSettings = LIMITS,
        *,
        name: str = "bench",
        turn_s: float = TURN_S,
        turn: asyncio.Lock | None = None,
        apart_ms: int = 0,
    ) -> None:
        self.batches: list[list[int]] = []
        self.starts: list[float] = []
        self.turn_s = turn_s
        self.answer: Callable[[Sequence[int]], Sequence[int | Exception]] = lambda requests: [2 * n for n in requests]
        self.batcher: Batcher[int, int] = Batcher(self._run, name=name, limits=limits, turn=turn, apart_ms=apart_ms)
        self.batcher.start()

    async def _run(self, requests: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append(list(requests))
        self.starts.append(now())
        await asyncio.sleep(self.turn_s)
        return self.answer(requests)

    def submit(self, *requests: int) -> list[asyncio.Task[int]]:
        """Submit each from a caller of its own."""
        return [asyncio.create_task(self.batcher.submit(request)) for request in requests]


def now() -> float:
    return asyncio.get_running_loop().time()


async def settle_down() -> None:
    """Let everything run that needs no time."""
    for _ in range(10):
        await asyncio.sleep(0)


async def outcomes(callers: Sequence[asyncio.Task[int]]) -> list[int | BaseException]:
    return await asyncio.gather(*callers, return_exceptions=True)


def virtually(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run an async test in virtual time."""

    def run() -> None:
        run_virtually(test())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@virtually
async def test_what_arrives_during_a_batch_forms_the_next() -> None:
    bench = Bench()
    first = bench.submit(1)
    await settle_down()
    others = bench.submit(2, 3, 4)
    assert await outcomes([*first, *others]) == [2, 4, 6, 8]
    assert bench.batches == [[1], [2, 3, 4]]
    assert now() == 2 * TURN_S
    await bench.batcher.drain()


@virtually
async def test_a_lone_request_waits_for_nobody() -> None:
    bench = Bench()
    assert await bench.batcher.submit(1) == 2
    assert now() == TURN_S
    await bench.batcher.drain()


@virtually
async def test_batches_that_are_to_begin_apart_do_unless_they_are_full_and_who_comes_alone_waits_for_nothing() -> None:
    bench = Bench(turn_s=0.01, apart_ms=500)
    assert await bench.batcher.submit(1) == 2
    assert now() == pytest.approx(0.01), "nobody came before"
    early = bench.submit(2)
    await asyncio.sleep(0.2)
    assert await outcomes([*early, *bench.submit(3)]) == [4, 6]
    assert bench.batches == [[1], [2, 3]]
    assert bench.starts == pytest.approx([0.0, 0.5])
    await outcomes(bench.submit(4, 5, 6, 7))
    assert bench.starts[-1] == pytest.approx(0.51), "it is full"
    await asyncio.sleep(5.0)
    assert await bench.batcher.submit(8) == 16
    assert now() == pytest.approx(5.53)
    last = bench.submit(9)
    await settle_down()
    await bench.batcher.drain()
    assert await outcomes(last) == [18]
    assert now() == pytest.approx(5.54), "an end waits for no more company"


@virtually
async def test_somebody_may_wait_for_something_else_meanwhile() -> None:
    bench = Bench()
    kept, given_up = bench.batcher.hand_in(1), bench.batcher.hand_in(2)
    assert not kept.done()
    given_up.cancel()
    assert await kept == 2
    assert bench.batches == [[1]]
    await bench.batcher.drain()


@virtually
async def test_batchers_with_a_common_turn_take_it_one_by_one_but_no_hung_batch_keeps_it() -> None:
    turn = asyncio.Lock()
    quick, slow = Bench(turn_s=batcher.TURN_S / 2, turn=turn), Bench(turn_s=10 * batcher.TURN_S, turn=turn)
    first = quick.submit(1)
    await settle_down()
    assert await outcomes([*first, *slow.submit(2)]) == [2, 4]
    assert slow.starts == [pytest.approx(batcher.TURN_S / 2)], "one after the other"
    hung = slow.submit(3)
    await settle_down()
    begun = now()
    assert await outcomes(quick.submit(4)) == [8]
    assert quick.starts[1] == pytest.approx(begun + batcher.TURN_S), "no longer than that"
    assert await outcomes(hung) == [6]
    assert not turn.locked()
    await quick.batcher.drain()
    await slow.batcher.drain()


@virtually
async def test_a_batch_is_bounded_and_keeps_the_order_of_arrival() -> None:
    bench = Bench()
    assert await outcomes(bench.submit(1, 2, 3, 4, 5, 6)) == [2, 4, 6, 8, 10, 12]
    assert bench.batches == [[1, 2, 3, 4], [5, 6]]
    await bench.batcher.drain()


@virtually
async def test_a_full_queue_refuses_at_once_and_says_when_to_come_again() -> None:
    bench = Bench()
    accepted = bench.submit(0)
    await settle_down()
    accepted += bench.submit(1, 2, 3, 4, 5, 6)
    (refused,) = bench.submit(7)
    with pytest.raises(Overloaded) as caught:
        await refused
    assert now() == 0
    assert caught.value.status == 503
    assert caught.value.retry_after_s == 2
    assert "nothing was changed" in caught.value.detail
    assert await outcomes(accepted) == [0, 2, 4, 6, 8, 10, 12]
    assert bench.batches == [[0], [1, 2, 3, 4], [5, 6]]
    await bench.batcher.drain()


@virtually
async def test_a_request_past_its_deadline_is_refused_and_never_run() -> None:
    bench = Bench(turn_s=3.5)
    running = bench.submit(0)
    await settle_down()
    (early,) = bench.submit(1)
    await asyncio.sleep(1)
    late = bench.submit(2)
    with pytest.raises(Overloaded, match="nothing was changed"):
        await early
    assert now() == pytest.approx(LIMITS.deadline_s, abs=SWEEP_S)
    assert await outcomes([*running, *late]) == [0, 4]
    assert bench.batches == [[0], [2]]
    await bench.batcher.drain()


@virtually
async def test_a_hung_batch_lets_its_callers_go_and_does_not_claim_that_nothing_happened() -> None:
    bench = Bench(turn_s=1000)
    callers = bench.submit(1, 2)
    for outcome in await outcomes(callers):
        assert isinstance(outcome, Overloaded)
        assert outcome.detail == HUNG
        assert outcome.retry_after_s
    assert now() == pytest.approx(2 * LIMITS.deadline_s, abs=2 * SWEEP_S)
    await bench.batcher.drain()


@virtually
async def test_after_a_hung_batch_the_next_ones_run() -> None:
    bench = Bench(turn_s=7)
    hung = bench.submit(1)
    await asyncio.sleep(6.9)
    bench.turn_s = TURN_S
    late = bench.submit(2)
    assert await outcomes(late) == [4]
    assert isinstance((await outcomes(hung))[0], Overloaded)
    await bench.batcher.drain()


@virtually
async def test_a_caller_that_gives_up_leaves_the_queue() -> None:
    bench = Bench()
    running = bench.submit(0)
    await settle_down()
    gone, stays = bench.submit(1, 2)
    await settle_down()
    gone.cancel()
    assert await outcomes([*running, stays]) == [0, 4]
    assert bench.batches == [[0], [2]]
    await bench.batcher.drain()


@virtually
async def test_callers_that_gave_up_take_no_place_in_the_queue() -> None:
    bench = Bench(turn_s=2.0)
    running = bench.submit(0)
    await settle_down()
    gone = bench.submit(1, 2, 3, 4, 5, 6)
    await settle_down()
    for caller in gone:
        caller.cancel()
    await asyncio.sleep(2 * SWEEP_S)
    assert await outcomes([*running, *bench.submit(7)]) == [0, 14]
    assert bench.batches == [[0], [7]]
    await bench.batcher.drain()


@virtually
async def test_a_caller_that_gives_up_during_its_batch_harms_no_other() -> None:
    bench = Bench()
    gone, stays = bench.submit(1, 2)
    await settle_down()
    gone.cancel()
    assert await outcomes([stays]) == [4]
    assert bench.batches == [[1, 2]]
    await bench.batcher.drain()


@virtually
async def test_each_caller_gets_its_own_result_or_exception() -> None:
    bench = Bench()
    bench.answer = lambda requests: [ValueError(str(n)) if n % 2 else n for n in requests]
    one, two, three = await outcomes(bench.submit(1, 2, 3))
    assert two == 2
    assert isinstance(one, ValueError) and str(one) == "1"
    assert isinstance(three, ValueError) and str(three) == "3"
    await bench.batcher.drain()


@virtually
async def test_a_batch_that_raises_is_an_error_for_all_and_the_next_one_runs() -> None:
    bench = Bench()

    def broken(requests: Sequence[int]) -> Sequence[int | Exception]:
        raise ValueError("broken")

    fine, bench.answer = bench.answer, broken
    one, two = await outcomes(bench.submit(1, 2))
    assert (str(one), str(two)) == ("broken", "broken")
    assert one is not two, "each caller raises an error of their own"
    bench.answer = fine
    assert await outcomes(bench.submit(3)) == [6]
    await bench.batcher.drain()


@pytest.mark.parametrize("answer", [[], [1], [1, 2, 3]])
def test_another_number_of_results_is_an_error_for_all(answer: list[int]) -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.answer = lambda requests: answer
        for outcome in await outcomes(bench.submit(1, 2)):
            assert isinstance(outcome, WrongResults)
        bench.answer = list
        assert await outcomes(bench.submit(3)) == [3]
        await bench.batcher.drain()

    run_virtually(scenario())


@virtually
async def test_a_cancellation_from_inside_does_not_stop_the_batcher() -> None:
    bench = Bench()

    def cancelled(requests: Sequence[int]) -> Sequence[int | Exception]:
        raise asyncio.CancelledError

    fine, bench.answer = bench.answer, cancelled
    (outcome,) = await outcomes(bench.submit(1))
    assert isinstance(outcome, Overloaded) and outcome.detail == HUNG
    bench.answer = fine
    assert await outcomes(bench.submit(2)) == [4]
    await bench.batcher.drain()


@virtually
async def test_drain_finishes_what_waits_and_refuses_what_comes() -> None:
    bench = Bench()
    callers = bench.submit(1, 2, 3, 4, 5)
    await settle_down()
    drained = asyncio.create_task(bench.batcher.drain())
    await settle_down()
    with pytest.raises(Overloaded):
        await bench.batcher.submit(6)
    await drained
    assert now() == 2 * TURN_S
    assert await outcomes(callers) == [2, 4, 6, 8, 10]
    assert bench.batches == [[1, 2, 3, 4], [5]]


@virtually
async def test_drain_of_an_idle_batcher_ends_at_once() -> None:
    bench = Bench()
    await settle_down()
    await bench.batcher.drain()
    await bench.batcher.drain()
    assert now() == 0


@virtually
async def test_drain_ends_although_a_batch_hangs() -> None:
    bench = Bench(turn_s=1000)
    callers = bench.submit(1, 2)
    await settle_down()
    await bench.batcher.drain()
    assert now() == pytest.approx(2 * LIMITS.deadline_s, abs=3 * SWEEP_S)
    assert [str(outcome) for outcome in await outcomes(callers)] == [HUNG, HUNG]


@virtually
async def test_a_drain_by_force_leaves_nobody_waiting() -> None:
    bench = Bench()
    callers = bench.submit(1, 2, 3, 4, 5)
    await settle_down()
    drained = asyncio.create_task(bench.batcher.drain())
    await settle_down()
    drained.cancel()
    running, queued = (await outcomes(callers))[:4], (await outcomes(callers))[4:]
    assert now() == 0
    assert {str(outcome) for outcome in running} == {HUNG}
    assert all("nothing was changed" in str(outcome) for outcome in queued)
    with pytest.raises(Overloaded):
        await bench.batcher.submit(6)


@virtually
async def test_requests_before_the_start_are_run_by_it_and_refused_without_it() -> None:
    async def run(requests: Sequence[int]) -> Sequence[int]:
        return requests

    started: Batcher[int, int] = Batcher(run, name="bench", limits=LIMITS)
    early = asyncio.create_task(started.submit(1))
    await settle_down()
    started.start()
    assert await early == 1
    await started.drain()

    never: Batcher[int, int] = Batcher(run, name="bench", limits=LIMITS)
    early = asyncio.create_task(never.submit(1))
    await settle_down()
    await never.drain()
    with pytest.raises(Overloaded):
        await early


LINGERING = BatchSettings(batch_max=4, queue_max=10, deadline_s=3.0, linger_ms=500)


@virtually
async def test_a_first_request_waits_for_company() -> None:
    bench = Bench(LINGERING)
    first = bench.submit(1)
    await asyncio.sleep(0.4)
    second = bench.submit(2)
    assert await outcomes([*first, *second]) == [2, 4]
    assert bench.batches == [[1, 2]]
    assert bench.starts == pytest.approx([0.5])
    await bench.batcher.drain()


@virtually
async def test_nobody_lingers_in_a_full_batch_or_after_having_waited() -> None:
    bench = Bench(LINGERING)
    first = bench.submit(1)
    await asyncio.sleep(0.1)
    others = bench.submit(2, 3, 4)
    await asyncio.sleep(0.2)
    late = bench.submit(5)
    await outcomes([*first, *others, *late])
    assert bench.batches == [[1, 2, 3, 4], [5]]
    assert bench.starts == pytest.approx([0.1, 1.1])
    await bench.batcher.drain()


@virtually
async def test_drain_does_not_linger() -> None:
    bench = Bench(LINGERING)
    caller = bench.submit(1)
    await settle_down()
    await bench.batcher.drain()
    assert await outcomes(caller) == [2]
    assert bench.starts == [0]


@virtually
async def test_batches_and_refusals_are_counted() -> None:
    bench = Bench(BatchSettings(batch_max=2, queue_max=3, deadline_s=1.5), name="counted")
    callers = bench.submit(1, 2, 3, 4)
    await outcomes(callers)
    assert metric("tidegate_batch_rejected_total", batch="counted", reason="queue_full") == 1
    assert metric("tidegate_batch_size_count", batch="counted") == 2
    assert metric("tidegate_batch_size_sum", batch="counted") == 3
    assert metric("tidegate_batch_run_seconds_sum", batch="counted") == 2 * TURN_S
    assert metric("tidegate_batch_wait_seconds_sum", batch="counted") == TURN_S
    bench.turn_s = 1000
    hung = bench.submit(5)
    await outcomes(hung)
    assert metric("tidegate_batch_rejected_total", batch="counted", reason="deadline") == 1
    await bench.batcher.drain()
    await outcomes(bench.submit(6))
    assert metric("tidegate_batch_rejected_total", batch="counted", reason="shutdown") == 1
