"""Order lines without a foreign key to their orders.

The statements are in `sql/0011_checkout_lines.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0011"
down_revision: str | None = "0010"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0011_checkout_lines.sql")
