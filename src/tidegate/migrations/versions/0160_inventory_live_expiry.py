"""One index less.

The statements are in `sql/0160_inventory_live_expiry.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0160"
down_revision: str | None = "0159"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0160_inventory_live_expiry.sql")
