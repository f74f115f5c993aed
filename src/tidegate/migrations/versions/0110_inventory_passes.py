"""Passes that were spent.

The statements are in `sql/0110_inventory_passes.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0110"
down_revision: str | None = "0100"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0110_inventory_passes.sql")
