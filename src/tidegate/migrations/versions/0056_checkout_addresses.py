"""The address book of accounts.

The statements are in `sql/0056_checkout_addresses.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0056"
down_revision: str | None = "0055"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0056_checkout_addresses.sql")
