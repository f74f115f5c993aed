"""First tables of payments.

The statements are in `sql/0006_payments.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0006"
down_revision: str | None = "0005"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0006_payments.sql")
