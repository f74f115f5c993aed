"""Keys keep what their requests have begun.

The statements are in `sql/0167_platform_pending.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0167"
down_revision: str | None = "0166"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0167_platform_pending.sql")
