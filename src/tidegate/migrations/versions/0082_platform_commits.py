"""Which batches were committed.

The statements are in `sql/0082_platform_commits.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0082"
down_revision: str | None = "0081"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0082_platform_commits.sql")
