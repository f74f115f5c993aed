"""pg_dump and pg_restore: those that come with the embedded PostgreSQL, or the system's of its version."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tidegate.platform.embedded.binaries import postgres_programs
from tidegate.platform.problems import StartupError

LOCK_WAIT_MS = 60_000
"""Longest wait for a table that a migration holds."""


def dump_database(url: str, *, target: Path) -> None:
    """Write the database as of one moment, compressed, while the shop sells. Raises: StartupError."""
    wait = f"--lock-wait-timeout={LOCK_WAIT_MS}"
    _run(url, "pg_dump", ("--format=custom", "--no-owner", "--no-privileges", wait, f"--file={target}"))


def restore_database(url: str, *, source: Path) -> None:
    """Fill an empty database from a dump, in one transaction: all of it or nothing. Raises: StartupError."""
    options = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", "--no-comments")
    _run(url, "pg_restore", (*options, str(source)))


def _run(url: str, program: str, options: Sequence[str]) -> None:
    """The password goes through the environment: arguments are everybody's to see."""
    path = postgres_programs() / program
    if not path.is_file():
        raise StartupError(f"no {program} beside {path.parent}/postgres: install PostgreSQL's client programs")
    known = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    password = known.pop("password", "")
    environment = {**os.environ, **({"PGPASSWORD": password} if password else {}), "PGAPPNAME": "tidegate"}
    done = subprocess.run(
        [path, f"--dbname={make_conninfo(**known)}", *options],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = next((line for line in done.stderr.splitlines() if "error" in line.lower()), done.stderr.strip())
        raise StartupError(f"{program} failed: {said[:300]}")
