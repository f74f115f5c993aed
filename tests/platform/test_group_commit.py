"""Whatever order arrivals, cancellations and faults come in, nobody is told something that is not so.

Transactions are simulated here, in virtual time, so that thousands of orders of events fit into seconds;
test_transactions.py runs the same promises on a real PostgreSQL. TIDEGATE_TEST_SEED repeats a run.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from tests.virtual_time import run_virtually
from tidegate.platform.batcher import HUNG
from tidegate.platform.database import Connection
from tidegate.platform.group_commit import UNKNOWN_OUTCOME, GroupCommit
from tidegate.platform.ids import new_id
from tidegate.platform.problems import Overloaded
from tidegate.platform.settings import BatchSettings
from tidegate.platform.transactions import CommitUnknown, Interrupted, Mark, Refused, Work

T = TypeVar("T")

SEED = int(os.environ.get("TIDEGATE_TEST_SEED") or random.SystemRandom().getrandbits(32))
"""Read when the module is loaded: the fixtures hide TIDEGATE_* from tests."""

RUNS = 400
"""Scenarios of the seeded run."""


class Poison(Exception):
    """A request that cannot be done."""


class SoldOut(Exception):
    """An answer of a single request inside a batch that commits."""


@dataclass(frozen=True)
class Request:
    """`number` is the order of arrival."""

    number: int
    poison: bool = False
    declined: bool = False


@dataclass(frozen=True)
class Faults:
    """Chances of what may go wrong in one transaction, each in [0, 1], and times in seconds."""

    interrupted: float = 0.0
    broken: float = 0.0
    unknown: float = 0.0
    applied: float = 0.5
    blind: float = 0.0
    hung: float = 0.0
    turn_s: float = 0.01


@dataclass
class Ledger:
    """Transactions in memory: what they committed, and how each of them ended."""

    faults: Faults
    chance: random.Random
    committed: list[list[Request]] = field(default_factory=list)
    endings: dict[Mark, bool] = field(default_factory=dict)
    in_use: bool = False
    closed: bool = False

    async def run(self, work: Work[T]) -> T:
        assert not self.in_use and not self.closed
        self.in_use = True
        try:
            return await self._run(work)
        finally:
            self.in_use = False

    async def _run(self, work: Work[T]) -> T:
        await asyncio.sleep(self.chance.uniform(0, self.faults.turn_s))
        if self._happens(self.faults.interrupted / 2):
            raise Interrupted("no connection")
        staged: list[Request] = []
        try:
            result = await work(cast(Connection, staged))
        except Exception as error:
            raise Refused(error) from error
        if self._happens(self.faults.hung):
            await asyncio.sleep(self.chance.uniform(0, 30))
        await asyncio.sleep(self.chance.uniform(0, self.faults.turn_s))
        if self._happens(self.faults.interrupted / 2):
            raise Interrupted("deadlock")
        if self._happens(self.faults.broken):
            raise LookupError("a bug in the transactions themselves")
        unknown = self._happens(self.faults.unknown)
        applied = not unknown or self._happens(self.faults.applied)
        if applied:
            self.committed.append(staged)
        if unknown:
            mark = Mark(new_id(), str(len(self.endings)), 1)
            self.endings[mark] = applied
            raise CommitUnknown(mark, result)
        return result

    async def resolve(self, mark: Mark) -> bool | None:
        assert not self.in_use and not self.closed
        await asyncio.sleep(self.chance.uniform(0, self.faults.turn_s))
        return None if self._happens(self.faults.blind) else self.endings[mark]

    async def close(self) -> None:
        self.closed = True

    def _happens(self, chance: float) -> bool:
        return self.chance.random() < chance


async def settle(conn: Connection, requests: Sequence[Request]) -> Sequence[int | Exception]:
    """Write each request down, in order; the first poison breaks the transaction."""
    staged = cast(list[Request], conn)
    results: list[int | Exception] = []
    for request in requests:
        await asyncio.sleep(0)
        if request.poison:
            raise Poison(request.number)
        if request.declined:
            results.append(SoldOut(request.number))
            continue
        staged.append(request)
        results.append(request.number)
    return results


@dataclass
class Scenario:
    """A stream of requests, some of whose callers give up, against a ledger with faults."""

    faults: Faults
    seed: int
    requests: int = 60
    limits: BatchSettings = field(default_factory=lambda: BatchSettings(batch_max=8, queue_max=24, deadline_s=1.0))
    poison: float = 0.05
    declined: float = 0.1
    gives_up: float = 0.1
    spread_s: float = 0.3
    outcomes: dict[Request, Any] = field(default_factory=dict)

    def run(self) -> Ledger:
        """Run it to the end of its drain, in virtual time, and check what everybody was told."""
        ledger = run_virtually(self._play())
        self.check(ledger)
        return ledger

    async def _play(self) -> Ledger:
        chance = random.Random(self.seed)
        ledger = Ledger(self.faults, random.Random(chance.random()))
        engine: GroupCommit[Request, int] = GroupCommit(
            ledger, settle, name="simulated", limits=self.limits, draw=chance.random
        )
        engine.start()
        callers: dict[Request, asyncio.Task[int]] = {}
        for number in range(self.requests):
            if chance.random() < 0.5:
                await asyncio.sleep(chance.uniform(0, 2 * self.spread_s / self.requests))
            request = Request(number, poison=self._is(chance, self.poison), declined=self._is(chance, self.declined))
            callers[request] = asyncio.create_task(engine.submit(request))
            if self._is(chance, self.gives_up):
                asyncio.get_running_loop().call_later(chance.uniform(0, self.spread_s), callers[request].cancel)
        if chance.random() < 0.5:
            await asyncio.wait(callers.values())
        await asyncio.sleep(0)
        await engine.drain()
        assert all(caller.done() for caller in callers.values()), "drain left somebody waiting"
        self.outcomes = dict(zip(callers, await asyncio.gather(*callers.values(), return_exceptions=True), strict=True))
        assert ledger.closed
        return ledger

    @staticmethod
    def _is(chance: random.Random, share: float) -> bool:
        return chance.random() < share

    def check(self, ledger: Ledger) -> None:
        """The promises."""
        applied = Counter(request for batch in ledger.committed for request in batch)
        assert all(times == 1 for times in applied.values()), f"applied twice: {applied.most_common(3)}"
        for batch in ledger.committed:
            assert batch == sorted(batch, key=lambda request: request.number), "not in the order of arrival"
            assert len(batch) <= self.limits.batch_max
        for request, outcome in self.outcomes.items():
            self._check_one(request, outcome, applied[request])

    def _check_one(self, request: Request, outcome: Any, applied: int) -> None:
        about = f"{request}: {outcome!r}, applied {applied} times, seed {self.seed}"
        if isinstance(outcome, int):
            assert outcome == request.number and applied == 1, about
        elif isinstance(outcome, SoldOut):
            assert request.declined and outcome.args == (request.number,) and applied == 0, about
        elif isinstance(outcome, Poison):
            assert request.poison and outcome.args == (request.number,) and applied == 0, about
        elif isinstance(outcome, Overloaded):
            assert outcome.retry_after_s, about
            assert outcome.detail in {HUNG, UNKNOWN_OUTCOME} or (
                "nothing was changed" in outcome.detail and not applied
            ), about
        else:
            assert isinstance(outcome, asyncio.CancelledError) and self.gives_up, about


def share(most: float = 1.0) -> st.SearchStrategy[float]:
    return st.floats(0, most)


ANY_FAULTS = st.builds(
    Faults,
    interrupted=share(0.9),
    broken=share(0.1),
    unknown=share(0.9),
    applied=share(),
    blind=share(),
    hung=share(0.3),
    turn_s=st.sampled_from([0.0, 0.001, 0.05, 0.4]),
)
ANY_SCENARIO = st.builds(
    Scenario,
    faults=ANY_FAULTS,
    seed=st.integers(0, 2**32 - 1),
    requests=st.integers(1, 60),
    limits=st.builds(
        BatchSettings,
        batch_max=st.integers(1, 16),
        queue_max=st.integers(1, 40),
        deadline_s=st.sampled_from([0.1, 1.0, 5.0]),
        linger_ms=st.sampled_from([0, 0, 20]),
    ),
    poison=share(),
    declined=share(),
    gives_up=share(),
    spread_s=st.sampled_from([0.0, 0.1, 2.0]),
)


@settings(max_examples=150)
@given(ANY_SCENARIO)
def test_nobody_is_told_what_is_not_so(scenario: Scenario) -> None:
    scenario.run()


def test_a_long_run_of_seeded_scenarios() -> None:
    sys.stdout.write(f"TIDEGATE_TEST_SEED={SEED}\n")
    chance = random.Random(SEED)
    seen: Counter[str] = Counter()
    for _ in range(RUNS):
        faults = Faults(
            interrupted=chance.choice([0, 0.1, 0.5]),
            broken=chance.choice([0, 0, 0.05]),
            unknown=chance.choice([0, 0.1, 0.5]),
            applied=chance.random(),
            blind=chance.choice([0, 0.9, 1]),
            hung=chance.choice([0, 0, 0.1]),
            turn_s=chance.choice([0.001, 0.02, 0.2]),
        )
        scenario = Scenario(faults, seed=chance.getrandbits(32), spread_s=chance.choice([0.1, 1.0]))
        scenario.run()
        seen.update(getattr(outcome, "detail", type(outcome).__name__) for outcome in scenario.outcomes.values())
    assert {"int", "Poison", "SoldOut", "CancelledError", HUNG, UNKNOWN_OUTCOME, Overloaded().detail} == set(seen), seen


class Scripted:
    """Transactions that go wrong as told, one word each, and well afterwards."""

    def __init__(self, *script: str, answers: Sequence[bool | None] = ()) -> None:
        self.script = list(script)
        self.answers = list(answers)
        self.asked: list[str] = []
        self.tried: list[list[int]] = []
        self.committed: list[list[int]] = []

    async def run(self, work: Work[T]) -> T:
        staged: list[Request] = []
        fault = self.script.pop(0) if self.script else ""
        try:
            result = await work(cast(Connection, staged))
        except Exception as error:
            raise Refused(error) from error
        numbers = [request.number for request in staged]
        self.tried.append(numbers)
        if fault == "interrupted":
            raise Interrupted("deadlock")
        if fault != "lost":
            self.committed.append(numbers)
        if fault in {"lost", "applied"}:
            raise CommitUnknown(Mark(new_id(), "7", 1), result)
        return result

    async def resolve(self, mark: Mark) -> bool | None:
        self.asked.append(mark.xid)
        return self.answers.pop(0) if self.answers else None

    async def close(self) -> None:
        pass


async def submit_all(
    transactions: Scripted, requests: Sequence[Request], *, deadline_s: float = 5.0, name: str = "scripted"
) -> list[int | BaseException]:
    """The outcomes of one batch of requests."""
    limits = BatchSettings(deadline_s=deadline_s)
    engine: GroupCommit[Request, int] = GroupCommit(transactions, settle, name=name, limits=limits, draw=lambda: 0.5)
    engine.start()
    try:
        return await asyncio.gather(*map(engine.submit, requests), return_exceptions=True)
    finally:
        await engine.drain()


EIGHT = [Request(number) for number in range(8)]


def test_an_interrupted_batch_is_done_again_as_a_whole() -> None:
    transactions = Scripted("interrupted", "interrupted")
    assert run_virtually(submit_all(transactions, EIGHT)) == list(range(8))
    assert transactions.tried == [list(range(8))] * 3
    assert transactions.committed == [list(range(8))]


def test_an_unknown_commit_that_happened_is_not_done_again() -> None:
    transactions = Scripted("applied", answers=[None, None, True])
    assert run_virtually(submit_all(transactions, EIGHT)) == list(range(8))
    assert transactions.asked == ["7", "7", "7"]
    assert transactions.tried == transactions.committed == [list(range(8))]


def test_an_unknown_commit_that_did_not_happen_is_done_again() -> None:
    transactions = Scripted("lost", answers=[None, False])
    assert run_virtually(submit_all(transactions, EIGHT)) == list(range(8))
    assert transactions.tried == [list(range(8))] * 2
    assert transactions.committed == [list(range(8))]


@pytest.mark.parametrize("fault", ["applied", "lost"])
def test_a_commit_that_stays_unknown_is_neither_repeated_nor_denied(fault: str) -> None:
    transactions = Scripted(fault)
    outcomes = run_virtually(submit_all(transactions, EIGHT))
    assert [str(outcome) for outcome in outcomes] == [UNKNOWN_OUTCOME] * 8
    assert all(isinstance(outcome, Overloaded) and outcome.retry_after_s for outcome in outcomes)
    assert transactions.tried == [list(range(8))]


def test_a_bad_request_alone_gets_its_error_and_the_others_are_settled_in_order() -> None:
    transactions = Scripted()
    requests = [Request(number, poison=number == 5) for number in range(8)]
    outcomes = run_virtually(submit_all(transactions, requests))
    assert [outcome for outcome in outcomes if isinstance(outcome, int)] == [0, 1, 2, 3, 4, 6, 7]
    assert isinstance(outcomes[5], Poison)
    assert transactions.committed == [[0, 1, 2, 3], [4], [6, 7]]


def test_a_fault_in_one_half_leaves_the_other_as_it_is() -> None:
    transactions = Scripted("", "", "applied", "interrupted", answers=[True])
    requests = [Request(number, poison=number == 0) for number in range(8)]
    outcomes = run_virtually(submit_all(transactions, requests))
    assert outcomes[1:] == list(range(1, 8))
    assert transactions.committed == [[1], [2, 3], [4, 5, 6, 7]]


def test_repeats_end_at_the_deadline_with_nothing_changed() -> None:
    async def timed() -> float:
        transactions = Scripted(*["interrupted"] * 1000)
        for outcome in await submit_all(transactions, EIGHT, deadline_s=2.0):
            assert isinstance(outcome, Overloaded)
            assert "nothing was changed" in outcome.detail
        assert transactions.committed == []
        return asyncio.get_running_loop().time()

    assert run_virtually(timed()) == pytest.approx(2.0, abs=0.3)


def test_failures_are_counted_by_kind() -> None:
    transactions = Scripted("interrupted", "lost", answers=[False])
    run_virtually(submit_all(transactions, [Request(1), Request(2, poison=True)], name="kinds"))

    def count(kind: str) -> float | None:
        return REGISTRY.get_sample_value("tidegate_batch_failures_total", {"batch": "kinds", "kind": kind})

    assert (count("refused"), count("interrupted"), count("commit_unknown")) == (2, None, 1)


def test_halving_ends_at_the_deadline() -> None:
    class Slow(Scripted):
        async def run(self, work: Work[T]) -> T:
            await asyncio.sleep(0.4)
            return await super().run(work)

    async def timed() -> tuple[list[int | BaseException], float]:
        outcomes = await submit_all(Slow(), [Request(number, poison=True) for number in range(64)], deadline_s=2.0)
        return outcomes, asyncio.get_running_loop().time()

    outcomes, took_s = run_virtually(timed())
    assert took_s == pytest.approx(2.0, abs=0.1)
    assert {type(outcome) for outcome in outcomes} == {Overloaded}
    assert all("nothing was changed" in str(outcome) for outcome in outcomes)


def test_an_unknown_commit_is_asked_about_also_when_its_deadline_has_passed() -> None:
    class Late(Scripted):
        async def run(self, work: Work[T]) -> T:
            try:
                return await super().run(work)
            finally:
                await asyncio.sleep(2.5)

    transactions = Late("applied", answers=[None, None, True])
    assert run_virtually(submit_all(transactions, EIGHT, deadline_s=2.0)) == list(range(8))
