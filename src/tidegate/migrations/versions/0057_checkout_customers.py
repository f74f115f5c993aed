"""Orders found by e-mail address.

The statements are in `sql/0057_checkout_customers.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0057"
down_revision: str | None = "0056"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0057_checkout_customers.sql")
