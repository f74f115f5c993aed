"""Counters that tell whether the catalogue has changed.

The statements are in `sql/0008_catalog_revision.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0008"
down_revision: str | None = "0007"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0008_catalog_revision.sql")
