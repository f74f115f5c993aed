"""The settings as staff may read them: what is set, what was changed, and nothing that must stay secret."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from tidegate.ops.checkups import payment_keys, settings_findings
from tidegate.ops.findings import Finding, Level
from tidegate.platform.settings import Settings

PREFIX = "TIDEGATE_"


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting. `value` and `default` are as one would write them into the environment; "" for nothing.

    Of a `secret` one no more is told than whether it `is_set`. `changed`: it is another than its default.
    """

    variable: str
    description: str
    value: str
    default: str
    is_set: bool
    changed: bool
    secret: bool


@dataclass(frozen=True, slots=True)
class SettingSection:
    """A group of settings. `name` is "" for those of the shop itself."""

    name: str
    explanation: str
    rows: tuple[SettingRow, ...]


def settings_sections(settings: Settings) -> tuple[SettingSection, ...]:
    """All settings of this process, by section, the shop's own first."""
    return tuple(_sections(settings))


def production_findings(settings: Settings) -> tuple[Finding, ...]:
    """What the settings make unsafe for production, or break; empty when nothing. Asks no server."""
    found = (*settings_findings(settings), payment_keys(settings))
    return tuple(finding for finding in found if finding.level is not Level.OK)


def _sections(settings: Settings) -> Iterator[SettingSection]:
    groups = {name: group for name in Settings.model_fields if isinstance(group := getattr(settings, name), BaseModel)}
    yield SettingSection("", "", _rows(settings, PREFIX, leave_out=frozenset(groups)))
    for name, group in groups.items():
        explanation = inspect.getdoc(type(group)) or ""
        yield SettingSection(name, explanation, _rows(group, f"{PREFIX}{name.upper()}__"))


def _rows(group: BaseModel, prefix: str, *, leave_out: frozenset[str] = frozenset()) -> tuple[SettingRow, ...]:
    fields = type(group).model_fields
    return tuple(
        _row(prefix + name.upper(), name, field, getattr(group, name))
        for name, field in fields.items()
        if name not in leave_out
    )


def _row(variable: str, name: str, field: FieldInfo, value: Any) -> SettingRow:
    usual = field.get_default(call_default_factory=True)
    text = _text(value)
    secret = isinstance(value, SecretStr) or _may_hold_a_password(name, text)
    return SettingRow(
        variable=variable,
        description=field.description or "",
        value="" if secret else text,
        default="" if secret else _text(usual),
        is_set=bool(text),
        changed=value != usual,
        secret=secret,
    )


def _may_hold_a_password(name: str, text: str) -> bool:
    """Addresses of servers carry names and passwords; even a malformed one is not looked into for its harmless part."""
    return (name.endswith("_url") and name != "base_url") or ("://" in text and "@" in text)


def _text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else str(value)
