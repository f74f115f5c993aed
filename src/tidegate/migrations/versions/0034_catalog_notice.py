"""A change of the catalogue tells the processes that keep answers.

The statements are in `sql/0034_catalog_notice.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0034"
down_revision: str | None = "0030"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0034_catalog_notice.sql")
