"""Holds that redeem a voucher.

The statements are in `sql/0009_inventory_vouchers.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0009"
down_revision: str | None = "0008"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0009_inventory_vouchers.sql")
