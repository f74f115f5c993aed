"""Sessions that an administrator ends.

The statements are in `sql/0024_accounts_signed_out.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0024"
down_revision: str | None = "0021"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0024_accounts_signed_out.sql")
