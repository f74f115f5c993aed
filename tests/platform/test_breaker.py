"""A breaker holds back calls to whoever does not answer, and finds out when they answer again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidegate.platform.breaker import Breaker, BreakerState

FAILURES, PAUSE_S = 3, 5.0


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def open_breaker() -> tuple[Breaker, Clock]:
    clock = Clock()
    breaker = Breaker(failures=FAILURES, pause_s=PAUSE_S, clock=clock)
    for _ in range(FAILURES):
        assert breaker.admits()
        breaker.failed()
    assert breaker.state is BreakerState.OPEN
    return breaker, clock


def test_failures_in_a_row_hold_calls_back_and_one_success_between_them_does_not() -> None:
    breaker = Breaker(failures=FAILURES, pause_s=PAUSE_S, clock=Clock())
    for _ in range(2):
        for _ in range(FAILURES - 1):
            breaker.failed()
        breaker.succeeded()
    assert breaker.admits()
    assert not open_breaker()[0].admits()


def test_after_a_pause_one_call_tries_and_decides() -> None:
    breaker, clock = open_breaker()
    clock.now += PAUSE_S
    assert breaker.admits()
    assert breaker.state is BreakerState.HALF_OPEN
    assert not breaker.admits(), "one at a time"
    breaker.failed()
    assert not breaker.admits()
    clock.now += PAUSE_S
    assert breaker.admits()
    breaker.succeeded()
    assert [breaker.admits() for _ in range(3)] == [True] * 3


def test_it_says_whether_it_holds_back_and_nothing_comes_of_asking() -> None:
    breaker, clock = open_breaker()
    assert breaker.holds_back
    clock.now += PAUSE_S
    assert not breaker.holds_back
    assert breaker.admits(), "the one that may try"
    assert breaker.holds_back


def test_a_call_that_never_tells_how_it_went_blocks_nobody_for_ever() -> None:
    breaker, clock = open_breaker()
    clock.now += PAUSE_S
    assert breaker.admits()
    clock.now += PAUSE_S
    assert breaker.admits()


def test_late_failures_do_not_keep_it_open_and_a_late_answer_closes_it() -> None:
    breaker, clock = open_breaker()
    clock.now += PAUSE_S / 2
    breaker.failed()
    clock.now += PAUSE_S / 2
    assert breaker.admits()
    breaker, _ = open_breaker()
    breaker.succeeded()
    assert breaker.admits()


@given(st.lists(st.sampled_from(["admit", "succeed", "fail", "wait"]), max_size=60))
def test_it_never_holds_back_for_longer_than_a_pause_nor_lets_through_more_than_one_while_it_tries(
    steps: list[str],
) -> None:
    clock = Clock()
    breaker = Breaker(failures=FAILURES, pause_s=PAUSE_S, clock=clock)
    admitted_at: list[float] = []
    for step in steps:
        before = breaker.state
        match step:
            case "admit":
                if breaker.admits() and before is not BreakerState.CLOSED:
                    assert not admitted_at or clock.now - admitted_at[-1] >= PAUSE_S
                    admitted_at.append(clock.now)
            case "succeed":
                breaker.succeeded()
                admitted_at.clear()
            case "fail":
                breaker.failed()
            case _:
                clock.now += PAUSE_S / 2
    clock.now += PAUSE_S
    assert breaker.admits()
