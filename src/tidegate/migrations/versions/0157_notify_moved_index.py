"""An index of recipients whose id changed.

The statements are in `sql/0157_notify_moved_index.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0157"
down_revision: str | None = "0156"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0157_notify_moved_index.sql")
