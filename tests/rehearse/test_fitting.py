"""A rehearsal takes as many as the machine can serve, in proportion to its speed and within the scenario."""

from __future__ import annotations

import pytest

from tidegate.platform.problems import StartupError
from tidegate.rehearse import fitting
from tidegate.rehearse.fitting import Machine, measure_machine, sizes_for
from tidegate.rehearse.scenario import Sizes, load_scenario


@pytest.mark.parametrize(
    ("machine", "shoppers", "units"),
    [
        (Machine(cores=2, work_us=1_250), 10_000, 500),
        (Machine(cores=2, work_us=625), 20_000, 1_000),
        (Machine(cores=4, work_us=625), 40_000, 2_000),
        (Machine(cores=1, work_us=1_300), 4_500, 225),
        (Machine(cores=1, work_us=1e9), 500, 25),
        (Machine(cores=4, work_us=1), 100_000, 5_000),
    ],
)
def test_a_crowd_is_as_large_as_the_machine_is_fast_and_never_larger_than_the_scenario_s(
    machine: Machine, shoppers: int, units: int
) -> None:
    assert sizes_for(load_scenario("drop"), machine) == Sizes(shoppers, units)


def test_a_crowd_that_has_more_time_may_be_larger() -> None:
    slow = Machine(cores=2, work_us=1_250)
    assert sizes_for(load_scenario("drop", Sizes(within_s=120)), slow) == Sizes(20_000, 1_000)


def test_every_core_is_measured_while_all_are_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "MEASURED_S", 0.05)
    found = measure_machine()
    assert 1 <= found.cores <= fitting.MOST_CORES
    assert 100 < found.work_us < 100_000


def test_a_machine_that_does_not_get_to_it_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "MOST_S", 0.0)
    with pytest.raises(StartupError, match="say --shoppers and --units"):
        measure_machine()
