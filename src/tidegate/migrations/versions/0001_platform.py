"""First tables of platform.

The statements are in `sql/0001_platform.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0001"
down_revision: str | None = None


def upgrade() -> None:
    """Run the statements."""
    run_sql("0001_platform.sql")
