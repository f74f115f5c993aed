"""A cheaper check of what names a way to pay.

The statements are in `sql/0166_payments_method_check.sql`, where the SQL linter reads them.
"""

from __future__ import annotations

from tidegate.migrations.statements import run_sql

revision = "0166"
down_revision: str | None = "0165"


def upgrade() -> None:
    """Run the statements."""
    run_sql("0166_payments_method_check.sql")
