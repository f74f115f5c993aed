"""What comes to the goods of an order: delivery and taxes.

The statements are in `sql/0051_checkout_charges.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0051"
down_revision: str | None = "0050"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0051_checkout_charges.sql")
