"""First tables of inventory.

The statements are in `sql/0005_inventory.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0005"
down_revision: str | None = "0004"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0005_inventory.sql")
