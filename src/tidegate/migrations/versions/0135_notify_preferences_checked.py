"""The constraints of 0134 hold for rows that were there before, too.

The statements are in `sql/0135_notify_preferences_checked.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0135"
down_revision: str | None = "0134"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0135_notify_preferences_checked.sql")
