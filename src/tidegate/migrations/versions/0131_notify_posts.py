"""What staff write to followers.

The statements are in `sql/0131_notify_posts.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0131"
down_revision: str | None = "0130"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0131_notify_posts.sql")
