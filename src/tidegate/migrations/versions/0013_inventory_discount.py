"""What holds were promised cheaper.

The statements are in `sql/0013_inventory_discount.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0013"
down_revision: str | None = "0012"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0013_inventory_discount.sql")
