"""The command line as somebody types it: one line for what is wrong, and the right exit code."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tidegate.entrypoints.cli import in_full


def typed(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tidegate", *arguments], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("nonsense",), "nonsense"),
        (("up", "--nonsense"), "--nonsense"),
        (("stock", "set", "SKU", "many"), "QUANTITY"),
        (("stock", "set"), "SKU"),
        (("drop", "create", "x"), "--sku"),
    ],
)
def test_a_mistyped_command_is_one_line(arguments: tuple[str, ...], named: str) -> None:
    said = typed(*arguments)
    assert said.returncode == 2
    assert said.stdout == ""
    assert len(said.stderr.splitlines()) == 1
    assert said.stderr.startswith("tidegate: ")
    assert named in said.stderr


@pytest.mark.parametrize(
    ("typed_words", "meant"),
    [
        (("import", "a.csv", "--json"), ["import", "products", "a.csv", "--json"]),
        (("import", "--mapping", "m.toml", "a.csv"), ["import", "products", "--mapping", "m.toml", "a.csv"]),
        (("import", "products", "a.csv"), ["import", "products", "a.csv"]),
        (("import", "--help"), ["import", "--help"]),
        (("import",), ["import"]),
        (("stock", "set"), ["stock", "set"]),
        ((), []),
    ],
)
def test_an_import_may_be_typed_short(typed_words: tuple[str, ...], meant: list[str]) -> None:
    assert in_full(typed_words) == meant


def test_help_and_version_are_no_errors() -> None:
    assert typed("--help").returncode == 0
    version = typed("--version")
    assert (version.returncode, version.stderr) == (0, "")
    assert "0.1.0" in version.stdout


def test_a_command_without_its_own_shows_its_help() -> None:
    said = typed("drop")
    assert said.returncode == 2
    assert "create" in said.stdout
    assert said.stderr == ""
