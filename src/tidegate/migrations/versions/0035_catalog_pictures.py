"""Uploaded pictures of products.

The statements are in `sql/0035_catalog_pictures.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0035"
down_revision: str | None = "0034"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0035_catalog_pictures.sql")
