"""The limit and the shares: properties of the pure rules, and a process in virtual time that is asked for too much."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.platform.overload.doors import Doors, Place
from tidegate.platform.overload.rules import (
    Bounds,
    Priority,
    Window,
    longest_s,
    most_doublings,
    next_doublings,
    next_limit,
    thresholds,
    window_s,
)
from tidegate.platform.settings import Settings
from tidegate.platform.settings_overload import OverloadSettings

BOUNDS = Bounds(target_s=0.2, least=32, first=256, most=1_024)
PUBLIC = [each for each in Priority if each < Priority.STAFF]
LIMITS = st.floats(min_value=32, max_value=1_024)
LATENCIES = st.floats(min_value=0, max_value=60)


@given(LIMITS, LATENCIES, st.integers(min_value=0, max_value=2_000))
def test_a_limit_stays_within_its_bounds(limit: float, latency_s: float, peak: int) -> None:
    assert 32 <= next_limit(limit, Window(latency_s, peak), BOUNDS) <= 1_024


@given(LIMITS, LATENCIES, LATENCIES)
def test_slower_answers_never_raise_it_further(limit: float, one_s: float, other_s: float) -> None:
    fast, slow = sorted((one_s, other_s))
    full = int(limit)
    assert next_limit(limit, Window(slow, full), BOUNDS) <= next_limit(limit, Window(fast, full), BOUNDS)


@given(LIMITS, LATENCIES)
def test_who_is_not_half_full_learns_nothing(limit: float, latency_s: float) -> None:
    found = next_limit(limit, Window(latency_s, int(limit / 2) - 1), BOUNDS)
    assert found == limit or limit < found <= BOUNDS.first
    assert found == limit or latency_s <= BOUNDS.target_s


@given(LIMITS, st.floats(min_value=0, max_value=0.2))
def test_who_is_full_and_fast_lets_more_in(limit: float, latency_s: float) -> None:
    assert next_limit(limit, Window(latency_s, int(limit)), BOUNDS) > limit or limit == 1_024


@given(LIMITS)
def test_what_is_worth_less_is_refused_first(limit: float) -> None:
    found = thresholds(limit)
    assert [found[each] for each in PUBLIC] == sorted(found[each] for each in PUBLIC)
    assert found[Priority.PAY] == int(limit)
    assert found[Priority.REPORTS] >= 1


@given(LATENCIES)
def test_a_window_shows_what_the_last_change_did(latency_s: float) -> None:
    assert window_s(latency_s) >= min(2 * latency_s, 2.0)


@dataclass
class Simulation:
    """One process that serves in order of arrival, `serve_s` each; a refusal costs it `refuse_s`."""

    serve_s: float
    refuse_s: float = 0.000_05
    least: int = 8
    now_s: float = 0.0
    free_s: float = 0.0
    places: deque[tuple[float, Place, float]] = field(default_factory=deque)
    took_s: list[float] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        knobs = OverloadSettings(least=self.least)
        self.doors = Doors(Settings(overload=knobs), clock=lambda: self.now_s)

    def run(self, *, rate_per_s: float, seconds: float, worth: Callable[[random.Random], Priority]) -> dict[str, int]:
        """Let requests come at random; who was served, and who was refused in these seconds."""
        chance = random.Random(7)
        until_s = self.now_s + seconds
        refused = dict.fromkeys(Priority, 0)
        self.took_s, self.limits = [], []
        next_s = self.now_s
        while (next_s := next_s + chance.expovariate(rate_per_s)) < until_s:
            self._leave_until(next_s)
            priority = worth(chance)
            place = self.doors.admit(priority)
            self.limits.append(self.doors.limit)
            if place is None:
                refused[priority] += 1
                self.free_s = max(self.free_s, self.now_s) + self.refuse_s
                continue
            self.free_s = max(self.free_s, self.now_s) + self.serve_s
            self.places.append((self.free_s, place, self.now_s))
        self._leave_until(until_s)
        return {each.name: count for each, count in refused.items() if count}

    def _leave_until(self, moment_s: float) -> None:
        while self.places and self.places[0][0] <= moment_s:
            self.now_s, place, came_s = self.places.popleft()
            self.took_s.append(self.now_s - came_s)
            place.leave(200)
        self.now_s = moment_s


def pays(chance: random.Random) -> Priority:
    """Everybody pays."""
    return Priority.PAY


def anything(chance: random.Random) -> Priority:
    """A crowd of all kinds."""
    return chance.choice(PUBLIC)


@pytest.mark.parametrize("serve_s", [0.000_4, 0.002, 0.01])
@pytest.mark.parametrize("factor", [2, 5])
def test_it_neither_collapses_nor_swings(serve_s: float, factor: int) -> None:
    shop = Simulation(serve_s)
    shop.run(rate_per_s=factor / serve_s, seconds=15.0, worth=pays)
    refused = shop.run(rate_per_s=factor / serve_s, seconds=6.0, worth=pays)
    spent_s = refused["PAY"] * shop.refuse_s
    assert len(shop.took_s) * serve_s + spent_s >= 0.97 * 6.0  # it never waited for work
    assert sorted(shop.took_s)[int(len(shop.took_s) * 0.99)] <= 0.5  # half a second where a fifth is aimed at
    assert max(shop.limits) <= 1.6 * min(shop.limits)


def test_it_lets_everybody_in_again_when_the_crowd_is_gone() -> None:
    shop = Simulation(0.002)
    shop.run(rate_per_s=2_500, seconds=5.0, worth=pays)
    shop.run(rate_per_s=250, seconds=1.0, worth=pays)
    assert shop.run(rate_per_s=250, seconds=5.0, worth=anything) == {}


def test_it_refuses_nobody_below_its_capacity() -> None:
    shop = Simulation(0.000_4)
    assert shop.run(rate_per_s=0.8 / 0.000_4, seconds=5.0, worth=pays) == {}


def test_pay_comes_first() -> None:
    shop = Simulation(0.002)
    shop.run(rate_per_s=2_000, seconds=5.0, worth=anything)
    refused = shop.run(rate_per_s=2_000, seconds=5.0, worth=anything)
    assert list(refused)[:4] == ["REPORTS", "BROWSE", "STATUS", "JOIN"]
    assert refused["REPORTS"] > 1_500
    assert refused.get("PAY", 0) < 500


def test_each_priority_keeps_a_few_places_of_its_own() -> None:
    doors = Doors(Settings(overload=OverloadSettings(least=32, first=32)))
    assert sum(doors.admit(Priority.PAY) is not None for _ in range(40)) == 32
    assert [sum(doors.admit(each) is not None for _ in range(5)) for each in PUBLIC] == [2, 2, 2, 2, 2, 0]


def test_a_shop_that_is_slow_for_another_reason_keeps_its_least_and_recovers() -> None:
    shop = Simulation(0.000_4, least=32)
    for _ in range(40):  # each answer takes a second, whatever the limit
        places = [place for _ in range(500) if (place := shop.doors.admit(Priority.PAY)) is not None]
        shop.now_s += 1.0
        for place in places:
            place.leave(200)
    assert shop.doors.limit == 32
    shop.run(rate_per_s=10_000, seconds=5.0, worth=pays)
    assert shop.doors.limit > 4 * 32


def test_a_quiet_shop_that_is_slow_stays_open() -> None:
    shop = Simulation(0.4)
    shop.run(rate_per_s=1, seconds=300.0, worth=anything)
    assert shop.doors.limit == 256


def test_an_hour_later_nothing_is_left_of_a_crowd() -> None:
    shop = Simulation(0.01)
    shop.run(rate_per_s=500, seconds=10.0, worth=pays)
    assert shop.doors.limit < 64
    shop.run(rate_per_s=20, seconds=60.0, worth=pays)
    assert shop.doors.limit == 256


def test_nobody_is_glanced_at_before_the_first_refusal_nor_two_windows_after_the_last() -> None:
    shop = Simulation(0.01)
    shop.run(rate_per_s=50, seconds=5.0, worth=pays)
    assert not shop.doors.crowded
    shop.run(rate_per_s=500, seconds=10.0, worth=pays)
    assert shop.doors.crowded
    refused = shop.doors.refused[Priority.PAY]
    assert shop.doors.turn_away(Priority.PAY)
    assert shop.doors.refused[Priority.PAY] == refused + 1
    shop.run(rate_per_s=20, seconds=10.0, worth=pays)
    assert not shop.doors.crowded
    assert not shop.doors.turn_away(Priority.PAY)


def come_again(*, people: int, serve_s: float, most_s: int) -> tuple[int, float, Doors]:
    """Refusals of a crowd that comes at once, where who is refused comes again when told; when nine tenths were served.

    One process serves in order of arrival.
    """
    chance = random.Random(3)
    now_s = 0.0
    knobs = OverloadSettings(least=8, first=32, most=64, retry_after_most_s=most_s)
    doors = Doors(Settings(overload=knobs), clock=lambda: now_s)
    coming = [(2 * chance.random(), 1, each) for each in range(people)]
    heapify(coming)
    inside: dict[int, Place] = {}
    free_s, refusals, served, most_served_s = 0.0, 0, 0, 0.0
    while coming:
        now_s, is_coming, person = heappop(coming)
        if not is_coming:
            inside.pop(person).leave(200)
            served += 1
            if served == people * 9 // 10:
                most_served_s = now_s
            continue
        place = doors.admit(Priority.PAY)
        if place is None:
            refusals += 1
            wait_s = chance.randint(2, longest_s(doors.doublings, shortest_s=2, most_s=most_s))
            heappush(coming, (now_s + wait_s, 1, person))
            continue
        inside[person] = place
        free_s = max(free_s, now_s) + serve_s
        heappush(coming, (free_s, 0, person))
    return refusals, most_served_s, doors


def test_a_crowd_that_comes_again_is_refused_less_often_and_served_as_fast() -> None:
    people, serve_s = 6_000, 0.01
    refused, served_s, doors = come_again(people=people, serve_s=serve_s, most_s=60)
    refused_as_ever, served_as_ever_s, _ = come_again(people=people, serve_s=serve_s, most_s=6)
    assert refused < 0.4 * refused_as_ever
    assert served_s < 1.15 * served_as_ever_s
    assert served_s < 1.2 * 0.9 * people * serve_s, "the process has always somebody to serve"
    assert doors.doublings == 0, "nobody is asked to wait for long once the crowd is gone"


@pytest.mark.parametrize(
    ("doublings", "refused", "served", "then"),
    [(0, 0, 0, 0), (3, 0, 9, 0), (0, 20, 10, 0), (0, 80, 10, 2), (0, 500, 0, 3), (2, 5, 10, 0), (3, 10, 10, 2)],
)
def test_the_time_to_wait_follows_refusals(doublings: int, refused: int, served: int, then: int) -> None:
    assert next_doublings(doublings, refused=refused, served=served, most=3) == then


@pytest.mark.parametrize(
    ("shortest_s", "most_s", "times"),
    [(2, 60, [6, 12, 24, 48, 60]), (2, 6, [6]), (2, 1, [2]), (1, 3, [3]), (30, 60, [60]), (2, 7, [6, 7])],
)
def test_no_time_to_wait_is_longer_than_the_setting(shortest_s: int, most_s: int, times: list[int]) -> None:
    most = most_doublings(shortest_s=shortest_s, most_s=most_s)
    assert [longest_s(each, shortest_s=shortest_s, most_s=most_s) for each in range(most + 1)] == times


def test_a_crowd_of_yesterday_lets_nobody_wait_longer() -> None:
    shop = Simulation(serve_s=0.01)
    shop.run(rate_per_s=2_000, seconds=60, worth=pays)
    assert shop.doors.doublings > 0
    shop.now_s += 3_600
    shop.run(rate_per_s=10, seconds=2, worth=pays)
    assert shop.doors.doublings == 0
