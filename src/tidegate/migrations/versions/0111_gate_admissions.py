"""How the line of a room moves.

The statements are in `sql/0111_gate_admissions.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0111"
down_revision: str | None = "0110"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0111_gate_admissions.sql")
