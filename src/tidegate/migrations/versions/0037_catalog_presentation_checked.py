"""Check the constraints of the last revision against what is there.

The statements are in `sql/0037_catalog_presentation_checked.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0037"
down_revision: str | None = "0036"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0037_catalog_presentation_checked.sql")
