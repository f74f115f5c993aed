"""Applications that have messages sent.

The statements are in `sql/0136_notify_applications.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0136"
down_revision: str | None = "0135"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0136_notify_applications.sql")
