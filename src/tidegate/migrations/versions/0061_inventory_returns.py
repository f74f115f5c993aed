"""Items that came back to the stock.

The statements are in `sql/0061_inventory_returns.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0061"
down_revision: str | None = "0060"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0061_inventory_returns.sql")
