"""Scenarios and outcomes for the tests of rehearsals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from tidegate.rehearse.contracts import (
    Arrivals,
    Habits,
    Kind,
    Latency,
    Objectives,
    Report,
    Sale,
    Scenario,
    Second,
    Step,
    Told,
    Verdict,
)
from tidegate.rehearse.measures import StepSecond


def scenario(
    *, shoppers: int = 20, units: int = 5, room: str = "draw", mix: Mapping[Kind, float] | None = None
) -> Scenario:
    """A short one."""
    return Scenario(
        title="A short one",
        says="For a test.",
        lasts_s=20.0,
        sale=Sale(units=units, opens_after_s=1.0, room=room),
        arrivals=Arrivals(shoppers=shoppers, within_s=1.0),
        mix=dict(mix or {Kind.BUYER: 1.0}),
        habits=Habits(think_s=(0.01, 0.05), patience_s=15.0, pages=3),
        objectives=Objectives(sold_share=1.0, failed_share=0.0),
    )


def second(
    at: float,
    *,
    steps: Mapping[Step, int],
    cpu: Mapping[str, float],
    took: Mapping[Step, tuple[float, float]] = MappingProxyType({}),
    late_ms: float = 0.0,
    refused: int = 0,
) -> Second:
    """A second of a rehearsal with so many requests by step; `took` are means and own parts of them in milliseconds."""
    return Second(
        at=at,
        arrived=0,
        answered=sum(steps.values()) + refused,
        refused=refused,
        bought=steps.get(Step.PURCHASE, 0),
        failed=0,
        inside=1,
        waiting=0,
        sockets=1,
        in_flight=0,
        p50_ms=1.0,
        p99_ms=1.0,
        purchase_p99_ms=1.0,
        left=1,
        cpu=dict(cpu),
        memory_mb={"site": 100.0},
        steps={step: StepSecond(count, *took.get(step, (1.0, 0.0))) for step, count in steps.items() if count},
        late_ms=late_ms,
    )


def report(visit: Told, *, verdicts: Sequence[Verdict] = (), seed: int = 1) -> Report:
    """A rehearsal of which this is told."""
    return Report(
        name="short",
        scenario=scenario(),
        seed=seed,
        target="http://127.0.0.1:1",
        told=visit,
        sold=5,
        books=(),
        lost=0,
        verdicts=tuple(verdicts),
        advice=(),
        version="1",
    )


def told(
    *,
    ends: Mapping[str, int],
    latencies: Mapping[str, Latency],
    timeline: Sequence[Second] = (),
    problems: Mapping[str, int] = MappingProxyType({}),
) -> Told:
    """What a crowd of as many as there are ends tells."""
    count = sum(ends.values())
    return Told(
        began_at=0.0,
        seconds=1.0,
        shoppers=count,
        requests=count,
        ends=dict(ends),
        funnel={"came": count},
        latencies=dict(latencies),
        problems=dict(problems),
        timeline=tuple(timeline),
        orders=(),
        most_inside=count,
        most_sockets=1,
        most_in_flight=1,
        late_p99_ms=0.0,
        cpu_us_per_request=1.0,
        bytes_per_shopper=1,
    )
