"""Delivery and tax rates, and the tax class of products.

The statements are in `sql/0050_catalog_rates.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0050"
down_revision: str | None = "0037"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0050_catalog_rates.sql")
