"""What is known of rooms that are over holds for those of before too.

The statements are in `sql/0122_gate_retention_checked.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0122"
down_revision: str | None = "0121"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0122_gate_retention_checked.sql")
