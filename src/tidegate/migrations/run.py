"""Bringing a database to this version of Tidegate."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg

from tidegate.platform.partitions import make_partitions
from tidegate.platform.problems import StartupError

FOLDER = Path(__file__).parent


def known_revisions() -> list[str]:
    """Revisions of this package, oldest first."""
    return sorted(match[0] for file in (FOLDER / "versions").glob("*.py") if (match := re.match(r"\d{4}", file.name)))


def pending(database_url: str) -> bool:
    """Whether the database lacks revisions.

    Raises: StartupError when a newer Tidegate has been here, which older code is not to be started on.
    """
    revisions = known_revisions()
    with psycopg.connect(database_url, autocommit=True) as conn:
        exists = conn.execute("SELECT to_regclass('public.alembic_version')").fetchone()
        if exists is None or exists[0] is None:
            return True
        row = conn.execute("SELECT version_num FROM alembic_version").fetchone()
    if row is None:
        return True
    if row[0] not in revisions:
        raise StartupError(
            f"the database is of a newer Tidegate (revision {row[0]}, this one knows up to {revisions[-1]}): "
            "install that version or use another TIDEGATE_HOME"
        )
    return bool(row[0] != revisions[-1])


def upgrade(database_url: str, *, partitions_ahead_months: int = 3) -> None:
    """Run what is pending and see to it that the coming months have partitions. Two at once wait for each other."""
    if pending(database_url):
        from alembic import command  # slow to import, and seldom needed
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(FOLDER))
        config.attributes["database_url"] = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", database_url)
        command.upgrade(config, "head")
    with psycopg.connect(database_url, autocommit=True) as conn:
        make_partitions(conn, months_ahead=partitions_ahead_months)
