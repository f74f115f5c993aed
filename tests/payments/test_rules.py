"""The table of charge states, and what may be kept as a method."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.payments import Answer, Applied, ChargeRef, ChargeState
from tidegate.payments.rules import CAPTURED_TWICE, MOVES, Step, decide, may_be_method
from tidegate.platform.ids import OrderId, new_id
from tidegate.platform.money import Money

TOTAL = Money(1_299, "GBP")
OTHERS = (Money(1_298, "GBP"), Money(1_299, "EUR"), Money(0, "GBP"))

answers = st.lists(
    st.sampled_from(
        [Answer(state, "pay_1", failure="declined" if state == "failed" else None) for state in ChargeState]
        + [Answer(ChargeState.CAPTURED, "pay_1", total=TOTAL)]
    ),
    max_size=8,
)


def walk(told: list[Answer], *, paid_by_other: bool = False) -> list[Step]:
    steps = [Step(ChargeState.INTENT, None, Applied.SAME)]
    for answer in told:
        steps.append(decide(steps[-1].state, steps[-1].failure, answer, total=TOTAL, paid_by_other=paid_by_other))
    return steps


@given(told=answers, data=st.data())
def test_any_order_and_repetition_of_answers_ends_in_the_same_place(told: list[Answer], data: st.DataObject) -> None:
    repeated = told + data.draw(st.lists(st.sampled_from(told), max_size=4)) if told else told
    shuffled = data.draw(st.permutations(repeated))
    first, second = walk(told)[-1], walk(shuffled)[-1]
    assert (first.state, first.failure) == (second.state, second.failure)


@given(told=answers)
def test_a_capture_is_never_untold_and_told_as_a_change_once(told: list[Answer]) -> None:
    steps = walk(told)
    captured = [step.state is ChargeState.CAPTURED for step in steps]
    assert captured == sorted(captured)
    changes = [step for step in steps if step.applied is Applied.CHANGED and step.state is ChargeState.CAPTURED]
    assert len(changes) == any(answer.state is ChargeState.CAPTURED for answer in told)


@given(told=answers)
def test_the_money_of_a_second_attempt_is_reported_each_time_and_never_kept(told: list[Answer]) -> None:
    steps = walk(told, paid_by_other=True)[1:]
    for answer, step in zip(told, steps, strict=True):
        assert step.state is not ChargeState.CAPTURED
        assert (step.applied is Applied.CAPTURED_TWICE) == (answer.state is ChargeState.CAPTURED)
    if any(answer.state is ChargeState.CAPTURED for answer in told):
        assert steps[-1].state.settled
        assert steps[-1].failure == CAPTURED_TWICE


@given(told=answers, other=st.sampled_from(OTHERS), paid_by_other=st.booleans())
def test_another_sum_never_pays_and_is_reported_each_time(
    told: list[Answer], other: Money, paid_by_other: bool
) -> None:
    before = walk(told, paid_by_other=paid_by_other)[-1]
    answer = Answer(ChargeState.CAPTURED, "pay_1", total=other)
    for _ in range(2):
        step = decide(before.state, before.failure, answer, total=TOTAL, paid_by_other=paid_by_other)
        assert (step.state, step.failure) == (before.state, before.failure)
        assert step.applied is (Applied.SAME if before.state is ChargeState.CAPTURED else Applied.OTHER_TOTAL)


def test_states_are_in_one_total_order() -> None:
    for one, other in permutations(ChargeState, 2):
        assert (other in MOVES[one]) != (one in MOVES[other])
    for state, later in MOVES.items():
        assert all(MOVES[further] <= later for further in later), state


def test_two_ways_of_not_being_paid_change_nothing_for_the_order() -> None:
    assert decide(
        ChargeState.CANCELLED, "cancelled", Answer(ChargeState.FAILED, "p"), total=TOTAL, paid_by_other=False
    ) == Step(ChargeState.FAILED, "failed", Applied.SAME)


@pytest.mark.parametrize("text", ["hosted", "tok_ok", "pm_1NXWPnLkdIwHu7ixPLqTd5Zk", "tok_1234"])
def test_tokens_may_be_kept(text: str) -> None:
    assert may_be_method(text)


@pytest.mark.parametrize(
    "text",
    ["", "4242424242424242", "4242 4242 4242 4242", "c4242424242424242", "tok_4242_4242_4242_4242", "tok-ok", "tök",
     "tok_ok\n", "t" * 129, "tok_٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢"],
)  # fmt: skip
def test_what_could_be_a_card_may_not(text: str) -> None:
    assert not may_be_method(text)


@given(attempt=st.integers(1, 999_999_999))
def test_a_reference_is_read_back(attempt: int) -> None:
    ref = ChargeRef(OrderId(new_id()), attempt)
    assert ChargeRef.parse(ref.key) == ref


@given(text=st.one_of(st.text(), st.from_regex(r"[0-9a-f-]{30,40}\.[0-9]{0,12}")))
def test_a_foreign_reference_is_nobodys(text: str) -> None:
    found = ChargeRef.parse(text)
    assert found is None or found.key == text
