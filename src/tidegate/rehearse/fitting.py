"""How large a crowd suits this machine: its cores are measured together, since busy neighbours slow each other."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from dataclasses import dataclass
from functools import partial
from typing import Final

from tidegate.rehearse.contracts import Scenario
from tidegate.rehearse.monitor import work_us
from tidegate.rehearse.scenario import Sizes

MEASURED_S: Final = 1.5
KNOWN_WORK_US: Final = 1_250.0
KNOWN_CORES: Final = 2
KNOWN_SHOPPERS_PER_S: Final = 10_000 / 60
"""Two cores on which the piece of work took so long served so many who came, with all objectives of `drop` held."""

MOST_CORES: Final = 4
"""A rehearsal's shop has two site processes, one database, and the crowd beside it: more cores than that stay idle."""

STEP: Final = 500


@dataclass(frozen=True, slots=True)
class Machine:
    """Cores that a rehearsal can use, and the CPU time of `monitor.work_us` while all of them are busy."""

    cores: int
    work_us: float


def measure_machine() -> Machine:
    """Keep every core busy for a moment, and see how fast they are."""
    cores = min(_usable_cores(), MOST_CORES)
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        pool.map(partial(_pieces, 0.0), range(cores))  # all have started
        found = pool.map(partial(_pieces, MEASURED_S), range(cores), chunksize=1)
    return Machine(cores, statistics.mean(map(statistics.median, found)))


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def sizes_for(scenario: Scenario, machine: Machine) -> Sizes:
    """As many shoppers as the machine can serve, at most the scenario's, and stock in proportion."""
    arrivals, units = scenario.arrivals, scenario.sale.units
    speed = machine.cores / KNOWN_CORES * KNOWN_WORK_US / machine.work_us
    fitting = int(KNOWN_SHOPPERS_PER_S * speed * arrivals.within_s) // STEP * STEP
    shoppers = min(max(fitting, STEP), arrivals.shoppers)
    return Sizes(shoppers, max(round(units * shoppers / arrivals.shoppers), 1))


def _pieces(seconds: float, _number: int) -> list[float]:
    """The piece of work over and over, for so long and at least once."""
    until_s = time.monotonic() + seconds
    found = [work_us()]
    while time.monotonic() < until_s:
        found.append(work_us())
    return found
