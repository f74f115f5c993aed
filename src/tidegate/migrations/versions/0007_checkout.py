"""First tables of checkout.

The statements are in `sql/0007_checkout.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0007"
down_revision: str | None = "0006"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0007_checkout.sql")
