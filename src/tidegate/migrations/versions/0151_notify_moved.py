"""Followers whose id changes while they are told.

The statements are in `sql/0151_notify_moved.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0151"
down_revision: str | None = "0150"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0151_notify_moved.sql")
