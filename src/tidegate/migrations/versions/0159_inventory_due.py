"""Holds that end by themselves, by when they do.

The statements are in `sql/0159_inventory_due.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0159"
down_revision: str | None = "0158"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0159_inventory_due.sql")
