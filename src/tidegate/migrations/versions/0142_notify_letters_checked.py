"""Rows keep to the constraints of 0141.

The statements are in `sql/0142_notify_letters_checked.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0142"
down_revision: str | None = "0141"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0142_notify_letters_checked.sql")
