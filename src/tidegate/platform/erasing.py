"""Erasing what belongs to somebody or something from all tables of a schema, also those that came later."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from psycopg.errors import ForeignKeyViolation
from psycopg.sql import SQL, Identifier

from tidegate.platform.database import Connection

TABLES = """
SELECT c.relname FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = c.oid
WHERE n.nspname = %s AND a.attname = %s AND a.atttypid = 'uuid'::regtype AND NOT a.attisdropped
    AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY c.relname
"""


async def delete_rows(conn: Connection, *, schema: str, column: str, ids: Collection[UUID]) -> int:
    """Delete the rows of every table of `schema` whose uuid `column` is one of `ids`; returns how many.

    Tables that refer to each other are taken in the order that their foreign keys allow.
    Raises: ForeignKeyViolation when rows without such a column refer to one of these.
    """
    if not ids:
        return 0
    found = await conn.execute(TABLES, (schema, column))
    waiting = [row[0] for row in await found.fetchall()]
    deleted = 0
    while waiting:
        blocked: list[str] = []
        for table in waiting:
            statement = SQL("DELETE FROM {} WHERE {} = ANY(%s)").format(Identifier(schema, table), Identifier(column))
            try:
                async with conn.transaction():
                    deleted += (await conn.execute(statement, (list(ids),))).rowcount
            except ForeignKeyViolation:
                if len(blocked) + 1 == len(waiting):
                    raise
                blocked.append(table)
        waiting = blocked
    return deleted


async def forget_subjects(conn: Connection, *, order_ids: Collection[UUID], people: Collection[UUID]) -> None:
    """Delete idempotency keys and events of orders, and the keys of people."""
    await conn.execute("DELETE FROM platform.idempotency_keys WHERE subject_id = ANY(%s)", (list(order_ids),))
    await conn.execute("DELETE FROM platform.idempotency_keys WHERE buyer_id = ANY(%s)", (list(people),))
    await conn.execute(
        "DELETE FROM platform.outbox WHERE payload ->> 'order_id' = ANY(%s)", ([str(id) for id in order_ids],)
    )
