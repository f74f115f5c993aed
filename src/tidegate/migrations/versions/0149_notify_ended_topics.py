"""Topics of which telling was ended.

The statements are in `sql/0149_notify_ended_topics.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0149"
down_revision: str | None = "0148"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0149_notify_ended_topics.sql")
