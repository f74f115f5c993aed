"""Vouchers.

The statements are in `sql/0012_catalog_vouchers.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0012"
down_revision: str | None = "0011"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0012_catalog_vouchers.sql")
