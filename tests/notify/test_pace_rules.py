"""The pace of bulk sends before simulated shops: it settles, it yields to a crowd, it comes back, it never stops."""

from __future__ import annotations

import random
import statistics
from collections import deque
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.notify.pace_rules import GROW, SETTLE_S, STEP, Facts, Limits, Memory, decide, idle_ms, objective_ms

LIMITS = Limits(objective_ms=0.0, guess_ms=10.0, floor=0.01, unknown=0.1)


@dataclass(slots=True)
class Shop:
    """Shoppers wait `idle_ms`, and `felt_ms` more for all of a worker's time; what is measured is of three seconds."""

    idle_ms: float
    felt_ms: float
    noise: float = 0.08
    now_s: float = 1_000.0
    memory: Memory = field(default_factory=Memory)
    draw: random.Random = field(default_factory=lambda: random.Random(3))
    seen: deque[float] = field(default_factory=lambda: deque(maxlen=3))
    shares: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def run(self, seconds: int, *, sending: bool = True, told: bool = True) -> Shop:
        """Let so much time pass; keeps the shares and waits of this time only."""
        self.shares, self.waits = [], []
        for _ in range(seconds):
            share = self.memory.share if sending else 0.0
            wait = (self.idle_ms + self.felt_ms * share) * self.draw.lognormvariate(0.0, self.noise)
            self.seen.append(wait)
            self.now_s += 1.0
            p99_ms = statistics.fmean(self.seen) if told else None
            facts = Facts(self.now_s, sending, told, requests=600 if told else 0, p99_ms=p99_ms)
            self.memory = decide(facts, self.memory, LIMITS)
            self.shares.append(self.memory.share)
            self.waits.append(wait)
        return self

    @property
    def best(self) -> float:
        """The share at which shoppers wait just as long as they may."""
        return min((objective_ms(self.memory, LIMITS) - self.idle_ms) / self.felt_ms, 1.0)


@pytest.mark.parametrize("felt_ms", [8.0, 20.0, 60.0])
def test_it_settles_near_what_the_shop_bears_and_does_not_swing(felt_ms: float) -> None:
    shop = Shop(idle_ms=10.0, felt_ms=felt_ms).run(60, sending=False).run(60).run(240)
    assert 0.4 * shop.best < statistics.fmean(shop.shares) <= 1.05 * shop.best
    assert statistics.stdev(shop.shares) < 0.35 * statistics.fmean(shop.shares)
    over = [wait for wait in shop.waits if wait > objective_ms(shop.memory, LIMITS) * 1.15]
    assert len(over) < 0.1 * len(shop.waits)


def test_a_send_that_nobody_feels_gets_all_of_the_time_within_half_a_minute() -> None:
    shop = Shop(idle_ms=10.0, felt_ms=0.5).run(60, sending=False).run(36)
    assert shop.shares[-1] == 1.0


def test_a_shop_whose_waits_jump_by_themselves_hardly_slows_a_send_that_is_hardly_felt() -> None:
    shares = []
    for seed in range(30):
        noisy = Shop(idle_ms=15.0, felt_ms=3.0, noise=0.8, draw=random.Random(seed))
        shares.append(statistics.fmean(noisy.run(60, sending=False).run(60).shares))
    assert statistics.fmean(shares) > 0.3


@pytest.mark.parametrize("seed", range(5))
def test_beside_such_noise_it_still_yields_where_it_is_felt(seed: int) -> None:
    noisy = Shop(idle_ms=15.0, felt_ms=300.0, noise=0.8, draw=random.Random(seed))
    assert statistics.fmean(noisy.run(60, sending=False).run(20).run(60).shares) < 0.15


def test_it_yields_to_a_crowd_and_comes_back_when_that_is_gone() -> None:
    shop = Shop(idle_ms=10.0, felt_ms=20.0).run(60, sending=False).run(60)
    before = statistics.fmean(shop.shares[-20:])
    shop.idle_ms = 40.0
    shop.run(25)
    assert shop.shares[-1] < before / 8
    shop.idle_ms = 10.0
    shop.run(60)
    assert statistics.fmean(shop.shares[-20:]) > before / 2


def test_a_crowd_that_stays_is_not_taken_for_the_sends_doing_for_ever() -> None:
    shop = Shop(idle_ms=10.0, felt_ms=20.0).run(60, sending=False).run(60)
    shop.idle_ms = 40.0
    shop.run(240)
    assert min(shop.shares) == LIMITS.floor
    assert max(shop.shares[-60:]) > 5 * LIMITS.floor
    assert (idle_ms(shop.memory) or 0.0) > 30.0


def test_where_nobody_knows_how_long_shoppers_wait_it_is_slow_but_on() -> None:
    shop = Shop(idle_ms=10.0, felt_ms=0.5).run(60, sending=False).run(10).run(1, told=False)
    assert shop.shares == [LIMITS.unknown]
    assert shop.run(10).shares[-1] > LIMITS.unknown, "it goes on when that is known again"


def test_what_a_send_did_is_not_learned_as_idle() -> None:
    shop = Shop(idle_ms=10.0, felt_ms=60.0).run(60, sending=False).run(60)
    learned = shop.memory.idle_ms
    shop.run(int(SETTLE_S), sending=False)
    assert shop.memory.idle_ms == learned
    assert shop.run(1, sending=False).memory.idle_ms != learned


def test_an_objective_that_is_set_is_kept_to_and_one_slow_request_of_a_quiet_shop_cuts_nothing() -> None:
    assert objective_ms(Memory(), Limits(50.0, 10.0, 0.01, 0.1)) == 50.0
    assert objective_ms(Memory(), LIMITS) == 15.0
    quiet = Facts(1_000.0, sending=True, told=True, requests=1, p99_ms=900.0)
    assert decide(quiet, Memory(share=0.5), LIMITS).share == 0.5
    calm = Facts(1_000.0, sending=True, told=True, requests=1, p99_ms=1.0)
    assert decide(calm, Memory(share=0.1), LIMITS).share == pytest.approx(0.1 * GROW + STEP)
    nobody = Facts(1_000.0, sending=True, told=True)
    assert decide(nobody, Memory(share=0.1), LIMITS).share == 1.0


@settings(max_examples=200)
@given(
    share=st.floats(0.01, 1.0),
    sending=st.booleans(),
    told=st.booleans(),
    requests=st.integers(0, 10_000),
    p99_ms=st.none() | st.floats(0.1, 60_000.0),
    idle=st.lists(st.floats(0.1, 5_000.0), max_size=60),
    ago_s=st.floats(0.0, 100.0),
)
def test_the_share_keeps_its_bounds_and_is_remembered_as_it_was(
    share: float, sending: bool, told: bool, requests: int, p99_ms: float | None, idle: list[float], ago_s: float
) -> None:
    memory = Memory(share=share, idle_ms=tuple(idle), cut_s=1_000.0 - ago_s)
    after = decide(Facts(1_000.0, sending, told, requests, p99_ms), memory, LIMITS)
    assert LIMITS.floor <= after.share <= 1.0
    assert len(after.idle_ms) <= 60
    assert msgspec.json.decode(msgspec.json.encode(after), type=Memory) == after
