"""The source tree as the architecture tests look at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "tidegate"
MIGRATIONS = PACKAGE / "migrations" / "sql"
SOURCE_FOLDERS = ("src", "tests", "benchmarks", "tools")


def modules() -> list[str]:
    """Names of the packages directly under tidegate."""
    return sorted(file.parent.name for file in PACKAGE.glob("*/__init__.py"))


def files(*suffixes: str, root: Path = ROOT) -> Iterator[Path]:
    """Source files with one of the suffixes, in a stable order."""
    for folder in SOURCE_FOLDERS:
        for file in sorted((root / folder).rglob("*")):
            if file.suffix in suffixes and file.is_file() and "__pycache__" not in file.parts:
                yield file
