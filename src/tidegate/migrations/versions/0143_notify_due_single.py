"""An index less.

The statements are in `sql/0143_notify_due_single.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0143"
down_revision: str | None = "0142"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0143_notify_due_single.sql")
