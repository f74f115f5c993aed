"""How long the client waits: the shop's own rule, and never less than what it was told."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.client import Poll, next_poll_s
from tidegate.client.budget import MOST, PER_S, SHARE, RetryBudget
from tidegate.client.rules import advice_s, fresh_s, retry_s
from tidegate.gate import PollAnswer
from tidegate.gate import next_poll_s as shops_rule

NOW = datetime(2030, 1, 1, tzinfo=UTC)
chance = st.floats(0, 1)


@given(
    number=st.none() | st.integers(1, 2_000_000),
    serving=st.integers(1, 2_000_000),
    opens_in_s=st.floats(-1e6, 1e6),
    draw=chance,
    per_s=st.floats(0.1, 1e4),
    far_s=st.integers(1, 600),
)
def test_the_rule_is_the_shops(
    number: int | None, serving: int, opens_in_s: float, draw: float, per_s: float, far_s: int
) -> None:
    mine = next_poll_s(Poll(1, far_s, per_s, 0.3), number=number, serving=serving, opens_in_s=opens_in_s, draw=draw)
    shops = shops_rule(
        PollAnswer(1, far_s, per_s, 0.3), number=number, serving=serving, opens_in_s=opens_in_s, draw=draw
    )
    assert mine == shops
    assert 0.7 * (1 - 1e-9) <= mine <= 1.3 * far_s * (1 + 1e-9)


@given(st.none() | st.floats(0, 3_600), st.integers(1, 1_000), chance)
def test_nobody_comes_back_before_they_were_asked_to(advised: float | None, failures: int, draw: float) -> None:
    wait_s = retry_s(advised, failures=failures, draw=draw)
    assert wait_s >= (min(2.0 ** (failures - 1), 60.0) if advised is None else advised)
    assert wait_s <= 1.3 * (60.0 if advised is None else advised) + 1e-9


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("999999999999999", 3_600.0),
        ("Tue, 01 Jan 2030 00:00:30 GMT", 30.0),
        ("Mon, 31 Dec 2029 23:00:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("", None),
    ],
)
def test_advice_is_read_in_seconds_and_as_a_date(text: str, seconds: float | None) -> None:
    assert advice_s({"retry-after": text}, now=NOW) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"cache-control": "public, max-age=1"}, 1.0),
        ({"cache-control": 'Public, Max-Age="5"', "age": "2"}, 3.0),
        ({"cache-control": "max-age=1", "age": "9"}, 0.0),
        ({"cache-control": "max-age=1, no-store"}, 0.0),
        ({"cache-control": "max-age=much"}, 0.0),
        ({}, 0.0),
    ],
)
def test_an_answer_is_fresh_as_long_as_it_says(headers: dict[str, str], seconds: float) -> None:
    assert fresh_s(headers) == seconds


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 20), st.integers(0, 20)), max_size=40))
def test_retries_are_a_share_of_what_is_asked(rounds: list[tuple[float, int, int]]) -> None:
    budget = RetryBudget()
    now_s, asked, retried_at = 0.0, 0, []
    for pause_s, requests, retries in rounds:
        now_s += pause_s
        for _ in range(requests):
            budget.asked()
        asked += requests
        retried_at += [now_s + budget.wait_s(now_s) for _ in range(retries)]
    for made, moment_s in enumerate(sorted(retried_at), start=1):
        assert made <= MOST + asked * SHARE + moment_s * PER_S + 1 + 1e-6


def test_a_spent_budget_comes_back() -> None:
    budget = RetryBudget(share=0.1, per_s=1.0, most=2)
    assert [budget.wait_s(0.0) for _ in range(4)] == [0, 0, 1, 2]
    assert budget.wait_s(5.0) == 0
