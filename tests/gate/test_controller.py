"""The controller of admission before simulated crowds: not too many, not none, steady, and nearly as fast as can be."""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.gate.crowd import Crowd, World
from tidegate.gate.controller import MOST_OVER, Facts, Limits, Memory, begin, decide, people_that_fit

LIMITS = Limits(per_buyer=1, start_per_s=100.0, objective_ms=250.0)

worlds = st.builds(
    World,
    stock=st.integers(1, 400),
    crowd=st.integers(1, 3_000),
    capacity_per_s=st.sampled_from([3.0, 20.0, 200.0, 2_000.0]),
    no_show=st.sampled_from([0.0, 0.1, 0.5, 0.9]),
    completion=st.sampled_from([0.4, 0.9, 1.0]),
    think_s=st.sampled_from([2.0, 15.0, 60.0]),
    per_buyer=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 10_000),
)
memories = st.builds(
    Memory,
    rate_per_s=st.floats(1.0, 10_000.0),
    credit=st.floats(0.0, 20_000.0),
    at_s=st.floats(0.0, 100.0),
    spent=st.integers(0, 100_000),
    items=st.just(0),
    absent=st.integers(0, 100_000),
).map(lambda memory: replace(memory, items=memory.spent * 2))


@settings(max_examples=60)
@given(world=worlds)
@example(world=World(242, 927, 20.0, no_show=0.0, completion=0.4, think_s=2.0, per_buyer=2, seed=2974))
def test_every_sale_ends_and_lets_in_no_more_than_absences_justify(world: World) -> None:
    limits = replace(LIMITS, per_buyer=world.per_buyer)
    crowd = Crowd(world, limits).run(most_s=86_400)
    assert crowd.done_s < math.inf, "the line is wedged"
    assert crowd.sold == world.stock or crowd.waiting == 0
    for _, _, inside, free in crowd.entered:
        assert inside <= max(free * MOST_OVER, 1)
        if world.no_show == 0.0:
            assert inside <= free, "everyone comes, so nobody may enter for whom there is nothing"
    served = crowd.memory.spent
    assert crowd.turned_away <= max(2, 0.005 * served), "people with a pass found nothing"


@settings(max_examples=300)
@given(
    memory=memories,
    free=st.integers(0, 100_000),
    inside=st.integers(0, 200_000),
    waiting=st.integers(0, 1_000_000),
    elapsed_s=st.floats(0.0, 1_000.0),
    p99_ms=st.none() | st.floats(0.1, 60_000.0),
    limit=st.none() | st.floats(0.1, 500.0),
)
def test_a_round_keeps_every_bound(
    memory: Memory, free: int, inside: int, waiting: int, elapsed_s: float, p99_ms: float | None, limit: float | None
) -> None:
    assert memory.at_s is not None
    now_s = memory.at_s + elapsed_s
    facts = Facts(now_s, free, 0, inside, waiting, p99_ms, now_s)
    limits = replace(LIMITS, per_buyer=4, speed_limit_per_s=limit)
    step = decide(facts, memory, limits)
    assert 0 <= step.admit <= waiting
    assert step.admit == 0 or inside + step.admit <= people_that_fit(free, memory, limits) <= max(free * MOST_OVER, 1)
    rate = step.memory.rate_per_s if limit is None else min(limit, step.memory.rate_per_s)
    assert step.admit <= max(2 * rate, 1)
    assert step.memory.rate_per_s >= 1.0
    assert memory.rate_per_s * 0.5 <= step.memory.rate_per_s or step.memory.rate_per_s == 1.0
    assert step.memory.rate_per_s <= memory.rate_per_s * 2.0
    assert step.reach >= 0


@given(memory=memories, free=st.integers(0, 100_000))
def test_stock_serves_at_least_those_whom_it_surely_serves(memory: Memory, free: int) -> None:
    limits = replace(LIMITS, per_buyer=4)
    surely = free // max(4.0, memory.items_each(limits))
    assert people_that_fit(free, memory, limits) >= max(surely, min(free, 1))


def test_what_comes_back_lets_in_exactly_the_next() -> None:
    memory = replace(begin(LIMITS), at_s=0.0, credit=100.0, spent=1_000, items=1_000)
    assert decide(Facts(1.0, 0, 50, 0, 900), memory, LIMITS).admit == 0
    assert decide(Facts(1.0, 3, 47, 0, 900), memory, LIMITS).admit == 3
    assert decide(Facts(1.0, 3, 47, 2, 900), memory, LIMITS).admit == 1
    assert decide(Facts(1.0, 3, 47, 0, 2), memory, LIMITS).admit == 2


def test_staff_s_speed_limit_holds_whatever_the_engine_could_do() -> None:
    crowd = Crowd(World(2_000, 5_000, 2_000), replace(LIMITS, speed_limit_per_s=7.0)).run(most_s=100)
    for first, second in itertools.pairwise(crowd.entered):
        assert second[1] <= 7 * (second[0] - first[0]) + 1


def test_when_nobody_ever_comes_the_line_moves_on() -> None:
    crowd = Crowd(World(10, 200, 100, no_show=1.0), LIMITS).run(most_s=20_000)
    assert crowd.waiting == 0
    assert crowd.done_s < 20 * 180, "each pass's time lets the next ones in"


@pytest.mark.parametrize("capacity_per_s", [60.0, 400.0])
def test_the_rate_settles_below_what_the_engine_can_do(capacity_per_s: float) -> None:
    crowd = Crowd(World(40_000, 400_000, capacity_per_s, think_s=15), LIMITS).run(most_s=600)
    settled = [rate * 0.8 for at, rate in crowd.rates if at >= 150]
    cuts = sum(second < first for first, second in itertools.pairwise(settled))
    assert cuts <= 4, "the rate swings"
    assert statistics.median(settled) >= 0.5 * capacity_per_s
    assert min(settled) >= 0.3 * capacity_per_s
    assert max(settled) <= 1.2 * capacity_per_s
    assert crowd.over_s <= 90, "the engine is slower than its objective for too long"


def test_an_engine_that_was_slow_for_a_minute_is_used_again() -> None:
    crowd = Crowd(World(100_000, 250_000, 100, slow_from_s=120), LIMITS).run(most_s=900)
    assert max(rate for at, rate in crowd.rates if at > 600) * 0.8 >= 0.6 * 100


@pytest.mark.parametrize(
    "world",
    [
        World(10_000, 40_000, 2_000),
        World(5_000, 20_000, 100),
        World(3_000, 60_000, 1_000, completion=0.5),
        World(5_000, 60_000, 1_000, no_show=0.5),
        World(8_000, 60_000, 1_000, per_buyer=4),
    ],
    ids=["ordinary", "slow engine", "half of them never pay", "half of them never come", "several each"],
)
def test_it_sells_nearly_as_fast_as_one_who_knows_everything(world: World) -> None:
    limits = replace(LIMITS, per_buyer=world.per_buyer)
    ours, best = Crowd(world, limits).run(), Crowd(world, limits, omniscient=True).run()
    assert ours.sold == best.sold == world.stock
    assert _sold_at(ours, 0.75) <= 1.5 * _sold_at(best, 0.75) + world.pass_s
    assert _sold_at(ours, 0.25) <= 1.5 * _sold_at(best, 0.25) + 30
    assert ours.done_s <= 2.0 * best.done_s + world.pass_s * 6
    assert ours.turned_away <= best.turned_away + 3


def _sold_at(crowd: Crowd, share: float) -> float:
    return next(at for at, sold in crowd.sales if sold >= share * crowd.world.stock)
