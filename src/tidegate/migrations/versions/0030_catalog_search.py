"""Words that products are found by, and their neighbours for mistyped ones.

The statements are in `sql/0030_catalog_search.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0030"
down_revision: str | None = "0024"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0030_catalog_search.sql")
