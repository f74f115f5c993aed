"""Texts of messages that merchants write.

The statements are in `sql/0140_notify_message_texts.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0140"
down_revision: str | None = "0137"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0140_notify_message_texts.sql")
