"""What a rehearsal with faults asks for, and what became of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import msgspec

from tidegate.rehearse.contracts import Objectives, Scenario, Step, Verdict
from tidegate.rehearse.faults import Happening, Played, length_s

FAILED_SHARE = 0.01
"""With faults, so many of the shoppers may meet a failure, where the scenario asked for fewer."""

AFTER_S = 30.0
"""How much longer than its faults a sale lasts at most."""

NOT_JUDGED = (
    *(f"{step}_p99_ms" for step in Step if hasattr(Objectives(), f"{step}_p99_ms")),
    "memory_growth_mb",
    "impatient_share",
    "lost_requests",
)


def with_faults(scenario: Scenario, timetable: Sequence[Happening]) -> Scenario:
    """A scenario that lasts as long as its faults do: its room lets people in no faster than that.

    Latencies, memory, patience and lost requests are not judged: they tell of what was broken.
    """
    over_s = length_s(timetable)
    sale, objectives = scenario.sale, scenario.objectives
    if sale.room != "none":
        selling_min = max(over_s - sale.opens_after_s, 1.0) / 60
        sale = msgspec.structs.replace(sale, let_in_per_min=ceil(sale.units / selling_min))
    lasts_s = max(scenario.lasts_s, over_s + sale.opens_after_s + AFTER_S)
    share = objectives.failed_share
    return msgspec.structs.replace(
        scenario,
        faults=tuple(timetable),
        lasts_s=lasts_s,
        sale=sale,
        habits=msgspec.structs.replace(scenario.habits, patience_s=lasts_s),
        objectives=msgspec.structs.replace(
            objectives,
            failed_share=None if share is None else max(share, FAILED_SHARE),
            **dict.fromkeys(NOT_JUDGED),
        ),
    )


def judge_faults(faults: Sequence[Played]) -> tuple[Verdict, ...]:
    """Whether shoppers could do meanwhile what they must, and whether all of it worked again in time."""
    if not faults:
        return ()
    hurt = [f"{each.name}: no {', '.join(each.broken)}" for each in faults if each.broken]
    late = [f"{each.name}: {', '.join(each.missing)}" for each in faults if each.recovered_s is None]
    slowest = max((each for each in faults if each.recovered_s is not None), key=_recovered_s, default=None)
    mended = "" if slowest is None else f"at the latest {slowest.recovered_s:.1f} s after {slowest.name}"
    return (
        Verdict(
            f"through {len(faults)} fault{'s' if len(faults) != 1 else ''} shoppers can do what the matrix asks for",
            "; ".join(hurt) or "they can",
            not hurt,
        ),
        Verdict("after each fault everything works again in time", "; ".join(late) or mended, not late),
    )


def _recovered_s(played: Played) -> float:
    return played.recovered_s or 0.0
