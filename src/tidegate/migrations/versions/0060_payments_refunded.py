"""What was given back of a charge.

The statements are in `sql/0060_payments_refunded.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0060"
down_revision: str | None = "0057"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0060_payments_refunded.sql")
