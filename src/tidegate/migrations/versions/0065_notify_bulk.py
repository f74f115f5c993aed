"""What waits for many, apart from what waits for one.

The statements are in `sql/0065_notify_bulk.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0065"
down_revision: str | None = "0064"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0065_notify_bulk.sql")
