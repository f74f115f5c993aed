"""Operators of notify alone, and endpoints of applications.

The statements are in `sql/0152_notify_operators.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0152"
down_revision: str | None = "0151"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0152_notify_operators.sql")
