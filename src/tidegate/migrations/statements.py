"""What a revision does: run one SQL file under a lock timeout."""

from __future__ import annotations

from pathlib import Path

from alembic import op

LOCK_TIMEOUT_MS = 3_000
"""A migration that cannot get its lock gives up instead of making the shop queue behind it."""


def run_sql(name: str) -> None:
    """Run `sql/NAME` in the revision's transaction."""
    op.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
    op.get_bind().exec_driver_sql((Path(__file__).parent / "sql" / name).read_text())
