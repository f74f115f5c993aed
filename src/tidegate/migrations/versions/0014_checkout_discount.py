"""What orders cost less than their lines.

The statements are in `sql/0014_checkout_discount.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0014"
down_revision: str | None = "0013"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0014_checkout_discount.sql")
