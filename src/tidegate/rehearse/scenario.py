"""Scenarios: TOML files, shipped with the package or the user's own."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import msgspec

from tidegate.platform.problems import StartupError
from tidegate.rehearse.contracts import Arrivals, Scenario
from tidegate.rehearse.faults import check_timetable
from tidegate.rehearse.rules import check_scenario

MOST_PIECES = 10_000
"""Lines of a trace: a week by the minute."""

FOLDER = files("tidegate.rehearse") / "scenarios"


def scenario_names() -> list[str]:
    """The names of those that are shipped."""
    return sorted(Path(each.name).stem for each in FOLDER.iterdir() if each.name.endswith(".toml"))


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers that take the place of a scenario's own; those that are None do not."""

    shoppers: int | None = None
    units: int | None = None
    within_s: float | None = None


def load_scenario(name: str, sizes: Sizes = Sizes()) -> Scenario:
    """The shipped scenario of a name, or the one in a file; with other numbers if told.

    Where people come within another time, the whole takes as much longer or shorter.
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
    scenario = _resized(scenario, _with_trace(name, scenario.arrivals), sizes)
    wrong = check_scenario(scenario) or check_timetable(scenario.faults)
    if wrong is not None:
        raise StartupError(f"{name} is no scenario: {wrong}")
    return scenario


def _resized(scenario: Scenario, arrivals: Arrivals, sizes: Sizes) -> Scenario:
    resized = msgspec.structs.replace(
        arrivals, shoppers=sizes.shoppers or arrivals.shoppers, within_s=sizes.within_s or arrivals.within_s
    )
    sale = msgspec.structs.replace(scenario.sale, units=sizes.units or scenario.sale.units)
    lasts_s = scenario.lasts_s + resized.within_s - arrivals.within_s
    return msgspec.structs.replace(scenario, lasts_s=lasts_s, arrivals=resized, sale=sale)


def _with_trace(name: str, arrivals: Arrivals) -> Arrivals:
    """The arrivals with what their trace says. Raises: StartupError when it cannot be read."""
    if not arrivals.trace:
        return arrivals
    try:
        if arrivals.trace.endswith(".csv"):
            text = (Path(name).parent / arrivals.trace).read_text(encoding="utf-8")
        else:
            text = (FOLDER / "traces" / f"{arrivals.trace}.csv").read_text(encoding="utf-8")
        counts = read_trace(text)
    except (OSError, ValueError) as error:
        raise StartupError(f"{name}: the trace {arrivals.trace!r} cannot be read: {error}") from error
    return msgspec.structs.replace(arrivals, counts=counts)


def read_trace(text: str) -> tuple[int, ...]:
    """Counts of a trace: lines of two columns, of which the second counts; a heading and lines with # are left out.

    Raises: ValueError, with the line that is no such thing.
    """
    counts = []
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for number, line in enumerate(lines):
        _, _, count = line.rpartition(",")
        if not count.strip().isdigit():
            if number == 0:
                continue
            raise ValueError(f"{line[:60]!r} does not end in a count")
        counts.append(int(count))
    if not 0 < len(counts) <= MOST_PIECES:
        raise ValueError(f"1 to {MOST_PIECES:,} lines with counts, please; it has {len(counts):,}")
    return tuple(counts)
