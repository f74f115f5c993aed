"""Who may buy in a drop.

The statements are in `sql/0150_catalog_drop_guests.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0150"
down_revision: str | None = "0149"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0150_catalog_drop_guests.sql")
