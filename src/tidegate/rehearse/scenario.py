"""Scenarios: TOML files, shipped with the package or the user's own."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import msgspec

from tidegate.platform.problems import StartupError
from tidegate.rehearse.contracts import Arrivals, Scenario
from tidegate.rehearse.faults import check_timetable
from tidegate.rehearse.rules import check_scenario

FOLDER = files("tidegate.rehearse") / "scenarios"


def scenario_names() -> list[str]:
    """The names of those that are shipped."""
    return sorted(Path(each.name).stem for each in FOLDER.iterdir() if each.name.endswith(".toml"))


def load_scenario(name: str, *, shoppers: int | None = None, units: int | None = None) -> Scenario:
    """The shipped scenario of a name, or the one in a file; with another number of shoppers or units if told.

    Raises: StartupError, with one line that says what is wrong with it.
    """
    try:
        text = (Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml").read_bytes()
        scenario = msgspec.toml.decode(text, type=Scenario)
    except FileNotFoundError:
        raise StartupError(
            f"there is no scenario {name!r}: name one of {', '.join(scenario_names())}, or a TOML file"
        ) from None
    except (OSError, ValueError) as error:  # msgspec's and tomllib's errors are ValueErrors
        raise StartupError(f"{name} is no scenario: {error}") from error
    arrivals = scenario.arrivals
    if shoppers is not None:
        arrivals = Arrivals(shoppers=shoppers, within_s=arrivals.within_s, curve=arrivals.curve)
    sale = scenario.sale if units is None else msgspec.structs.replace(scenario.sale, units=units)
    scenario = msgspec.structs.replace(scenario, arrivals=arrivals, sale=sale)
    wrong = check_scenario(scenario) or check_timetable(scenario.faults)
    if wrong is not None:
        raise StartupError(f"{name} is no scenario: {wrong}")
    return scenario
