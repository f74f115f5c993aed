"""Mailed links, confirmed addresses, and an administrator that stays.

The statements are in `sql/0020_accounts_links.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0020"
down_revision: str | None = "0017"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0020_accounts_links.sql")
