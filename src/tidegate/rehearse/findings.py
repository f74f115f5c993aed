"""What follows from a rehearsal's figures: costs, the slowest steps with what held them up, and advice with numbers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from tidegate.rehearse.contracts import Report
from tidegate.rehearse.costs import costs_of, limits
from tidegate.rehearse.measures import Inside
from tidegate.rehearse.slowness import held_up

NONE: Mapping[str, int] = MappingProxyType({})


def with_findings(report: Report, *, inside: Sequence[Inside] = (), processes: Mapping[str, int] = NONE) -> Report:
    """The report with all that its timeline and a look inside the shop say; `processes` are the shop's by kind."""
    cores = (os.cpu_count() or 1) if processes else 0
    costs = () if report.was_broken else costs_of(report.told.timeline)
    advice = limits(report.told.timeline, costs, processes=processes, cores=cores)
    return msgspec.structs.replace(
        report,
        processes=dict(processes),
        cores=cores,
        inside=tuple(inside),
        costs=costs,
        held_up=held_up(report.told, inside),
        advice=(*advice, *report.advice),
    )
