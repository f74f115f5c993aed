"""What a request costs, and what one more process would give."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rehearse.makers import second
from tidegate.rehearse.contracts import Second, Step
from tidegate.rehearse.costs import REFUSED, USUAL_US, costs_of, limits
from tidegate.rehearse.tally import Tally

STEPS = (Step.STATUS, Step.JOIN, Step.PURCHASE)


def timeline(site_us: dict[Step, float], *, seconds: int = 60, idle: float = 0.05, seed: int = 1) -> list[Second]:
    """Seconds in which requests come in changing numbers, each of which costs the site so much."""
    dice = random.Random(seed)
    made = []
    for n in range(1, seconds + 1):
        counts = {step: dice.randrange(0, 800) for step in STEPS}
        cores = idle + sum(count * site_us[step] for step, count in counts.items()) / 1e6
        made.append(second(float(n), steps=counts, cpu={"site": cores, "others": dice.random()}))
    return made


@given(
    st.fixed_dictionaries({step: st.floats(0.4, 2.5).map(USUAL_US[step].__mul__) for step in STEPS}),
    st.floats(0, 0.3),
    st.integers(0, 5),
)
@settings(max_examples=20, deadline=None)
def test_costs_are_found_again(site_us: dict[Step, float], idle: float, seed: int) -> None:
    found = costs_of(timeline(site_us, idle=idle, seed=seed))
    assert [cost.kind for cost in found] == ["site"], "of other programs nothing is known"
    total = sum(site_us.values())
    for step in STEPS:
        assert found[0].request_us[step] == pytest.approx(site_us[step], abs=0.15 * total)


def test_what_was_refused_does_not_make_orders_cheap() -> None:
    dice = random.Random(7)
    played = []
    for n in range(1, 61):
        orders, refused = dice.randrange(0, 500), dice.randrange(0, 20_000)
        cores = orders * 1_000 / 1e6 + refused * 25 / 1e6
        played.append(second(float(n), steps={Step.PURCHASE: orders}, cpu={"site": cores}, refused=refused))
    (found,) = costs_of(played)
    assert found.request_us[Step.PURCHASE] == pytest.approx(1_000, rel=0.1)
    assert found.request_us[REFUSED] == pytest.approx(25, rel=0.2)


def test_a_refusal_is_no_answer_that_was_fast() -> None:
    tally = Tally()
    tally.begin()
    tally.answered(Step.PURCHASE, 2.0, own_s=0.0)
    for _ in range(99):
        tally.answered(Step.PURCHASE, 0.001, own_s=0.0, refused=True)
    told = tally.second(at=1.0, inside=1, waiting=0, sockets=1, in_flight=0, left=None)
    assert (told.answered, told.refused, told.steps[Step.PURCHASE].count) == (100, 99, 1)
    latency = tally.told().latencies[Step.PURCHASE]
    assert latency.count == 1
    assert latency.p50_ms == pytest.approx(2_000, rel=0.05)


def test_nothing_is_said_of_a_rehearsal_too_short_for_it() -> None:
    assert costs_of(timeline(dict.fromkeys(STEPS, 10.0), seconds=6)) == ()


def test_who_was_at_the_limit_is_told_what_one_more_process_gives() -> None:
    played = [second(float(n), steps={Step.PURCHASE: 20 * n}, cpu={"site": 0.016 * n}) for n in range(1, 61)]
    found = costs_of(played)
    said = limits(played, found, processes={"site": 1}, cores=4)
    assert len(said) == 1
    assert "site CPU was the limit 57 s after the begin: 0.94 cores in 1 process, at 1,180 orders/s" in said[0]
    assert "one more process gives about +1,25" in said[0]
    assert limits(played, found, processes={"site": 2}, cores=4) == ()


def test_a_machine_without_a_free_core_says_who_had_them() -> None:
    played = [second(float(n), steps={Step.JOIN: 1_000}, cpu={"site": 1.2, "crowd": 0.7}) for n in range(1, 10)]
    said = limits(played, costs_of(played), processes={"site": 2}, cores=2)
    assert len(said) == 1
    assert "All 2 cores of this machine were in use for 9 s: site 1.20, crowd 0.70." in said[0]
    assert "The crowd's share is not there on the day." in said[0]
    assert "orders/s" not in said[0], "nobody bought anything"


def test_a_full_machine_is_told_what_one_more_core_gives() -> None:
    played = [
        second(float(n), steps={Step.PURCHASE: 40 * n}, cpu={"site": 0.04 * n, "postgres": 0.02 * n})
        for n in range(1, 31)
    ]
    said = limits(played, costs_of(played), processes={"site": 4, "postgres": 1}, cores=1)
    assert "An order takes 1.50 ms of all the shop's processes together" in said[-1]
    assert "one more core gives about +667 orders/s" in said[-1]


def test_processes_that_were_busy_with_nothing_asked_for_are_no_limit_of_the_sale() -> None:
    played = [second(float(n), steps={}, cpu={"site": 1.9}) for n in range(1, 10)]
    played += [second(float(n), steps={Step.PAGE: 10}, cpu={"site": 0.1}) for n in range(10, 19)]
    assert limits(played, costs_of(played), processes={"site": 2}, cores=4) == ()
    assert limits([second(0.0, steps={}, cpu={"site": 1.0})] * 3, (), processes={"site": 1}, cores=1) == ()
