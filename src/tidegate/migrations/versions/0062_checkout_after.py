"""Orders after their payment: what happened, parcels, refunded lines.

The statements are in `sql/0062_checkout_after.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0062"
down_revision: str | None = "0061"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0062_checkout_after.sql")
