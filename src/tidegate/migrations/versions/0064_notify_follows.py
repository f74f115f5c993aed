"""What can be followed, by whom, and what is on its way to followers.

The statements are in `sql/0064_notify_follows.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0064"
down_revision: str | None = "0063"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0064_notify_follows.sql")
