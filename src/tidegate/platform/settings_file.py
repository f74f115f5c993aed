"""TIDEGATE_HOME/settings.toml: what `tidegate init` wrote and a merchant may edit. The environment goes before it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tidegate.platform.problems import StartupError

NAME = "settings.toml"
MAX_BYTES = 262_144
"""Largest settings file."""


def read_settings_file(home: Path, model: type[BaseModel]) -> dict[str, Any]:
    """The values of the file in `home`, empty when there is none.

    Raises: StartupError when it cannot be read, is not TOML, or names something that is no setting: a mistyped name
    must not pass for a setting that was made.
    """
    file = home / NAME
    try:
        with file.open("rb") as source:
            data = source.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise StartupError(f"{file}: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise StartupError(f"{file} is larger than {MAX_BYTES:,} bytes")
    try:
        found = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StartupError(f"{file} is not TOML: {error}") from None
    for name in _unknown(found, model):
        raise StartupError(f"{file}: there is no setting {name}; docs/reference/settings.md lists them")
    return found


def settings_home(given: object, *, default: Path) -> Path:
    """The data folder before any other setting is known."""
    if given is not None:
        return Path(str(given))
    return Path(os.environ.get("TIDEGATE_HOME") or default)


def _unknown(found: Mapping[str, Any], model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, value in found.items():
        field = model.model_fields.get(name)
        if field is None or prefix + name == "home":
            yield prefix + name
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            if isinstance(value, dict):
                yield from _unknown(value, field.annotation, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name} outside of its table"
