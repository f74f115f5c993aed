"""What recipients want, their quiet hours, and until when a send matters.

The statements are in `sql/0134_notify_preferences.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0134"
down_revision: str | None = "0133"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0134_notify_preferences.sql")
