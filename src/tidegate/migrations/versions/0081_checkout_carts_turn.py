"""The turns of a cart's checkouts.

The statements are in `sql/0081_checkout_carts_turn.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0081"
down_revision: str | None = "0080"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0081_checkout_carts_turn.sql")
