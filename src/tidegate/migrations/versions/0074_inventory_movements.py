"""The history of stock: who changed how many there are, and why.

The statements are in `sql/0074_inventory_movements.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0074"
down_revision: str | None = "0063"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0074_inventory_movements.sql")
