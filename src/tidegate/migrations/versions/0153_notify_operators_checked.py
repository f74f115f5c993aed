"""Rows keep to the constraints of 0152.

The statements are in `sql/0153_notify_operators_checked.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0153"
down_revision: str | None = "0152"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0153_notify_operators_checked.sql")
