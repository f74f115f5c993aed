"""The waiting rooms: rooms, places, the log of entries, and the keys that sign.

The statements are in `sql/0100_gate.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0100"
down_revision: str | None = "0082"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0100_gate.sql")
