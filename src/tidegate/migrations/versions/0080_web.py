"""What the shop says of itself.

The statements are in `sql/0080_web.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0080"
down_revision: str | None = "0074"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0080_web.sql")
