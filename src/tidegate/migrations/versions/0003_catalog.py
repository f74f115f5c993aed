"""First tables of catalog.

The statements are in `sql/0003_catalog.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0003"
down_revision: str | None = "0002"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0003_catalog.sql")
