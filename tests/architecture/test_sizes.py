"""Functions stay under 70 lines and files under 500; oversized.txt names the exceptions, and only shrinks."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT, files

FUNCTION_LINES = 70
FILE_LINES = 500
SUFFIXES = (".py", ".js", ".html", ".sql", ".sh")
"""What is counted. Not .css: the style sheet is one file on purpose, so that a page asks for one."""

ALLOWANCES = Path(__file__).with_name("oversized.txt")
MOST_ALLOWANCES = 0
"""How many lines oversized.txt may have. Lower it when one goes; raising it is what this test is there to prevent."""


def long_functions(source: str) -> Iterator[tuple[str, int]]:
    """Qualified name and lines (from `def` to the last) of each function that is too long."""

    def visit(node: ast.AST, inside: str) -> Iterator[tuple[str, int]]:
        for child in ast.iter_child_nodes(node):
            name = inside
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{inside}.{child.name}".lstrip(".")
                lines = (child.end_lineno or child.lineno) - child.lineno + 1
                if lines > FUNCTION_LINES and not isinstance(child, ast.ClassDef):
                    yield name, lines
            yield from visit(child, name)

    yield from visit(ast.parse(source), "")


def oversized(root: Path) -> dict[str, int]:
    """Lines of each file (`path`) and function (`path::name`) that is too long."""
    found = {}
    for file in files(*SUFFIXES, root=root):
        text, name = file.read_text(), file.relative_to(root).as_posix()
        if (lines := text.count("\n")) > FILE_LINES:
            found[name] = lines
        if file.suffix == ".py":
            found |= {f"{name}::{function}": lines for function, lines in long_functions(text)}
    return found


def allowances(text: str) -> dict[str, int]:
    """`NAME LINES` a line; `#` starts a comment."""
    entries = (line.split() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return {name: int(lines) for name, lines in entries}


def complaints(found: dict[str, int], allowed: dict[str, int]) -> list[str]:
    """What to do about each name that is too long without leave, or has leave that it no longer needs."""
    said = []
    for name in sorted(found.keys() | allowed.keys()):
        lines, leave = found.get(name), allowed.get(name)
        if leave is None:
            said.append(f"{name} has {lines} lines: split it")
        elif lines is None:
            said.append(f"{name} is short enough now: remove it from oversized.txt")
        elif lines > leave:
            said.append(f"{name} has {lines} lines and may have {leave}: split it")
        elif lines < leave:
            said.append(f"{name} has {lines} lines: lower its number in oversized.txt from {leave}")
    return said


def test_functions_and_files_are_short() -> None:
    said = complaints(oversized(ROOT), allowances(ALLOWANCES.read_text()))
    assert not said, "\n".join(said)


def test_the_list_of_exceptions_only_shrinks() -> None:
    assert len(allowances(ALLOWANCES.read_text())) == MOST_ALLOWANCES


def test_it_fires_on_a_long_function_and_a_long_file(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    body = "".join(f"        x = {number}\n" for number in range(FUNCTION_LINES))
    (tmp_path / "src" / "long.py").write_text(
        f"class A:\n    async def f(self):\n{body}    def g(self):\n        ...\n"
    )
    (tmp_path / "src" / "long.js").write_text("\n" * (FILE_LINES + 1))
    (tmp_path / "src" / "short.py").write_text("x = 1\n" * FILE_LINES)
    assert oversized(tmp_path) == {"src/long.py::A.f": FUNCTION_LINES + 1, "src/long.js": FILE_LINES + 1}


@pytest.mark.parametrize(
    ("found", "allowed", "complaint"),
    [
        ({"a.py": 600}, {}, "split it"),
        ({"a.py": 600}, {"a.py": 550}, "split it"),
        ({"a.py": 600}, {"a.py": 650}, "lower its number"),
        ({}, {"a.py": 550}, "remove it"),
    ],
)
def test_leave_must_be_exact(found: dict[str, int], allowed: dict[str, int], complaint: str) -> None:
    (said,) = complaints(found, allowed)
    assert complaint in said
    assert complaints({"a.py": 600}, {"a.py": 600}) == []
