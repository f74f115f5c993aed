"""Channels of sends are words, too.

The statements are in `sql/0155_notify_send_channels.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0155"
down_revision: str | None = "0154"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0155_notify_send_channels.sql")
