"""Topics are of a known kind.

The statements are in `sql/0137_notify_applications_checked.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0137"
down_revision: str | None = "0136"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0137_notify_applications_checked.sql")
