"""The same file names in every module: a front door holds imports only, and no file is named for nothing."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGE, ROOT, files, modules

SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "service", "services", "manager", "managers", "misc"}


def extras(source: str) -> list[int]:
    """Lines of a front door with something other than a docstring, imports and `__all__`."""
    lines = []
    for node in ast.parse(source).body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_all = isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]
        if not (is_docstring or is_all or isinstance(node, ast.Import | ast.ImportFrom)):
            lines.append(node.lineno)
    return lines


def named_for_nothing(name: str) -> bool:
    """Whether a file or folder name says nothing about what is in it."""
    stem = Path(name).stem
    return stem in SAY_NOTHING or stem.split("_")[-1] in SAY_NOTHING


@pytest.mark.parametrize("module", modules())
def test_a_front_door_holds_imports_and_nothing_else(module: str) -> None:
    assert extras((PACKAGE / module / "__init__.py").read_text()) == []


def test_it_fires_on_code_in_a_front_door() -> None:
    door = '"""What it is."""\nfrom x import a\n__all__ = ["a"]\n'
    assert extras(door) == []
    assert extras(door + "b = 1\n\ndef c(): ...\n") == [4, 6]


def test_names_say_what_is_inside() -> None:
    found = [
        str(file.relative_to(ROOT))
        for file in files(".py", ".js", ".html")
        if any(map(named_for_nothing, file.relative_to(ROOT).parts))
    ]
    assert found == [], "name it for the noun that it holds"


def test_it_fires_on_a_name_that_says_nothing() -> None:
    assert named_for_nothing("utils.py")
    assert named_for_nothing("order_service.py")
    assert not named_for_nothing("orders.py")
    assert not named_for_nothing("commonplace.py")
