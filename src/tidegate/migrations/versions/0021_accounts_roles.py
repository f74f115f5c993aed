"""Invitations, and who gave whom which role.

The statements are in `sql/0021_accounts_roles.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0021"
down_revision: str | None = "0020"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0021_accounts_roles.sql")
