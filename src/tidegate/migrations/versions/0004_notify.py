"""First tables of notify.

The statements are in `sql/0004_notify.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0004"
down_revision: str | None = "0003"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0004_notify.sql")
