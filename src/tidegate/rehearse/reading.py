"""Files that the rehearsal's commands read: reports, lists of prices."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from tidegate.platform.problems import StartupError
from tidegate.rehearse.contracts import Report

T = TypeVar("T")

MOST_BYTES = 64 << 20


def read_data(file: Path, kind: type[T], wrong: str) -> T:
    """What a JSON or TOML file says. Raises: StartupError, with one line; `wrong` is what the file then is."""
    decode = msgspec.toml.decode if file.suffix == ".toml" else msgspec.json.decode
    try:
        if file.stat().st_size > MOST_BYTES:
            raise StartupError(f"{file} is {wrong}: it is larger than {MOST_BYTES:,} bytes")
        return decode(file.read_bytes(), type=kind)
    except OSError as error:
        raise StartupError(f"{file} cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # msgspec's and tomllib's errors are ValueErrors
        raise StartupError(f"{file} is {wrong}: {str(error).splitlines()[0]}") from None


def read_report(file: Path) -> Report:
    """A rehearsal's report. Raises: StartupError."""
    return read_data(file, Report, "no report of a rehearsal (the .json beside its page is)")
