"""When ending an unpaid order was last tried.

The statements are in `sql/0015_checkout_ending.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0015"
down_revision: str | None = "0014"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0015_checkout_ending.sql")
