"""The bounds of stock and limits are checked for all rows, and replace those before them.

The statements are in `sql/0017_inventory_bounds_hold.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0017"
down_revision: str | None = "0016"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0017_inventory_bounds_hold.sql")
