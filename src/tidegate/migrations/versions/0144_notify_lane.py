"""The lane of a message to single people.

The statements are in `sql/0144_notify_lane.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0144"
down_revision: str | None = "0143"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0144_notify_lane.sql")
