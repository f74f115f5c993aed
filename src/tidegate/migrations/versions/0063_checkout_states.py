"""An index of orders by state.

The statements are in `sql/0063_checkout_states.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0063"
down_revision: str | None = "0062"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0063_checkout_states.sql")
