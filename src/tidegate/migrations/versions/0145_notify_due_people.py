"""An index less.

The statements are in `sql/0145_notify_due_people.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0145"
down_revision: str | None = "0144"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0145_notify_due_people.sql")
