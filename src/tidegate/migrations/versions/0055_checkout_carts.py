"""Carts and their lines.

The statements are in `sql/0055_checkout_carts.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0055"
down_revision: str | None = "0051"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0055_checkout_carts.sql")
