"""Scenarios and outcomes for the tests of rehearsals."""

from __future__ import annotations

from collections.abc import Mapping

from tidegate.rehearse.contracts import Arrivals, Habits, Kind, Latency, Objectives, Sale, Scenario, Told


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


def told(*, ends: Mapping[str, int], latencies: Mapping[str, Latency]) -> Told:
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
        problems={},
        timeline=(),
        orders=(),
        most_inside=count,
        most_sockets=1,
        most_in_flight=1,
        late_p99_ms=0.0,
        cpu_us_per_request=1.0,
        bytes_per_shopper=1,
    )
