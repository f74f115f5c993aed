"""Sends in shards, whose messages are counted.

The statements are in `sql/0130_notify_shards.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0130"
down_revision: str | None = "0122"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0130_notify_shards.sql")
