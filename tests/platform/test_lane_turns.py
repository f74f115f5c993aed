"""Turns of lanes: the urgent first, and none starves."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tidegate.platform.jobs import BULK, LANES, RECEIPTS, WITHIN_1M, Call, make_app, publish
from tidegate.platform.lane_turns import LaneTurns
from tidegate.platform.settings import current_settings

PATIENCE_S = 5.0
TASK_S = {RECEIPTS: 0.05, BULK: 9.0}
"""How long tasks last: one of bulk at most, with its rest."""


class Worker:
    """A worker of one process in virtual time, whose lanes never run dry where they are named."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.turns = LaneTurns(patience_s=PATIENCE_S, clock=lambda: self.now_s)
        self.turns.update(LANES)

    def work(self, filled: set[str]) -> str:
        """Take a task of the first lane that has one, and run it."""
        lane = next(each for each in self.turns.consume(len(LANES)) if each in filled)
        self.turns.rotate(lane)
        self.now_s += TASK_S.get(lane, 0.5)
        return lane


@given(filled=st.sets(st.sampled_from(LANES), min_size=1))
def test_no_lane_waits_longer_than_its_patience_and_a_task_of_each_other(filled: set[str]) -> None:
    worker, last_s = Worker(), dict.fromkeys(filled, 0.0)
    most_s = PATIENCE_S + sum(TASK_S.get(lane, 0.5) for lane in LANES)
    while worker.now_s < 120:
        began_s = worker.now_s
        lane = worker.work(filled)
        assert began_s - last_s[lane] <= most_s
        last_s[lane] = worker.now_s
    assert all(worker.now_s - each <= most_s for each in last_s.values())


@given(calm_s=st.floats(0, 100), number=st.integers(1, 40))
def test_a_receipt_goes_within_ten_seconds_however_long_bulk_was_passed_over(calm_s: float, number: int) -> None:
    worker = Worker()
    worker.now_s = calm_s
    taken = [worker.work({RECEIPTS, BULK}) for _ in range(number)]
    waits_s = [TASK_S[lane] for lane in taken if lane == BULK]
    assert len(waits_s) <= 1, "one at a time, and patience between two"
    assert worker.now_s - calm_s <= 10 + (number - 1) * TASK_S[RECEIPTS]


def test_without_a_lane_that_waits_too_long_the_most_urgent_one_goes_first() -> None:
    worker = Worker()
    assert worker.turns.consume(4) == list(LANES)
    worker.now_s = PATIENCE_S
    worker.turns.rotate(RECEIPTS)
    assert worker.turns.consume(4) == [*LANES[1:], RECEIPTS]
    worker.turns.rotate(WITHIN_1M)
    assert worker.turns.consume(4) == ["within_10s", BULK, RECEIPTS, WITHIN_1M]
    worker.turns.update((RECEIPTS, BULK))
    assert worker.turns.consume(1) == [BULK]


def test_a_consumer_on_the_real_broker_takes_bulk_though_receipts_never_run_dry(valkey_url: str) -> None:
    settings = current_settings()
    jobs = settings.jobs.model_copy(update={"lane_patience_s": 0.2})
    app = make_app(settings.model_copy(update={"jobs": jobs, "valkey_url": SecretStr(valkey_url)}))
    publish([Call("of-no-effect", (), BULK) for _ in range(2)] + [Call("of-no-effect", (), RECEIPTS) for _ in range(9)])
    taken: list[str] = []
    with app.connection() as connection, app.amqp.TaskConsumer(connection.channel(), accept=["json"]) as consumer:
        consumer.qos(prefetch_count=1)

        def take(message: object) -> None:
            taken.append(message.delivery_info["routing_key"])  # type: ignore[attr-defined]
            message.ack()  # type: ignore[attr-defined]
            publish([Call("of-no-effect", (), RECEIPTS)])

        consumer.on_message = take
        deadline_s = time.monotonic() + 5
        while taken.count(BULK) < 2 and time.monotonic() < deadline_s:
            connection.drain_events(timeout=2)
    assert taken[0] == RECEIPTS
    assert taken.count(BULK) == 2
    first = taken.index(BULK)
    assert taken[first + 1] == RECEIPTS, "one turn, not all that waits"
