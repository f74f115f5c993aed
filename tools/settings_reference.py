"""Write docs/reference/settings.md from the settings themselves: `python -m tools.settings_reference [--check]`."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from tidegate.platform.settings import Settings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "settings.md"
PREFIX = "TIDEGATE_"
INTRODUCTION = """\
# Settings

Every setting is an environment variable. Lists are JSON: `TIDEGATE_HTTP__ALLOWED_HOSTS='["shop.example"]'`.
What the environment leaves open is read from `TIDEGATE_HOME/settings.toml`, which `tidegate init` writes: the section
is a table, the name is in small letters (`TIDEGATE_HTTP__BASE_URL` is `base_url` under `[http]`), and a name that is
none of these stops the start.
Units stand last in a name: `_ms`, `_s`, `_minutes`, `_days`, `_months`, `_bytes`, `_mb`. A value that is out of bounds
stops the start with one line that names the setting. `tidegate up` runs its own PostgreSQL, Valkey and mail catcher
where no address is set, and makes its own keys; commands beside a running `tidegate up` find them through
`TIDEGATE_HOME`.

This page is written by `python -m tools.settings_reference`; `make check` compares it with the code.
"""
HANDED_DOWN = {
    "TIDEGATE_GATE_FD": "Number of the pipe at whose end a site process begins to serve.",
    "TIDEGATE_LISTEN_FD": "Number of the listening socket that a site process inherits.",
    "TIDEGATE_BESIDE_FD": "Numbers of the listening sockets of the site processes beside it, which it inherits, too.",
    "TIDEGATE_METRICS_PORT": "Metrics port that a process was given.",
    "TIDEGATE_PROCESS_NAME": "Name of the process in logs and metrics.",
    "TIDEGATE_REHEARSE_BROKEN": "What `tidegate rehearse` breaks in its own shop; no other heeds it.",
    "TIDEGATE_STARTED_FILE": "File that a process writes when it serves.",
}
"""Variables that `tidegate up` sets for the processes it starts."""

TABLE = "| variable | kind | default | meaning |\n|---|---|---|---|\n"
HANDED = "| variable | meaning |\n|---|---|\n"
BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def sections(model: type[BaseModel]) -> Iterator[tuple[str, str, str, dict[str, FieldInfo]]]:
    """Title, explanation, prefix of the variables and fields of each section, the top level first."""
    own = {name: field for name, field in model.model_fields.items() if not is_section(field)}
    yield "The shop", "", PREFIX, own
    for name, field in model.model_fields.items():
        if is_section(field):
            section = typing.cast(type[BaseModel], field.annotation)
            yield name, inspect.getdoc(section) or "", f"{PREFIX}{name.upper()}__", section.model_fields


def is_section(field: FieldInfo) -> bool:
    """Whether a setting is a group of settings."""
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def default(field: FieldInfo) -> str:
    """The default as one would write it into the environment; secrets have none."""
    value: Any = field.get_default(call_default_factory=True)
    if isinstance(value, SecretStr) or value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return "`[" + ", ".join(f'"{item}"' for item in value) + "]`"
    return f"`{value}`"


def kind(field: FieldInfo) -> str:
    """Type and bounds in words: `integer, at least 1`."""
    annotation = field.annotation
    if typing.get_origin(annotation) is typing.Literal:
        return "one of " + ", ".join(f"`{choice}`" for choice in typing.get_args(annotation))
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        annotation = next(part for part in typing.get_args(annotation) if part is not type(None))
    names = {int: "integer", float: "number", bool: "true or false", str: "text", Path: "path", SecretStr: "secret"}
    name = "list" if typing.get_origin(annotation) is list else names.get(typing.cast(type, annotation), "JSON")
    limits = [
        f"{words} {getattr(rule, short)}"
        for rule in field.metadata
        for short, words in BOUNDS.items()
        if getattr(rule, short, None) is not None
    ]
    return ", ".join([name, *limits])


def row(variable: str, field: FieldInfo) -> str:
    """One line of a section's table."""
    description = (field.description or "").replace("|", "\\|")
    return f"| `{variable}` | {kind(field)} | {default(field)} | {description} |"


def page(model: type[BaseModel] = Settings) -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for title, explanation, prefix, fields in sections(model):
        table = [row(prefix + name.upper(), field) for name, field in fields.items()]
        heading = f"## {title}\n\n" + (f"{explanation}\n\n" if explanation else "")
        parts.append(heading + TABLE + "\n".join(table) + "\n")
    handed = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in HANDED_DOWN.items())
    parts.append(f"## Between processes\n\n`tidegate up` sets these for its children.\n\n{HANDED}{handed}\n")
    return "\n".join(parts)


def main(arguments: list[str]) -> int:
    """Write the page, or with `--check` only tell whether it is up to date."""
    if "--check" not in arguments:
        PAGE.write_text(page())
        return 0
    if PAGE.exists() and PAGE.read_text() == page():
        return 0
    print("docs/reference/settings.md is out of date: run .venv/bin/python -m tools.settings_reference")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
