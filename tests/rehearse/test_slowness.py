"""What held requests up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rehearse.makers import second, told
from tidegate.rehearse.contracts import Latency, Step, Told
from tidegate.rehearse.measures import Batches, HeldUp, Inside, Passed
from tidegate.rehearse.slowness import BATCH, GATEWAY, OUTSIDE, OWN, QUEUE, REST, TAKEN, held_up
from tidegate.rehearse.watching import Counts, inside_of, read_counts

ROUTE = "POST /api/v1/purchases"


def visit(mean_ms: float, own_ms: float, late_ms: float = 0.0) -> Told:
    """Ten quiet seconds, of which the fifth and sixth were slow."""
    timeline = [
        second(
            float(n),
            steps={Step.PURCHASE: 100},
            took={Step.PURCHASE: (mean_ms, own_ms) if n in (5, 6) else (1.0, 0.0)},
            cpu={"site": 1.5, "postgres": 0.4},
            late_ms=late_ms,
        )
        for n in range(1, 11)
    ]
    latency = Latency(1_000, 1.0, 2.0, 300.0, 400.0, 500.0)
    return told(ends={"bought": 1}, latencies={"purchase": latency}, timeline=timeline)


def inside(*, shop_s: float, wait_s: float = 0.0, run_s: float = 0.0, gateway_s: float = 0.0) -> list[Inside]:
    """Looks of two seconds; in each 200 purchases came in 20 batches."""
    return [
        Inside(
            float(n),
            float(n + 2),
            {ROUTE: Passed(200, shop_s)},
            {"purchases": Batches(20, 200, run_s, wait_s)},
            Passed(200, gateway_s),
        )
        for n in range(0, 10, 2)
    ]


def slowest(mean_ms: float, own_ms: float, looks: list[Inside]) -> HeldUp:
    found = held_up(visit(mean_ms, own_ms), looks)
    assert [each.step for each in found] == ["purchase"]
    assert found[0].at == 4.0
    return found[0]


@pytest.mark.parametrize(
    ("own_ms", "looks", "part", "says"),
    [
        (150.0, inside(shop_s=2.0), TAKEN, "all the crowd's connections waited for answers"),
        (0.0, inside(shop_s=2.0), OUTSIDE, "too busy to read it"),
        (0.0, inside(shop_s=40.0, wait_s=3.0), QUEUE, "it queued for a batch of about 10 requests"),
        (0.0, inside(shop_s=40.0, run_s=3.0), BATCH, "its batch of about 10 requests was at work in the database"),
        (0.0, inside(shop_s=40.0, gateway_s=38.0), GATEWAY, "the payment provider had to answer"),
        (0.0, inside(shop_s=40.0), REST, "the shop's process was at work"),
    ],
)
def test_the_largest_part_is_what_held_it_up(own_ms: float, looks: list[Inside], part: str, says: str) -> None:
    found = slowest(200.0, own_ms, looks)
    assert max(found.parts, key=lambda name: found.parts[name]) == part
    assert says in found.says
    assert "Cores in use then: site 1.50, postgres 0.40." in found.says


@given(*(st.floats(0, 100) for _ in range(6)))
def test_the_parts_are_the_whole(
    mean_ms: float, own_ms: float, shop: float, wait: float, run: float, paid: float
) -> None:
    looks = inside(shop_s=shop, wait_s=wait, run_s=run, gateway_s=paid)
    found = held_up(visit(200.0 + mean_ms, own_ms), looks)[0]
    assert sum(found.parts.values()) == pytest.approx(found.mean_ms, abs=0.5)
    assert all(ms >= 0 for ms in found.parts.values())


def test_without_a_look_inside_only_the_crowds_own_part_is_known() -> None:
    found = slowest_without()
    assert found.parts == {OWN: 5.0, TAKEN: 15.0, REST: 180.0}


def test_a_crowd_that_is_late_itself_says_so() -> None:
    assert "since the crowd was late itself" in held_up(visit(200.0, 150.0, late_ms=140.0), ())[0].says


def slowest_without() -> HeldUp:
    return held_up(visit(200.0, 20.0, late_ms=5.0), ())[0]


METRICS = """# HELP tidegate_batch_size Requests in one batch.
tidegate_batch_size_bucket{batch="purchases",le="1.0"} 3.0
tidegate_batch_size_count{batch="purchases"} %d
tidegate_batch_size_sum{batch="purchases"} %d
tidegate_batch_run_seconds_sum{batch="purchases"} 0.5
tidegate_http_request_seconds_count{route="/api/v1/drops/{slug}/status",method="GET"} %d
tidegate_http_request_seconds_sum{route="/api/v1/drops/{slug}/status",method="GET"} 1.25
tidegate_http_in_flight 4.0
"""


def test_metrics_of_several_processes_are_added_up_and_only_what_is_new_counts() -> None:
    before: Counts = {}
    read_counts(METRICS % (1, 10, 5), before)
    now: Counts = {}
    for _ in range(2):
        read_counts(METRICS % (3, 30, 9), now)
    found = inside_of(before, now)
    assert found.routes == {"GET /api/v1/drops/{slug}/status": Passed(13.0, 1.25)}
    assert found.batches == {"purchases": Batches(5.0, 50.0, 0.5, 0.0)}
    assert found.gateway == Passed(0.0, 0.0)
