"""Every setting is in docs/reference/settings.md with its default and meaning, and no variable is read beside them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from pydantic import BaseModel, Field

from tests.architecture.sources import PACKAGE, files
from tidegate.platform.settings import Settings
from tools.settings_reference import HANDED_DOWN, PAGE, PREFIX, page, sections

VARIABLE = re.compile(rf"{PREFIX}[A-Z0-9_]+")


def rows(text: str) -> set[str]:
    """The lines of a page's tables."""
    return {line for line in text.splitlines() if line.startswith(f"| `{PREFIX}")}


def differences(documented: str, expected: str) -> list[str]:
    """Settings that a page lacks, has in another form, or has no longer."""
    missing = [f"missing or changed: {row}" for row in sorted(rows(expected) - rows(documented))]
    return missing + [f"out of date: {row}" for row in sorted(rows(documented) - rows(expected))]


def undescribed(model: type[BaseModel]) -> list[str]:
    """Variables without a word about what they do."""
    return [
        prefix + name.upper()
        for _, _, prefix, fields in sections(model)
        for name, field in fields.items()
        if not field.description
    ]


def variables(source: str) -> Iterator[str]:
    """Environment variables of ours that a program names as a whole string."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and VARIABLE.fullmatch(node.value):
            yield node.value


def test_the_page_tells_every_setting() -> None:
    said = differences(PAGE.read_text(), page())
    assert not said, "run .venv/bin/python -m tools.settings_reference\n" + "\n".join(said)


def test_every_setting_is_explained() -> None:
    assert undescribed(Settings) == []


def test_no_variable_is_read_that_the_page_does_not_tell() -> None:
    told = set(VARIABLE.findall(page()))
    read = {name for file in files(".py") if PACKAGE in file.parents for name in variables(file.read_text())}
    assert read <= told, "make it a setting, or name it in HANDED_DOWN of tools/settings_reference.py"


def test_what_is_handed_down_is_still_read() -> None:
    read = {name for file in files(".py") if PACKAGE in file.parents for name in variables(file.read_text())}
    assert set(HANDED_DOWN) <= read, "remove it from HANDED_DOWN of tools/settings_reference.py"


class _Section(BaseModel):
    """A section."""

    wait_s: float = Field(2.5, gt=0, description="How long.")


class _Shop(BaseModel):
    port: int = Field(80, ge=1, description="Which port.")
    secret_level: int = 3
    queue: _Section = _Section()


def test_it_fires_on_a_setting_that_is_new_changed_or_gone() -> None:
    told = page(_Shop)
    assert "| `TIDEGATE_QUEUE__WAIT_S` | number, more than 0 | `2.5` | How long. |" in rows(told)
    assert differences(told, told) == []
    assert len(differences(told.replace("`80`", "`81`"), told)) == 2
    assert len(differences(told.replace("Which port.", "Port."), told)) == 2
    without = "\n".join(line for line in told.splitlines() if "WAIT_S" not in line)
    assert differences(without, told)[0].startswith("missing or changed: | `TIDEGATE_QUEUE__WAIT_S`")
    assert differences(told, without)[0].startswith("out of date: | `TIDEGATE_QUEUE__WAIT_S`")


def test_it_fires_on_a_setting_without_a_description() -> None:
    assert undescribed(_Shop) == ["TIDEGATE_SECRET_LEVEL"]


def test_it_sees_a_variable_that_is_read_by_name() -> None:
    assert list(variables('x = os.environ["TIDEGATE_SECRET"]\ny = "say TIDEGATE_NOT_THIS"')) == ["TIDEGATE_SECRET"]
