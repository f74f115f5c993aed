"""How large a crowd suits this machine: its cores are measured together, since busy neighbours slow each other."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from dataclasses import dataclass
from functools import partial
from typing import Final

from tidegate.platform.problems import StartupError
from tidegate.rehearse.contracts import Scenario
from tidegate.rehearse.monitor import work_us
from tidegate.rehearse.scenario import Sizes

MEASURED_S: Final = 1.5
MOST_S: Final = 60.0
KNOWN_WORK_US: Final = 1_250.0
KNOWN_CORES: Final = 2
KNOWN_SHOPPERS_PER_S: Final = 10_000 / 60
"""Two cores on which the piece of work took so long served so many who came, with all objectives of `drop` held."""

MOST_CORES: Final = 4
"""A rehearsal's shop has two site processes, one database, and the crowd beside it: more cores than that stay idle."""

STEP: Final = 500


@dataclass(frozen=True, slots=True)
class Machine:
    """Cores that a rehearsal can use, and how long `monitor.work_us` takes while all of them are busy."""

    cores: int
    work_us: float


def measure_machine() -> Machine:
    """Keep every core busy for a moment, and see how fast they are. Raises: StartupError when that takes too long."""
    cores = min(_usable_cores(), MOST_CORES)
    context = multiprocessing.get_context("spawn")
    with context.Pool(cores, initializer=context.Barrier(cores).wait) as pool:  # all begin together
        measuring = pool.map_async(partial(_piece_us, MEASURED_S), range(cores), chunksize=1)
        try:
            found = measuring.get(MOST_S)
        except multiprocessing.TimeoutError:
            raise StartupError(f"{cores} cores could not be measured: say --shoppers and --units yourself") from None
    return Machine(cores, statistics.mean(found))


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


def _piece_us(seconds: float, _number: int) -> float:
    """How long the piece of work takes, done for so long and at least once: what others or a quota take away counts."""
    began_s, used_s = time.monotonic(), time.thread_time()
    found = [work_us()]
    while time.monotonic() - began_s < seconds:
        found.append(work_us())
    passed_s, used_s = time.monotonic() - began_s, time.thread_time() - used_s
    return statistics.median(found) * max(passed_s / used_s, 1.0)
