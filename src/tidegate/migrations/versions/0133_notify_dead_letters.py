"""An index of what failed for good.

The statements are in `sql/0133_notify_dead_letters.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0133"
down_revision: str | None = "0132"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0133_notify_dead_letters.sql")
