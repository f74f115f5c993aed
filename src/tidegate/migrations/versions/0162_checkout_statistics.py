"""Less to learn of its tables each time that PostgreSQL looks at them.

The statements are in `sql/0162_checkout_statistics.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0162"
down_revision: str | None = "0161"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0162_checkout_statistics.sql")
