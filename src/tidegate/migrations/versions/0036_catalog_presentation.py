"""Collections with text, picture and order; what search engines show; former addresses.

The statements are in `sql/0036_catalog_presentation.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0036"
down_revision: str | None = "0035"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0036_catalog_presentation.sql")
