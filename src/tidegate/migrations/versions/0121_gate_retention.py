"""Places of rooms that are long over leave, and what was published of their draws stays longer.

The statements are in `sql/0121_gate_retention.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0121"
down_revision: str | None = "0120"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0121_gate_retention.sql")
