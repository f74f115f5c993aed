"""What a page says of a problem is said in its reader's language.

Pages tell a problem through `words_of`, which shows what was written for people: a marked text. By convention that is
a whole sentence; what only programs read begins with a small letter. So a sentence that is not marked is a mistake.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGE, ROOT

PAGES = sorted(
    file
    for file in PACKAGE.rglob("*.py")
    if file.name.startswith("pages") or file.name in ("drop_forms.py", "contexts.py")
)
FOR_PROGRAMS = {"BadSignature", "BodyTooLarge", "MalformedBody", "UnsupportedMedia"}
"""Problems of bodies and webhooks, which no page meets or which a page tells in words of its own."""
FOR_TERMINALS = ("ops", "entrypoints")
"""Packages whose problems end on a terminal."""


def problem_classes() -> set[str]:
    """Names of all classes that derive from Problem."""
    bases: dict[str, set[str]] = {}
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef):
                bases.setdefault(node.name, set()).update(b.id for b in node.bases if isinstance(b, ast.Name))
    found = {"Problem"}
    while more := {name for name, above in bases.items() if above & found} - found:
        found |= more
    return found


def unmarked(tree: ast.AST, classes: set[str]) -> Iterator[tuple[int, str]]:
    """Sentences that problems are made of without a mark, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in classes and node.args:
            text = _text(node.args[0])
            if text[:1].isupper():
                yield node.lineno, text


def told_by_hand(tree: ast.AST) -> list[int]:
    """Lines that read a problem's `detail`."""
    return [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "detail"]


def _text(node: ast.expr) -> str:
    """A literal's text; of one with values in it, the text with an x for each: what begins with a value is let be."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return "x"
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_sentences_for_people_are_marked() -> None:
    classes = problem_classes() - FOR_PROGRAMS
    found = [
        f"{file.relative_to(ROOT)}:{line}: mark it with _(...), or begin it with a small letter: {text}"
        for file in sorted(PACKAGE.rglob("*.py"))
        if file.relative_to(PACKAGE).parts[0] not in FOR_TERMINALS
        for line, text in unmarked(ast.parse(file.read_text()), classes)
    ]
    assert found == []


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_pages_tell_problems_through_words_of(file: Path) -> None:
    assert told_by_hand(ast.parse(file.read_text())) == [], "use words_of(problem)"


def test_it_fires() -> None:
    tree = ast.parse(
        'raise NotFound("Gone.")\nraise NotFound(_("Gone."))\nraise NotFound("gone")\nraise NotFound(f"No {x}")'
    )
    assert [line for line, _ in unmarked(tree, {"NotFound"})] == [1, 4]
    assert told_by_hand(ast.parse("show(problem.detail)")) == [1]
    assert {"Problem", "NotFound", "HoldsOpen", "UnknownProduct"} <= problem_classes()
