"""An index less.

The statements are in `sql/0148_notify_due_people.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0148"
down_revision: str | None = "0147"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0148_notify_due_people.sql")
