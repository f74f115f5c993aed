"""Devices, changes of the suppression list, providers that sign, deleted endpoints and sealed words.

The statements are in `sql/0141_notify_letters.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0141"
down_revision: str | None = "0140"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0141_notify_letters.sql")
