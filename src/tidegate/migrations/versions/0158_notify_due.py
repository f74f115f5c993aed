"""Two indexes less.

The statements are in `sql/0158_notify_due.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0158"
down_revision: str | None = "0157"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0158_notify_due.sql")
