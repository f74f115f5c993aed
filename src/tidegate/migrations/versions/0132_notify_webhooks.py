"""Webhook endpoints, and webhooks among the deliveries.

The statements are in `sql/0132_notify_webhooks.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0132"
down_revision: str | None = "0131"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0132_notify_webhooks.sql")
