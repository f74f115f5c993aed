"""Counting the rows that a transaction reads: how PostgreSQL found them, whatever the machine's speed."""

from __future__ import annotations

from tidegate.platform.database import Connection


async def rows_read(conn: Connection, table: str) -> int:
    """Rows of a table, in all of its partitions, that this transaction has read so far. `table`: `schema.name`."""
    schema, name = table.split(".")
    found = await conn.execute(
        """
        SELECT sum(coalesce(idx_tup_fetch, 0) + seq_tup_read)::int FROM pg_stat_xact_user_tables
        WHERE schemaname = %s AND starts_with(relname, %s)
        """,
        (schema, name),
    )
    row = await found.fetchone()
    assert row is not None
    return int(row[0])
