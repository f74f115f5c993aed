"""First tables of accounts.

The statements are in `sql/0002_accounts.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0002"
down_revision: str | None = "0001"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0002_accounts.sql")
