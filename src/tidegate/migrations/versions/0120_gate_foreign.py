"""Rooms before shops that are not Tidegate's, and what those shops say of their goods.

The statements are in `sql/0120_gate_foreign.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0120"
down_revision: str | None = "0111"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0120_gate_foreign.sql")
