"""Bounds of stock and limits, one constraint for each thing that they say.

The statements are in `sql/0016_inventory_bounds.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0016"
down_revision: str | None = "0015"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0016_inventory_bounds.sql")
