"""Hold lines without a foreign key to their holds.

The statements are in `sql/0010_inventory_lines.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0010"
down_revision: str | None = "0009"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0010_inventory_lines.sql")
