"""Channels of deliveries are words.

The statements are in `sql/0154_notify_channels.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0154"
down_revision: str | None = "0153"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0154_notify_channels.sql")
