"""Rows keep to the constraints of 0154 and 0155.

The statements are in `sql/0156_notify_channels_checked.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0156"
down_revision: str | None = "0155"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0156_notify_channels_checked.sql")
