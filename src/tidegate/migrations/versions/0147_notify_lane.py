"""The lane of a message to single people.

The statements are in `sql/0147_notify_lane.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0147"
down_revision: str | None = "0146"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0147_notify_lane.sql")
